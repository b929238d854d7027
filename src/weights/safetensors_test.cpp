#include "weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "tendon/error.h"
#include "weights/safetensors_header.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("tendon_safetensors_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // The message with which opening is refused; empty: it was not.
  static std::string refusal(const fs::path& path) {
    try {
      Safetensors::open(path);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }
  std::string refusal_of(const std::string& header, std::size_t data) {
    return refusal(write("model.safetensors", file(header, data)));
  }
  static std::string file(const std::string& header, std::size_t data) {
    std::string text(8, '\0');
    for (int i = 0; i < 8; ++i) text[i] = static_cast<char>(header.size() >> (8 * i));
    return text + header + std::string(data, '\x01');
  }

  fs::path folder_;
};

const std::string kGood =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("a":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";

TEST_F(SafetensorsTest, ReadsTensorsWithoutCopying) {
  const fs::path path = write("model.safetensors", file(kGood, 32));
  const Safetensors opened = Safetensors::open(folder_);
  ASSERT_EQ(opened.tensors().size(), 2u);
  EXPECT_EQ(opened.tensors()[0].name, "a");
  const StoredTensor* b = opened.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::f32);
  EXPECT_EQ(b->shape, (Shape{2, 3}));
  EXPECT_EQ(b->bytes.data(), opened.files()[0].bytes().data() + 8 + kGood.size());
  EXPECT_EQ(opened.metadata().at("format"), "pt");
  EXPECT_EQ(opened.find("c"), nullptr);
  EXPECT_EQ(Safetensors::open(path).tensors().size(), 2u);
}

TEST_F(SafetensorsTest, RefusesWhatIsNoSafetensorsFile) {
  EXPECT_THAT(refusal(folder_ / "none"), HasSubstr("does not exist"));
  EXPECT_THAT(refusal(folder_), HasSubstr("holds no checkpoint"));
  EXPECT_THAT(refusal(write("model.safetensors", "")), HasSubstr("0 bytes are no"));
  EXPECT_THAT(refusal(write("model.safetensors", "1234567")), HasSubstr("7 bytes are no"));
  EXPECT_THAT(refusal(write("model.safetensors", std::string(8, '\0'))),
              HasSubstr("out of bounds"));
  EXPECT_THAT(refusal(write("model.safetensors", std::string(80, '\xff'))),
              HasSubstr("out of bounds"));
  EXPECT_THAT(refusal_of("[1,2]", 0), HasSubstr("does not begin with"));
  EXPECT_THAT(refusal_of("{}", 0), HasSubstr("holds no tensor"));
}

TEST_F(SafetensorsTest, RefusesEveryTruncation) {
  const std::string whole = file(kGood, 32);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto part = std::as_bytes(std::span(whole.data(), n));
    EXPECT_THROW(parse_safetensors_header(part, n, "x"), Error) << n;
  }
  EXPECT_THAT(refusal(write("model.safetensors", whole.substr(0, whole.size() - 1))),
              HasSubstr("cut off"));
  EXPECT_THAT(refusal(write("model.safetensors", whole.substr(0, 30))), HasSubstr("cut off"));
  EXPECT_THAT(refusal(write("model.safetensors", whole + "x")), HasSubstr("1 bytes at the end"));
}

struct Malformed {
  const char* header;
  std::size_t data;
  const char* message;
};

class SafetensorsMalformed : public SafetensorsTest,
                             public ::testing::WithParamInterface<Malformed> {};

TEST_P(SafetensorsMalformed, IsRefusedByName) {
  const fs::path path = write("model.safetensors", file(GetParam().header, GetParam().data));
  const std::string message = refusal(path);
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr(path.string()));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SafetensorsMalformed,
    ::testing::Values(
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 8, "not valid JSON"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x)", 8,
                  "not valid JSON"},
        Malformed{"{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
                  "not valid JSON"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "needs 8 bytes"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "[begin, end]"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8, "[begin, end]"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12,
                  "4 bytes before tensor 'a'"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "cut off"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                  12, "overlaps"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                  16, "'a' stands twice"},
        Malformed{R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
                  "'dtype' stands twice"},
        Malformed{R"({"__metadata__":{"a":"b","a":"c"},"a":{"dtype":"F32","shape":[2],)"
                  R"("data_offsets":[0,8]}})",
                  8, "'a' stands twice"},
        Malformed{R"({"__metadata__":{"a":1}})", 0, "wrong kind"},
        Malformed{R"({"__metadata__":{"a":{}}})", 0, "wrong kind"},
        Malformed{R"({"__metadata__":[]})", 0, "wrong kind"},
        Malformed{R"({"a":1})", 0, "wrong kind"}, Malformed{R"({"a":null})", 0, "wrong kind"},
        Malformed{R"({"a":[[[[[[]]]]]]})", 0, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F4","shape":[2],"data_offsets":[0,8]}})", 8,
                  "element type 'F4'"},
        Malformed{R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", 8, "wrong kind"},
        Malformed{R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "lacks dtype"},
        Malformed{R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, "lacks dtype"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2]}})", 8, "lacks dtype"},
        Malformed{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8,
                  "unknown field 'x'"},
        Malformed{R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
                  "7 dimensions"},
        Malformed{
            R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
            "too many numbers"},
        Malformed{R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
                  0, "larger than any file"},
        Malformed{R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8,
                  "larger than any file"},
        Malformed{R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}})", 8,
                  "wrong kind"},
        Malformed{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,)"
                  R"(18446744073709551615]}})",
                  4, "needs 4 bytes"},
        Malformed{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[18446744073709551611,)"
                  R"(18446744073709551615]}})",
                  4, "cut off or its header lies"}));

TEST_F(SafetensorsTest, EmptyTensorsAndScalarsAreFine) {
  EXPECT_EQ(refusal_of(R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},)"
                       R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )",
                       4),
            "");
}

std::string shard(const std::string& tensor) {
  return R"({")" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
}

TEST_F(SafetensorsTest, ShardsMustHoldExactlyWhatTheIndexSays) {
  write("m1.safetensors", file(shard("a"), 4));
  write("m2.safetensors", file(shard("b"), 4));
  const auto index = [&](const std::string& map) {
    write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + map + "}");
    return refusal(folder_);
  };
  EXPECT_EQ(index(R"({"a":"m1.safetensors","b":"m2.safetensors"})"), "");
  EXPECT_EQ(Safetensors::open(folder_).files().size(), 2u);
  EXPECT_THAT(index(R"({"a":"m1.safetensors","b":"m3.safetensors"})"),
              HasSubstr("shard m3.safetensors, which is not there"));
  EXPECT_THAT(index(R"({"a":"m1.safetensors","c":"m2.safetensors"})"),
              HasSubstr("tensor 'b' of m2.safetensors is not in the index"));
  EXPECT_THAT(index(R"({"a":"m1.safetensors","b":"m2.safetensors","c":"m2.safetensors"})"),
              HasSubstr("tensor 'c' is not in its shard"));
  EXPECT_THAT(index(R"({"a":"m1.safetensors","b":"../m2.safetensors"})"),
              HasSubstr("not a file of this folder"));
  EXPECT_THAT(index(R"({"a":"m1.safetensors","b":3})"), HasSubstr("is not a string"));
  EXPECT_THAT(index("{}"), HasSubstr("has no weight_map"));
  EXPECT_THAT(index("[]"), HasSubstr("has no weight_map"));
  EXPECT_THAT(index("{"), HasSubstr("not valid JSON"));
  write("m2.safetensors", file(shard("a"), 4));
  EXPECT_THAT(index(R"({"a":"m1.safetensors","b":"m2.safetensors"})"),
              HasSubstr("tensor 'a' of m2.safetensors is not in the index"));
}

TEST_F(SafetensorsTest, FoldersAreNotGuessedAt) {
  write("other.safetensors", file(kGood, 32));
  EXPECT_THAT(refusal(folder_), HasSubstr("there are: other.safetensors"));
  write("model.safetensors", file(kGood, 32));
  write("model.safetensors.index.json", "{}");
  EXPECT_THAT(refusal(folder_), HasSubstr("holds both"));
}

TEST_F(SafetensorsTest, WriterMakesWhatReaderReads) {
  const std::vector<TensorSpec> specs = {{"x\"y\n", DType::f32, {2, 2}, ""},
                                         {"z", DType::bf16, {3}, ""}};
  const std::vector<float> x = {1, 2, 3, 4};
  const std::vector<std::uint16_t> z = {7, 8, 9};
  {
    SafetensorsWriter writer(folder_ / "model.safetensors", specs, {{"k", "v"}});
    writer.write(1, 2, std::as_bytes(std::span(z).subspan(1)));
    writer.write(0, 0, std::as_bytes(std::span(x)));
    EXPECT_THROW(writer.finish(), Error);
    EXPECT_THROW(writer.write(1, 2, std::as_bytes(std::span(z))), Error);
  }
  EXPECT_TRUE(fs::is_empty(folder_));  // nothing half-written
  SafetensorsWriter writer(folder_ / "model.safetensors", specs, {{"k", "v"}});
  writer.write(1, 0, std::as_bytes(std::span(z)));
  writer.write(0, 0, std::as_bytes(std::span(x)));
  writer.finish();
  const Safetensors read = Safetensors::open(folder_);
  EXPECT_EQ(read.metadata().at("k"), "v");
  EXPECT_EQ(std::memcmp(read.find("x\"y\n")->bytes.data(), x.data(), 16), 0);
  EXPECT_EQ(std::memcmp(read.find("z")->bytes.data(), z.data(), 6), 0);
  EXPECT_EQ(read.files()[0].bytes().size() % 2, 0u);
}

// Files that the original Python library wrote: read whole, and their headers made again.
TEST_F(SafetensorsTest, RecordingsAreReadAndTheirHeadersReproduced) {
  int files = 0;
  for (const fs::directory_entry& e : fs::directory_iterator(TENDON_GOLDEN_DIR)) {
    if (e.path().extension() != ".safetensors") continue;
    const Safetensors opened = Safetensors::open(e.path());
    std::vector<const StoredTensor*> in_order;
    for (const StoredTensor& t : opened.tensors()) in_order.push_back(&t);
    std::sort(in_order.begin(), in_order.end(), [](const StoredTensor* a, const StoredTensor* b) {
      return a->bytes.data() < b->bytes.data();
    });
    std::vector<TensorSpec> specs;
    for (const StoredTensor* t : in_order) specs.push_back({t->name, t->dtype, t->shape, ""});
    const SafetensorsLayout layout = lay_out_safetensors(specs, opened.metadata());
    const auto bytes = opened.files()[0].bytes();
    EXPECT_EQ(layout.file_size, bytes.size()) << e.path();
    EXPECT_EQ(std::memcmp(layout.header.data(), bytes.data(), layout.header.size()), 0) << e.path();
    ++files;
  }
  EXPECT_GE(files, 7);
}

TEST_F(SafetensorsTest, FingerprintSeesContentsNamesAndShapes) {
  const auto print = [&](const std::string& header, char value) {
    write("model.safetensors", file(header, 31) + value);
    return Safetensors::open(folder_).fingerprint();
  };
  const std::string first = print(kGood, 1);
  EXPECT_EQ(first.substr(0, 15), "sampled-sha256:");
  EXPECT_EQ(first.size(), 15u + 64u);
  EXPECT_EQ(print(kGood, 1), first);
  EXPECT_NE(print(kGood, 2), first);
  std::string renamed = kGood;
  renamed.replace(renamed.find("\"b\""), 3, "\"c\"");
  EXPECT_NE(print(renamed, 1), first);
  EXPECT_EQ(Safetensors::open(folder_).sha256(),
            "sha256:" + sha256_file(folder_ / "model.safetensors"));
}

}  // namespace
}  // namespace tendon
