#include "preprocess/contract_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

class ContractSource : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("tendon_source_" + std::to_string(::getpid())) / "checkpoint";
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_.parent_path()); }

  void put(const fs::path& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, text);
  }
  std::string refusal(const ContractQuery& query) {
    try {
      resolve_contract(folder_, query);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::string statistics_refusal(const Contract& c) {
    try {
      resolve_statistics(folder_, c, {}, nullptr);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  fs::path folder_;
};

const char* const kConverter =
    R"({"action_dim": 32, "action_horizon": 10, "paligemma_variant": "gemma_2b",
  "action_expert_variant": "gemma_300m", "precision": "bfloat16"})";

std::string norm_stats(int width) {
  const std::vector<double> low(width, 0.0), high(width, 1.0);
  const json f{{"mean", low}, {"std", high}, {"q01", low}, {"q99", high}};
  return json{{"norm_stats", {{"state", f}, {"actions", f}}}}.dump();
}

TEST_F(ContractSource, TrapT28_a_contract_of_another_family_is_refused) {
  EXPECT_EQ(resolve_contract(folder_, {"pi05_libero", "pi05"}).name, "pi05_libero");
  const std::string why = refusal({"pi05_libero", "pi0"});
  EXPECT_NE(why.find("contract pi05_libero is for pi05, these weights are pi0"), std::string::npos)
      << why;
  EXPECT_NE(why.find("pi0_libero"), std::string::npos) << why;
}

TEST_F(ContractSource, TrapT26_nothing_is_guessed) {
  EXPECT_NE(refusal({"", "pi05"}).find("pass --contract with one of pi05_base"), std::string::npos);
  put("config.json", kConverter);
  const std::string why = refusal({"", "pi05"});
  EXPECT_NE(why.find("pass --contract with one of pi05_libero"), std::string::npos) << why;
  EXPECT_EQ(why.find("pi05_droid"), std::string::npos) << "its horizon is another: " << why;
  EXPECT_NE(refusal({"pi05_droid", "pi05"}).find("horizon of 15"), std::string::npos);
  EXPECT_EQ(refusal({"pi05_libero", "pi05"}), "");
  EXPECT_NE(refusal({"pi05_nowhere", "pi05"}).find("unknown"), std::string::npos);
}

TEST_F(ContractSource, own_file_and_asked_file) {
  put("tendon.json", R"({"contract": "pi05_libero", "execute_rows": 8})");
  EXPECT_EQ(resolve_contract(folder_, {"", "pi05"}).execute_rows, 8);
  EXPECT_EQ(resolve_contract(folder_, {"pi05_droid", "pi05"}).horizon, 15) << "what is asked wins";
  put("other.json", R"({"contract": "pi05_droid", "steps": 4})");
  EXPECT_EQ(resolve_contract(folder_, {(folder_ / "other.json").string(), ""}).steps, 4);
  put("tendon.json", "{");
  EXPECT_NE(refusal({}), "");
}

TEST_F(ContractSource, TrapT27_statistics_never_come_from_a_neighbour) {
  const Contract& c = builtin_contract("pi05_libero");
  write_file(folder_.parent_path() / "norm_stats.json", norm_stats(8));
  fs::create_directories(folder_.parent_path() / "assets" / c.asset);
  write_file(folder_.parent_path() / "assets" / c.asset / "norm_stats.json", norm_stats(8));
  const std::string why = statistics_refusal(c);
  EXPECT_NE(why.find("no statistics for contract pi05_libero"), std::string::npos) << why;
  EXPECT_NE(why.find("--statistics"), std::string::npos) << why;
  put(fs::path("assets") / c.asset / "norm_stats.json", norm_stats(8));
  EXPECT_EQ(resolve_statistics(folder_, c, {}, nullptr).features.size(), 2u);
}

TEST_F(ContractSource, dataset_statistics_of_the_folder) {
  const Contract& c = builtin_contract("fastwam_libero");
  const json f{{"global_min", {0.0}}, {"global_max", {1.0}}};
  const std::string text = json{{"state", {{"default", f}}}, {"action", {{"default", f}}}}.dump();
  put("libero_uncond_2cam224_dataset_stats.json", text);
  EXPECT_EQ(resolve_statistics(folder_, c, {}, nullptr).features.count("action"), 1u);
  put("robotwin_dataset_stats.json", text);
  EXPECT_NE(statistics_refusal(c).find("several statistics files"), std::string::npos);
  EXPECT_NO_THROW(resolve_statistics(folder_, c, folder_ / "robotwin_dataset_stats.json", nullptr));
  EXPECT_THROW(resolve_statistics(folder_, c, folder_ / "missing.json", nullptr), Error);
}

// As LeRobot writes it for a LIBERO fine-tune.
ordered_json lerobot_config() {
  return ordered_json::parse(R"({"type": "pi05", "n_action_steps": 10, "chunk_size": 50,
    "input_features": {
      "observation.images.image": {"type": "VISUAL", "shape": [3, 256, 256]},
      "observation.images.image2": {"type": "VISUAL", "shape": [3, 256, 256]},
      "observation.images.empty_camera_0": {"type": "VISUAL", "shape": [3, 224, 224]},
      "observation.state": {"type": "STATE", "shape": [8]}},
    "output_features": {"action": {"type": "ACTION", "shape": [7]}},
    "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES"},
    "max_state_dim": 32, "max_action_dim": 32, "num_inference_steps": 10,
    "image_resolution": [224, 224], "tokenizer_max_length": 200, "dtype": "bfloat16"})");
}

ordered_json lerobot_preprocessor() {
  return ordered_json::parse(R"({"name": "policy_preprocessor", "steps": [
    {"registry_name": "rename_observations_processor",
     "config": {"rename_map": {"observation.images.front": "observation.images.image"}}},
    {"registry_name": "to_batch_processor", "config": {}},
    {"registry_name": "normalizer_processor",
     "config": {"eps": 1e-08, "features": {},
                "norm_map": {"STATE": "MEAN_STD", "ACTION": "MEAN_STD"}},
     "state_file": "policy_preprocessor_step_2_normalizer_processor.safetensors"},
    {"registry_name": "tokenizer_processor", "config": {"max_length": 200}}]})");
}

TEST_F(ContractSource, lerobot_fine_tune) {
  put("config.json", lerobot_config().dump());
  put("policy_preprocessor.json", lerobot_preprocessor().dump());
  const Contract c = resolve_contract(folder_, {"", "pi05"});
  EXPECT_EQ(c.horizon, 50);
  EXPECT_EQ(c.execute_rows, 10);
  EXPECT_EQ(c.schedule, TimeSchedule::divided);
  EXPECT_EQ(c.state_dim, 8);
  EXPECT_EQ(c.returned_dims, 7);
  EXPECT_EQ(c.state.scaling, Scaling::mean_std) << "the processor's map is what ran";
  EXPECT_EQ(c.actions.formula, Formula::eps_if_zero);
  EXPECT_EQ(c.prompt.bins, Precision::f32);
  EXPECT_TRUE(c.prompt.state_in_prompt());
  EXPECT_EQ(c.images.resize, ResizeRule::letterbox_float);
  ASSERT_EQ(c.images.pictures.size(), 3u);
  EXPECT_EQ(c.images.pictures[0].cameras[0].keys[0], "observation.images.front");
  EXPECT_EQ(c.images.pictures[1].slot, "image2");
  EXPECT_TRUE(c.images.pictures[2].cameras.empty());
}

TEST_F(ContractSource, lerobot_statistics_follow_the_state_file) {
  put("config.json", lerobot_config().dump());
  put("policy_preprocessor.json", lerobot_preprocessor().dump());
  put("policy_preprocessor_step_2_normalizer_processor.safetensors", "stands for one");
  const Contract c = resolve_contract(folder_, {"", "pi05"});
  fs::path asked;
  const ArrayReader reader = [&](const fs::path& file) {
    asked = file;
    return std::vector<NamedArray>{{"observation.state.mean", std::vector<float>(8, 1)},
                                   {"observation.state.std", std::vector<float>(8, 2)}};
  };
  EXPECT_EQ(resolve_statistics(folder_, c, {}, reader).features.count("observation.state"), 1u);
  EXPECT_EQ(asked.filename(), "policy_preprocessor_step_2_normalizer_processor.safetensors");
  fs::remove(asked);
  EXPECT_THROW(resolve_statistics(folder_, c, {}, reader), Error);
}

TEST_F(ContractSource, a_state_file_outside_the_folder_is_refused) {
  auto processor = lerobot_preprocessor();
  processor["steps"][2]["state_file"] = "../other/stats.safetensors";
  put("policy_preprocessor.json", processor.dump());
  const Contract c = contract_from_lerobot(lerobot_config(), processor, {});
  EXPECT_THROW(resolve_statistics(folder_, c, {}, nullptr), Error);
}

// The base checkpoint ships empty statistics, with which LeRobot would not normalise at all.
TEST_F(ContractSource, empty_statistics_are_absent_ones) {
  put("policy_preprocessor.json", lerobot_preprocessor().dump());
  put("policy_preprocessor_step_2_normalizer_processor.safetensors", "stands for one");
  const Contract c = contract_from_lerobot(lerobot_config(), nullptr, {});
  EXPECT_THROW(
      resolve_statistics(folder_, c, {}, [](const fs::path&) { return std::vector<NamedArray>{}; }),
      Error);
}

TEST_F(ContractSource, lerobot_relative_actions) {
  auto config = lerobot_config();
  config["use_relative_actions"] = true;
  EXPECT_THROW(contract_from_lerobot(config, nullptr, {}), Error) << "which dimensions is not said";
  config["action_feature_names"] = {"x", "y", "z", "rx", "ry", "rz", "left_gripper"};
  EXPECT_EQ(contract_from_lerobot(config, nullptr, {}).robot_rules.delta, delta_mask({6, -1}));
  config["relative_exclude_joints"] = {"r"};
  EXPECT_EQ(contract_from_lerobot(config, nullptr, {}).robot_rules.delta, delta_mask({3, -4}));
}

TEST_F(ContractSource, lerobot_pi0) {
  auto config = lerobot_config();
  config["type"] = "pi0";
  config.erase("tokenizer_max_length");
  const Contract c = contract_from_lerobot(config, nullptr, {"", "pi0"});
  EXPECT_EQ(c.prompt.cleaning, Cleaning::none);
  EXPECT_EQ(c.prompt.ensure_suffix, "\n");
  EXPECT_EQ(c.prompt.capacity, 48);
  EXPECT_FALSE(c.prompt.state_in_prompt());
}

TEST_F(ContractSource, LingbotTrap33_config_that_calls_itself_pi0) {
  put("config.json", R"({"type": "pi0", "chunk_size": 50, "max_state_dim": 75})");
  EXPECT_NE(refusal({"", "lingbot_vla"}).find("joint layout"), std::string::npos);
  EXPECT_EQ(resolve_contract(folder_, {"lingbot_vla", "lingbot_vla"}).horizon, 50);
}

TEST_F(ContractSource, lerobot_fastwam) {
  const auto config =
      ordered_json::parse(R"({"type": "fastwam", "action_horizon": 32, "n_action_steps": 10,
    "action_dim": 7, "proprio_dim": 8, "image_size": [224, 448], "inference_seed": 42,
    "tokenizer_max_len": 128,
    "num_inference_steps": 10, "toggle_action_dimensions": [-1],
    "input_features": {"observation.images.wrist": {"type": "VISUAL", "shape": [3, 256, 256]},
      "observation.images.agent": {"type": "VISUAL", "shape": [3, 256, 256]}},
    "output_features": {"action": {"type": "ACTION", "shape": [7]}},
    "normalization_mapping": {"STATE": "MIN_MAX", "ACTION": "MIN_MAX"}})");
  const Contract c = contract_from_lerobot(config, nullptr, {"", "fastwam"});
  EXPECT_EQ(c.images.resize, ResizeRule::squash_float);
  ASSERT_EQ(c.images.pictures.size(), 1u);
  EXPECT_EQ(c.images.pictures[0].cameras[0].keys[0], "observation.images.agent") << "alphabetical";
  EXPECT_EQ(c.images.pictures[0].cameras[1].left, 224);
  EXPECT_EQ(c.robot_rules.grippers, std::vector<int>{6});
  EXPECT_EQ(c.state.clamp, 0) << "FastwamTrap31: LeRobot does not clamp";
  EXPECT_EQ(c.noise_seed, 42);
}

// LeRobot's guidance is c == err, not a Jacobian; here neither is computed, and neither is ignored.
TEST_F(ContractSource, TrapT42_guidance_is_refused) {
  auto config = lerobot_config();
  const auto load = [&] { return contract_from_lerobot(config, nullptr, {}); };
  config["rtc_config"] = nullptr;
  EXPECT_NO_THROW(load());
  config["rtc_config"] = {{"enabled", false}, {"max_guidance_weight", 10.0}};
  EXPECT_NO_THROW(load());
  config["rtc_config"]["enabled"] = true;
  try {
    load();
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("rtc_config"), std::string::npos) << e.what();
  }
  config["rtc_config"]["mode"] = "trained";
  EXPECT_NO_THROW(load());
}

TEST_F(ContractSource, open_questions_are_refused) {
  const auto refused = [](const std::function<void(ordered_json&)>& change) {
    auto config = lerobot_config();
    change(config);
    EXPECT_THROW(contract_from_lerobot(config, nullptr, {}), Error);
  };
  refused([](auto& c) { c["type"] = "smolvla"; });
  refused([](auto& c) { c.erase("normalization_mapping"); });
  refused([](auto& c) { c["normalization_mapping"]["STATE"] = "QUANTILE10"; });
  refused([](auto& c) { c.erase("output_features"); });
  refused([](auto& c) { c["input_features"].erase("observation.state"); });
  refused([](auto& c) { c["use_visual_memory"] = true; });
  refused([](auto& c) { c["chunk_size"] = -3; });
  refused([](auto& c) { c["image_resolution"] = "big"; });
  auto eps = lerobot_preprocessor();
  eps["steps"][2]["config"]["eps"] = 1e-3;
  EXPECT_THROW(contract_from_lerobot(lerobot_config(), eps, {}), Error);
}

}  // namespace
}  // namespace tendon
