// The demonstration policies' folders from end to end of this layer: contract, statistics,
// tokenizer, and the recorded ids, bins and actions of four observations each.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "preprocess/contract_source.h"
#include "preprocess/image_io.h"
#include "preprocess/pipeline.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;

const fs::path kAssets = TENDON_ASSETS_DIR;

Preprocessor load(const fs::path& folder) {
  const Contract contract = resolve_contract(folder, {"", "pi05"});
  return Preprocessor(contract, resolve_statistics(folder, contract, {}, nullptr),
                      load_tokenizer(folder));
}

struct Recorded {
  std::vector<std::uint8_t> images;
  std::vector<double> state, actions;
  std::vector<float> chunk;
};

Recorded recorded(const golden::File& file, const std::string& i) {
  return {file[i + ".images"].as<std::uint8_t>(), file[i + ".state"].numbers(),
          file[i + ".actions"].numbers(), file[i + ".chunk"].as<float>()};
}

std::string bins(const PreparedInput& input) {
  const std::size_t at = input.text.find("State: ") + 7;
  return input.text.substr(at, input.text.find(';') - at);
}

class DemoPolicy : public testing::TestWithParam<const char*> {};

TEST_P(DemoPolicy, recorded_observations) {
  const golden::File file((kAssets / GetParam() / "golden").string(), golden::Absolute{});
  Preprocessor pre = load(kAssets / GetParam());
  PreparedInput input = pre.make_input();
  const std::size_t bytes = 112 * 112 * 3;
  for (std::size_t i = 0; i < 4; ++i) {
    SCOPED_TRACE(i);
    const Recorded r = recorded(file, std::to_string(i));
    const auto& c = file.json[i];
    const std::vector<ImageInput> images{
        {"base_0_rgb", r.images.data(), DType::u8, {112, 112, 3}},
        {"left_wrist_0_rgb", r.images.data() + bytes, DType::u8, {112, 112, 3}}};
    const std::vector<VectorInput> vectors{{"state", r.state}};
    const std::string text = c["text"];
    const Status status = pre.prepare({images, vectors, text}, input);
    ASSERT_TRUE(status.ok()) << status.message();
    std::string want;
    for (const int b : c["bins"].get<std::vector<int>>())
      want += (want.empty() ? "" : " ") + std::to_string(b);
    EXPECT_EQ(bins(input), want);
    input.tokens.resize(static_cast<std::size_t>(input.token_count));
    EXPECT_EQ(input.tokens, c["ids"].get<std::vector<std::int32_t>>());
    EXPECT_TRUE(
        std::equal(r.images.begin(), r.images.begin() + bytes, input.pictures[0].bytes.begin()));
    EXPECT_FALSE(input.pictures[2].present);
    std::vector<double> actions(r.actions.size());
    ASSERT_TRUE(pre.finish(r.chunk, input, actions).ok());
    for (std::size_t k = 0; k < actions.size(); ++k)
      EXPECT_NEAR(actions[k], r.actions[k], 1e-6) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Shipped, DemoPolicy, testing::Values("pick_block", "blocks"),
                         [](const auto& shipped) { return std::string(shipped.param); });

TEST(DemoAssets, contract_agrees_with_its_config) {
  const fs::path folder = kAssets / "pick_block";
  const Contract c = resolve_contract(folder, {"", "pi05"});
  const nlohmann::json config = read_json_file(folder / "config.json");
  EXPECT_EQ(c.horizon, config["horizon"]);
  EXPECT_EQ(c.action_dim, config["action_dim"]);
  EXPECT_EQ(c.prompt.capacity, config["max_token_len"]);
  EXPECT_EQ(c.state_dim, config["state_dim"]);
  EXPECT_EQ(c.returned_dims, config["real_dim"]);
  EXPECT_EQ(c.control_hz, config["control_hz"]);
  EXPECT_EQ(c.images.pictures[0].height, config["image"]);
  EXPECT_EQ(c.robot_rules.delta, delta_mask(config["delta_mask"].get<std::vector<int>>()));
}

TEST(DemoAssets, pictures_of_the_repository_are_readable) {
  for (const char* name : {"base.png", "wrist.jpg"}) {
    const ImageBuffer image = read_image(kAssets / "pictures" / name);
    EXPECT_EQ(image.height(), 480);
    EXPECT_EQ(image.width(), 640);
  }
}

}  // namespace
}  // namespace tendon
