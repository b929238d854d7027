#include "base/file.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json_file.h"
#include "base/mmap.h"
#include "base/npy.h"
#include "base/parallel.h"
#include "tendon/error.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("tendon_file_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

TEST_F(FileTest, WritesAppearWholeOrNotAtAll) {
  const fs::path path = folder_ / "a.txt";
  write_file(path, std::string_view("first"));
  {
    AtomicFile file(path);
    file.write_at(0, std::as_bytes(std::span("half", 4)));
  }
  EXPECT_EQ(read_file(path), "first");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  write_file(path, std::string_view("second"));
  EXPECT_EQ(read_file(path), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  EXPECT_THAT(message_of([&] { read_file(path, 3); }), HasSubstr("6 bytes, at most 3"));
  EXPECT_THAT(message_of([&] { write_file(folder_ / "no" / "b", std::string_view("x")); }),
              HasSubstr("cannot be written"));
}

TEST_F(FileTest, MappingsMoveAndComeBackAfterDrop) {
  const fs::path path = folder_ / "m";
  write_file(path, std::string(100000, 'q'));
  MappedFile a(path);
  const std::byte* data = a.bytes().data();
  MappedFile b = std::move(a);
  EXPECT_EQ(b.bytes().data(), data);
  b.will_read(b.bytes());
  b.drop(b.bytes().subspan(5000, 60000));
  EXPECT_EQ(static_cast<char>(b.bytes()[40000]), 'q');
  write_file(folder_ / "empty", std::string_view());
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THAT(message_of([&] { MappedFile(folder_ / "none"); }), HasSubstr("No such file"));
  EXPECT_THAT(message_of([&] { MappedFile{folder_}; }), HasSubstr("not a regular file"));
}

TEST_F(FileTest, HashesAreThePublishedOnes) {
  EXPECT_EQ(sha256_hex(std::string_view("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  write_file(folder_ / "h", std::string_view("abc"));
  EXPECT_EQ(sha256_file(folder_ / "h"), sha256_hex(std::string_view("abc")));
  EXPECT_EQ(fnv1a64(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(fnv1a64("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(fnv1a64("bc", fnv1a64("a")), fnv1a64("abc"));
}

TEST_F(FileTest, JsonErrorsNameFileAndByte) {
  write_file(folder_ / "a.json", std::string_view(R"({"x": 3})"));
  EXPECT_EQ(read_json_file(folder_ / "a.json").at("x"), 3);
  write_file(folder_ / "b.json", std::string_view(R"({"x": )"));
  EXPECT_THAT(message_of([&] { read_json_file(folder_ / "b.json"); }),
              HasSubstr("b.json: not valid JSON from byte 7 on"));
}

TEST_F(FileTest, NpyGoesThereAndBack) {
  std::vector<float> values = {1.5f, -2, 3, 4, 5, 6};
  write_npy(folder_ / "a.npy", Tensor(values.data(), DType::f32, {2, 3}));
  const NpyArray a = read_npy(folder_ / "a.npy");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(a.shape, (Shape{2, 3}));
  EXPECT_EQ(a.to_f32(), values);
  EXPECT_EQ(fs::file_size(folder_ / "a.npy") % 64, 24u);
  std::vector<std::int64_t> ids = {7, -8};
  write_npy(folder_ / "i.npy", Tensor(ids.data(), DType::i64, {2}));
  EXPECT_EQ(read_npy(folder_ / "i.npy").to_f32(), (std::vector<float>{7, -8}));
  double one = 2.25;
  write_npy(folder_ / "s.npy", Tensor(&one, DType::f64, {}));
  const NpyArray s = read_npy(folder_ / "s.npy");
  EXPECT_EQ(s.shape.rank(), 0);
  EXPECT_EQ(s.to_f32(), std::vector<float>{2.25f});
}

// As numpy 2 writes them.
std::string npy(const std::string& dictionary, const std::string& data) {
  std::string header = dictionary;
  header.resize(117, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + data;
}

std::string refusal(const std::string& file) {
  return message_of([&] { parse_npy(std::as_bytes(std::span(file)), "x.npy"); });
}

TEST_F(FileTest, NpyRefusesWhatItDoesNotRead) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  EXPECT_EQ(refusal(npy(good, "12345678")), "");
  EXPECT_THAT(refusal(npy(good, "1234567")), HasSubstr("7 bytes of data do not fill [2] of f32"));
  EXPECT_THAT(refusal(npy(good, "123456789")), HasSubstr("9 bytes"));
  EXPECT_THAT(refusal("PK"), HasSubstr("not an npy file"));
  const std::string whole = npy(good, "12345678");
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(refusal(whole.substr(0, n)), "") << n;
  EXPECT_THAT(refusal(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "12345678")),
              HasSubstr("element type '>f4'"));
  EXPECT_THAT(refusal(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "12345678")),
              HasSubstr("Fortran order"));
  EXPECT_THAT(refusal(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "")),
              HasSubstr("shape"));
  EXPECT_THAT(
      refusal(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1), }", "1234")),
      HasSubstr("up to 6 dimensions"));
  EXPECT_THAT(refusal(npy("{'descr': '<f4', 'fortran_order': False, "
                          "'shape': (4294967296, 4294967296), }",
                          "")),
              HasSubstr("do not fill"));
}

TEST(Parallel, RunsEachJobOnceAndThrowsTheFirstError) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_for(1000, 4, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
  for (const auto& n : seen) EXPECT_EQ(n, 1);
  parallel_for(0, 4, [](std::int64_t) { FAIL(); });
  EXPECT_THROW(parallel_for(100, 3,
                            [](std::int64_t i) {
                              if (i == 50) throw Error("stop");
                            }),
               Error);
}

}  // namespace
}  // namespace tendon
