#include "policy/context_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/npy.h"
#include "weights/safetensors.h"

namespace tendon {
namespace {

class ContextCacheTest : public ::testing::Test {
 protected:
  ~ContextCacheTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("context_cache_" + std::to_string(::getpid()));
  std::vector<std::int32_t> ids_ = {7, 9, 1};
  std::vector<float> rows_ = {1, 2, 3, 4, 5, 6};
};

TEST_F(ContextCacheTest, FindsWhatWasStored) {
  const ContextCache cache(folder_, "encoder a", 2);
  EXPECT_FALSE(cache.find(ids_).has_value());
  cache.store(ids_, rows_);
  EXPECT_EQ(cache.find(ids_), rows_);
  EXPECT_FALSE(cache.find(std::span(ids_).first(2)).has_value());
  EXPECT_FALSE(ContextCache(folder_, "encoder b", 2).find(ids_).has_value());
  cache.store(ids_, rows_);  // again, over the file that is there
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(ContextCacheTest, RefusesAFileOfOthers) {
  const ContextCache a(folder_, "encoder a", 2), b(folder_, "encoder b", 2);
  a.store(ids_, rows_);
  std::filesystem::rename(a.file_of(ids_), b.file_of(ids_));
  EXPECT_THROW(b.find(ids_), Error);
  write_file(b.file_of(ids_), std::string_view("no safetensors"));
  EXPECT_THROW(b.find(ids_), Error);
  EXPECT_THROW(a.store(ids_, std::span(rows_).first(4)), Error);
}

TEST_F(ContextCacheTest, ReadsNpyAndDropsPadding) {
  std::filesystem::create_directories(folder_);
  std::vector<float> padded = {1, 2, 0, 0, 5, 0, 0, 0};
  const auto file = folder_ / "rows.npy";
  write_npy(file, Tensor(padded.data(), DType::f32, {4, 2}));
  EXPECT_EQ(read_context(file, 2), (std::vector<float>{1, 2, 0, 0, 5, 0}));
  EXPECT_THROW(read_context(file, 4), Error);
  padded[1] = NAN;
  write_npy(file, Tensor(padded.data(), DType::f32, {4, 2}));
  EXPECT_THROW(read_context(file, 2), Error);
  std::fill(padded.begin(), padded.end(), 0.0f);
  write_npy(file, Tensor(padded.data(), DType::f32, {4, 2}));
  EXPECT_THROW(read_context(file, 2), Error);
  EXPECT_THROW(read_context(folder_ / "rows.pt", 2), Error);
}

TEST_F(ContextCacheTest, ReadsSafetensorsWithTheirMask) {
  std::filesystem::create_directories(folder_);
  const auto file = folder_ / "rows.safetensors";
  auto write = [&](const std::vector<std::uint8_t>& mask) {
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};  // the padding row is not zero
    std::vector<std::uint16_t> narrow;
    for (float v : values) narrow.push_back(f32_to_bf16(v));
    const std::vector<TensorSpec> specs = {{"context", DType::bf16, {1, 3, 2}, {}},
                                           {"mask", DType::boolean, {3}, {}}};
    SafetensorsWriter writer(file, specs);
    writer.write(0, 0, std::as_bytes(std::span(narrow)));
    writer.write(1, 0, std::as_bytes(std::span(mask)));
    writer.finish();
  };
  write({1, 1, 0});
  EXPECT_EQ(read_context(file, 2), (std::vector<float>{1, 2, 3, 4}));
  write({1, 0, 1});
  EXPECT_THROW(read_context(file, 2), Error);
}

}  // namespace
}  // namespace tendon
