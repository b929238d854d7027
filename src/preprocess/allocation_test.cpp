// The warm path takes no memory of ours: operator new is counted while a test asks for it.
#include <gtest/gtest.h>

#include "preprocess/pipeline.h"
#include "tests/support/allocations.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

class Characters final : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    for (const char c : text) ids.push_back(c);
  }
  std::int32_t vocabulary() const override { return 256; }
  std::int32_t id_of(std::string_view) const override { return -1; }
  const std::string& content_hash() const override { return hash_; }

 private:
  std::string hash_;
};

Statistics unit_statistics() {
  FeatureStatistics f;
  f.q01.assign(14, -1);
  f.q99.assign(14, 1);
  return {"test", {{"state", f}, {"actions", f}}};
}

std::size_t allocations(const std::string& contract, const std::vector<std::string>& cameras,
                        int width) {
  Preprocessor pre(builtin_contract(contract), unit_statistics(), std::make_unique<Characters>());
  PreparedInput input = pre.make_input();
  const auto bytes = golden::byte_values("allocation", 48 * 64 * 3);
  std::vector<ImageInput> images;
  const bool planes = pre.contract().images.channels == ChannelOrder::first;
  for (const std::string& key : cameras) {
    images.push_back(
        {key, bytes.data(), DType::u8, {planes ? 3 : 48, planes ? 48 : 64, planes ? 64 : 3}});
  }
  std::vector<double> state(width);
  const std::vector<VectorInput> vectors{{"state", state}};
  const std::size_t rows = pre.contract().horizon;
  std::vector<float> chunk(rows * pre.contract().action_dim, 0.25f);
  std::vector<double> actions(rows * pre.contract().returned_dims);
  std::size_t counted = 0;
  for (int i = 0; i < 8; ++i) {
    for (double& v : state) v = 0.1 * i - 0.3;
    const std::size_t before = support::allocations;
    const Status prepared = pre.prepare({images, vectors, "pick up the block"}, input);
    const Status finished = pre.finish(chunk, input, actions);
    if (i >= 2) counted += support::allocations - before;
    EXPECT_TRUE(prepared.ok()) << prepared.message();
    EXPECT_TRUE(finished.ok());
  }
  return counted;
}

TEST(Allocation, none_once_warm) {
  EXPECT_EQ(allocations("pi05_droid", {"base", "left_wrist"}, 8), 0u);
  EXPECT_EQ(allocations("pi05_aloha", {"images/cam_high", "images/cam_left_wrist"}, 14), 0u);
}

}  // namespace
}  // namespace tendon
