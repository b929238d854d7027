#include "preprocess/contract.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tendon {
namespace {

using nlohmann::json;

struct Row {
  const char *name, *model;
  int horizon, capacity;
  bool state_in_prompt;
  Scaling scaling;
  const char* robot;
  std::vector<int> delta;
  int returned;
  const char* asset;
};

const std::vector<int> kArms{6, -1, 6, -1};

// pi05.md 5.3.
const std::vector<Row>& rows() {
  constexpr auto kZ = Scaling::mean_std, kQ = Scaling::quantile;
  constexpr const char* kLibero = "physical-intelligence/libero";
  static const std::vector<Row> all{
      {"pi0_base", "pi0", 50, 48, false, kZ, "any", {}, 32, ""},
      {"pi05_base", "pi05", 50, 200, true, kQ, "any", {}, 32, ""},
      {"pi0_aloha", "pi0", 50, 48, false, kZ, "aloha", kArms, 14, "trossen"},
      {"pi0_aloha_towel", "pi0", 50, 48, false, kZ, "aloha", kArms, 14, "trossen"},
      {"pi0_aloha_tupperware", "pi0", 50, 48, false, kZ, "aloha", kArms, 14, "trossen"},
      {"pi0_aloha_pen_uncap", "pi0", 50, 48, false, kZ, "aloha", kArms, 14, "trossen"},
      {"pi05_aloha", "pi05", 50, 200, true, kQ, "aloha", kArms, 14, "trossen"},
      {"pi05_aloha_pen_uncap", "pi05", 50, 200, true, kQ, "aloha", kArms, 14, "trossen"},
      {"pi0_aloha_sim",
       "pi0",
       50,
       48,
       false,
       kZ,
       "aloha",
       {},
       14,
       "lerobot/aloha_sim_transfer_cube_human"},
      {"pi0_droid", "pi0", 10, 48, false, kZ, "droid", {}, 8, "droid"},
      {"pi05_droid", "pi05", 15, 200, true, kQ, "droid", {}, 8, "droid"},
      {"pi05_droid_finetune", "pi05", 16, 200, true, kQ, "droid", {}, 8, "droid"},
      {"pi05_full_droid_finetune", "pi05", 16, 200, true, kQ, "droid", {7, -1}, 8, "droid"},
      {"pi05_droid_jointpos_polaris", "pi05", 15, 200, true, kQ, "droid", {7, -1}, 8, "droid"},
      {"pi0_droid_jointpos_polaris", "pi0", 10, 100, false, kZ, "droid", {7, -1}, 8, "droid"},
      {"pi0_droid_jointpos_100k_polaris", "pi0", 10, 100, false, kZ, "droid", {7, -1}, 8, "droid"},
      {"pi0_libero", "pi0", 50, 48, false, kZ, "libero", {6, -1}, 7, kLibero},
      {"pi0_libero_low_mem_finetune", "pi0", 50, 48, false, kZ, "libero", {6, -1}, 7, kLibero},
      {"pi05_libero", "pi05", 10, 200, false, kQ, "libero", {}, 7, kLibero},
      {"paligemma_diffusion_droid", "pi0", 10, 48, false, kZ, "droid", {}, 8, "droid"}};
  return all;
}

TEST(Contract, TrapT26_every_named_configuration) {
  for (const Row& r : rows()) {
    SCOPED_TRACE(r.name);
    const Contract& c = builtin_contract(r.name);
    EXPECT_EQ(c.model, r.model);
    EXPECT_EQ(c.horizon, r.horizon);
    EXPECT_EQ(c.prompt.capacity, r.capacity);
    EXPECT_EQ(c.prompt.state_in_prompt(), r.state_in_prompt);
    EXPECT_EQ(c.state.scaling, r.scaling);
    EXPECT_EQ(c.actions.scaling, r.scaling);
    EXPECT_EQ(c.state.formula, Formula::eps_added);
    EXPECT_EQ(c.robot, r.robot);
    EXPECT_EQ(c.robot_rules.delta, delta_mask(r.delta));
    EXPECT_EQ(c.returned_dims, r.returned);
    EXPECT_EQ(c.asset, r.asset);
    EXPECT_EQ(c.steps, 10);
    EXPECT_EQ(c.action_dim, c.name == "paligemma_diffusion_droid" ? 8 : 32);
    EXPECT_EQ(c.images.pictures.size(), 3u);
    EXPECT_EQ(c.images.pictures[0].slot, "base_0_rgb");
    EXPECT_EQ(c.images.resize, ResizeRule::letterbox);
  }
}

TEST(Contract, robots_that_lack_a_camera_have_an_empty_slot) {
  EXPECT_TRUE(builtin_contract("pi05_libero").images.pictures[2].cameras.empty());
  EXPECT_TRUE(builtin_contract("pi05_droid").images.pictures[2].cameras.empty());
  EXPECT_FALSE(builtin_contract("pi0_aloha").images.pictures[2].cameras.empty());
  EXPECT_EQ(builtin_contract("pi0_aloha").images.channels, ChannelOrder::first);
}

TEST(Contract, LingbotTrap32_two_layouts) {
  const Contract &february = builtin_contract("lingbot_vla_february"),
                 &newer = builtin_contract("lingbot_vla");
  EXPECT_TRUE(february.robot_rules.slots.empty());
  EXPECT_EQ(newer.robot_rules.slots[6], 14);   // left gripper
  EXPECT_EQ(newer.robot_rules.slots[13], 15);  // right gripper
  EXPECT_EQ(newer.robot_rules.slots[7], 6);    // right arm moves up
  for (const Contract* c : {&february, &newer}) {
    EXPECT_EQ(c->action_dim, 75);
    EXPECT_EQ(c->horizon, 50);
    EXPECT_EQ(c->prompt.capacity, 72);
    EXPECT_EQ(c->schedule, TimeSchedule::bf16);
    EXPECT_EQ(c->images.resize, ResizeRule::squash);
  }
}

// Its sampler's own default is 20: every evaluation passes 10.
TEST(Contract, FastwamTrap27_ten_steps) {
  for (const char* name : {"fastwam_libero", "fastwam_robotwin"}) {
    const Contract& c = builtin_contract(name);
    EXPECT_EQ(c.steps, 10) << name;
    EXPECT_EQ(c.shift, 5) << name;
    EXPECT_EQ(c.prompt.capacity, 128) << name << ": FastwamTrap04";
  }
}

TEST(Contract, FastwamTrap32_modes_are_the_robots) {
  const Contract &libero = builtin_contract("fastwam_libero"),
                 &robotwin = builtin_contract("fastwam_robotwin");
  EXPECT_EQ(libero.state.scaling, Scaling::min_max);
  EXPECT_EQ(robotwin.state.scaling, Scaling::mean_std);
  EXPECT_EQ(libero.state.clamp, 5);
  EXPECT_EQ(libero.actions.clamp, 0);
  EXPECT_EQ(libero.images.pictures[0].width, 448);
  EXPECT_EQ(robotwin.images.pictures[0].height, 384);
  EXPECT_EQ(libero.robot_rules.gripper, GripperMap::negate_binary);
  EXPECT_EQ(robotwin.robot_rules.gripper, GripperMap::none);
  // FastwamTrap27: ten steps, whatever upstream's function default is.
  EXPECT_EQ(libero.steps, 10);
  EXPECT_EQ(libero.prompt.capacity, 128);
}

TEST(Contract, json_holds_all_of_it) {
  for (const Contract& c : builtin_contracts()) {
    const json written = to_json(c);
    const Contract back = contract_from_json(json::parse(written.dump()), "test");
    EXPECT_EQ(to_json(back), written) << c.name;
  }
}

TEST(Contract, json_starts_from_a_built_in_one) {
  const Contract c = contract_from_json({{"contract", "pi05_libero"},
                                         {"horizon", 20},
                                         {"image_size", 56},
                                         {"prompt", "task_state"},
                                         {"rope", "bf16"}},
                                        "tendon.json");
  EXPECT_EQ(c.horizon, 20);
  EXPECT_EQ(c.images.pictures[1].cameras[0].height, 56);
  EXPECT_TRUE(c.prompt.state_in_prompt());
  EXPECT_EQ(c.prompt.capacity, 200);
  EXPECT_EQ(c.rope, RopeTable::bf16);
  EXPECT_EQ(c.returned_dims, 7);
  const Contract d = contract_from_json({{"contract", "pi05_base"},
                                         {"state_dim", 5},
                                         {"returned_dims", 5},
                                         {"normalisation", "mean_std"},
                                         {"dims", {{"heads", 8}}}},
                                        "tendon.json");
  EXPECT_EQ(d.actions.scaling, Scaling::mean_std);
  EXPECT_EQ(d.robot_rules.state_sources[0][0].width, 5);
  EXPECT_EQ(json::parse(d.dims)["heads"], 8);
}

// The demonstration policy's own words, as a contract.
TEST(Contract, pick_block) {
  const Contract& c = builtin_contract("pick_block");
  EXPECT_EQ(c.images.pictures[0].height, 112);
  EXPECT_EQ(c.state_dim, 5);
  EXPECT_EQ(c.horizon, 16);
  EXPECT_EQ(c.prompt.capacity, 32);
  EXPECT_EQ(c.robot_rules.delta, delta_mask({4, -1}));
  EXPECT_EQ(c.control_hz, 20);
  EXPECT_EQ(c.returned_dims, 5);
  EXPECT_TRUE(c.prompt.state_in_prompt());
}

std::string refusal(const json& value) {
  try {
    contract_from_json(value, "tendon.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Contract, what_contradicts_is_refused_by_name) {
  const auto with = [](const char* key, const json& value) {
    return refusal({{"contract", "pi05_libero"}, {key, value}});
  };
  EXPECT_EQ(refusal({{"contract", "pi05_libero"}}), "");
  EXPECT_NE(refusal({{"contract", "pi06"}}).find("unknown; there are pi0_base"), std::string::npos);
  EXPECT_NE(with("horizont", 3).find("\"horizont\" is unknown"), std::string::npos);
  EXPECT_NE(with("horizon", 0), "");
  EXPECT_NE(with("horizon", 2.5).find("whole number"), std::string::npos);
  EXPECT_NE(with("horizon", "ten"), "");
  EXPECT_NE(with("returned_dims", 33), "");
  EXPECT_NE(with("state_dim", 40), "");
  EXPECT_NE(with("rope", "f64").find("there are f32, bf16"), std::string::npos);
  EXPECT_NE(with("prompt", {{"capacity", 0}}), "");
  EXPECT_NE(with("prompt", "chat"), "");
  EXPECT_NE(with("images", {{"pictures", json::array()}}), "");
  EXPECT_NE(with("robot_rules", {{"delta", {9, -1}}}), "");
  EXPECT_NE(with("robot_rules", {{"grippers", {7}}}), "");
  EXPECT_NE(with("robot_rules", {{"slots", {0, 0, 1, 2, 3, 4, 5, 6}}}), "");
  EXPECT_NE(refusal(json::array()), "");
  EXPECT_NE(refusal(json::object()), "");
}

TEST(Contract, cameras_stay_inside_their_picture) {
  Contract c = builtin_contract("fastwam_libero");
  c.images.pictures[0].cameras[1].left = 300;
  EXPECT_THROW(validate(c), Error);
  c = builtin_contract("fastwam_libero");
  c.images.pictures[0].cameras[1].keys = c.images.pictures[0].cameras[0].keys;
  EXPECT_THROW(validate(c), Error);
}

TEST(Contract, delta_masks) {
  EXPECT_EQ(delta_mask({2, -1, 1}), (std::vector<std::uint8_t>{1, 1, 0, 1}));
  EXPECT_THROW(delta_mask({0}), Error);
}

TEST(Contract, picture_sizes_scale_rectangles) {
  ImageRules images = builtin_contract("fastwam_robotwin").images;
  set_picture_size(images, 96, 80);
  EXPECT_EQ(images.pictures[0].cameras[2].left, 40);
  EXPECT_EQ(images.pictures[0].cameras[2].top, 64);
  EXPECT_EQ(images.pictures[0].cameras[0].height, 64);
}

}  // namespace
}  // namespace tendon
