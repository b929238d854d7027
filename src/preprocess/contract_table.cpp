// The built-in contracts. One function a robot, one row a published configuration.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "preprocess/contract.h"

namespace tendon {

namespace {

Camera camera(std::vector<std::string> keys, int height, int width) {
  Camera c;
  c.keys = std::move(keys);
  c.height = height;
  c.width = width;
  return c;
}

Picture single(std::string slot, std::vector<std::string> keys, int size) {
  return {std::move(slot), size, size, {camera(std::move(keys), size, size)}};
}

// The three slots of pi0 and pi0.5; an empty key list is a slot that this robot never fills.
std::vector<Picture> pi_pictures(std::vector<std::string> base, std::vector<std::string> left,
                                 std::vector<std::string> right) {
  constexpr int kSize = 224;
  std::vector<Picture> pictures{single("base_0_rgb", std::move(base), kSize),
                                single("left_wrist_0_rgb", std::move(left), kSize),
                                single("right_wrist_0_rgb", std::move(right), kSize)};
  return pictures;
}

Contract pi(std::string name, std::string model, int horizon, int capacity) {
  Contract c;
  c.name = std::move(name);
  c.model = std::move(model);
  c.horizon = horizon;
  c.action_dim = c.state_width = 32;
  const bool state_token = c.model == "pi0";
  const Scaling scaling = state_token ? Scaling::mean_std : Scaling::quantile;
  c.state = {scaling, Formula::eps_added, 0, {{"state"}}};
  c.actions = {scaling, Formula::eps_added, 0, {{"actions"}}};
  c.prompt = named_prompt(state_token ? "text_newline" : "task_state");
  c.prompt.capacity = capacity;
  return c;
}

// A base checkpoint: the robot is the user's to describe, its own widths stand in.
Contract base(Contract c) {
  c.robot = "any";
  c.state_dim = c.returned_dims = 32;
  c.images.pictures =
      pi_pictures({"base_0_rgb", "observation/image"},
                  {"left_wrist_0_rgb", "observation/wrist_image"}, {"right_wrist_0_rgb"});
  c.images.pictures[0].cameras[0].required = true;
  c.robot_rules.state_sources = {{{"observation/state", 32}}};
  return c;
}

Contract libero(Contract c) {
  c.robot = "libero";
  c.asset = "physical-intelligence/libero";
  c.state_dim = 8;
  c.returned_dims = 7;
  c.control_hz = 20;
  c.execute_rows = 5;
  c.images.pictures = pi_pictures({"observation/image"}, {"observation/wrist_image"}, {});
  c.images.pictures[0].cameras[0].required = c.images.pictures[1].cameras[0].required = true;
  c.robot_rules.state_sources = {{{"observation/state", 8}},
                                 {{"robot0_eef_pos", 3},
                                  {"robot0_eef_quat", 3, StateForm::quaternion},
                                  {"robot0_gripper_qpos", 2}}};
  return c;
}

Contract droid(Contract c) {
  c.robot = "droid";
  c.asset = "droid";
  c.state_dim = c.returned_dims = 8;
  c.control_hz = 15;
  c.execute_rows = 8;
  c.images.pictures =
      pi_pictures({"observation/exterior_image_1_left"}, {"observation/wrist_image_left"}, {});
  c.images.pictures[0].cameras[0].required = c.images.pictures[1].cameras[0].required = true;
  c.robot_rules.state_sources = {
      {{"observation/joint_position", 7}, {"observation/gripper_position", 1}}};
  return c;
}

Contract aloha(Contract c, std::string asset) {
  c.robot = "aloha";
  c.asset = std::move(asset);
  c.state_dim = c.returned_dims = 14;
  c.control_hz = 50;
  c.execute_rows = 25;
  c.images.channels = ChannelOrder::first;
  c.images.pictures =
      pi_pictures({"images/cam_high", "cam_high"}, {"images/cam_left_wrist", "cam_left_wrist"},
                  {"images/cam_right_wrist", "cam_right_wrist"});
  c.images.pictures[0].cameras[0].required = true;
  c.images.ignored = {"images/cam_low", "cam_low"};
  c.robot_rules.state_sources = {{{"state", 14}}};
  c.robot_rules.sign = {1, -1, -1, 1, 1, 1, 1, 1, -1, -1, 1, 1, 1, 1};
  c.robot_rules.grippers = {6, 13};
  c.robot_rules.gripper = GripperMap::aloha;
  c.robot_rules.reset_pose = {0, -1.5, 1.5, 0, 0, 0};
  return c;
}

Contract with_delta(Contract c, const std::vector<int>& runs) {
  c.robot_rules.delta = delta_mask(runs);
  return c;
}

Contract without_state_in_prompt(Contract c) {
  const int capacity = c.prompt.capacity;
  c.prompt = named_prompt("text_newline");
  c.prompt.capacity = capacity;
  return c;
}

Contract with_action_dim(Contract c, int width) {
  c.action_dim = c.state_width = width;
  return c;
}

constexpr double kMean[3] = {0.48145466, 0.4578275, 0.40821073};
constexpr double kStd[3] = {0.26862954, 0.26130258, 0.27577711};

std::vector<StatisticsSlice> robotwin_groups(const std::string& vector) {
  const std::string arm = vector + ".arm.position", gripper = vector + ".effector.position";
  return {{arm, 0, 6}, {gripper, 0, 1}, {arm, 6, 6}, {gripper, 1, 1}};
}

Contract lingbot_vla(std::string name, std::vector<int> slots) {
  Contract c;
  c.name = std::move(name);
  c.model = "lingbot_vla";
  c.robot = "robotwin";
  c.horizon = 50;
  c.action_dim = c.state_width = 75;
  c.state_dim = c.returned_dims = 14;
  c.schedule = TimeSchedule::bf16;
  c.rope = RopeTable::bf16;
  c.images.resize = ResizeRule::squash;
  c.images.pixels = PixelRule::standardised;
  std::copy(kMean, kMean + 3, c.images.mean);
  std::copy(kStd, kStd + 3, c.images.std);
  c.images.pictures = {
      single("cam_high", {"observation.images.cam_high", "head"}, 224),
      single("cam_left_wrist", {"observation.images.cam_left_wrist", "left_wrist"}, 224),
      single("cam_right_wrist", {"observation.images.cam_right_wrist", "right_wrist"}, 224)};
  c.images.pictures[0].cameras[0].required = true;
  c.robot_rules.state_sources = {{{"observation.state", 14}}};
  c.robot_rules.slots = std::move(slots);
  c.state = {Scaling::quantile, Formula::eps_added_f64, 0, robotwin_groups("observation.state")};
  c.actions = {Scaling::quantile, Formula::eps_added_f64, 0, robotwin_groups("action")};
  c.prompt = named_prompt("literal_bos");
  c.prompt.capacity = 72;
  return c;
}

Contract fastwam(std::string name, int width, int state_dim) {
  Contract c;
  c.name = std::move(name);
  c.model = "fastwam";
  c.horizon = 32;
  c.action_dim = c.returned_dims = width;
  c.state_dim = c.state_width = state_dim;
  c.shift = 5;
  c.schedule = TimeSchedule::bf16;
  c.images.pixels = PixelRule::two_over_255;
  c.prompt = named_prompt("video_instruction");
  c.prompt.capacity = 128;
  return c;
}

Normalisation fastwam_norm(Scaling scaling, double clamp, std::string feature) {
  return {scaling, Formula::affine, clamp, {{std::move(feature)}}};
}

Contract fastwam_libero() {
  Contract c = fastwam("fastwam_libero", 7, 8);
  c.robot = "libero";
  c.execute_rows = 10;
  c.control_hz = 20;
  c.noise_seed = 42;
  c.images.resize = ResizeRule::crop;
  Picture picture{"composed", 224, 448, {}};
  picture.cameras = {
      camera({"observation/image", "agentview_image", "agent"}, 224, 224),
      camera({"observation/wrist_image", "robot0_eye_in_hand_image", "wrist"}, 224, 224)};
  picture.cameras[1].left = 224;
  for (Camera& each : picture.cameras) {
    each.turn = Turn::half;
    each.required = true;
  }
  c.images.pictures = {picture};
  c.robot_rules.state_sources = {{{"observation/state", 8}},
                                 {{"robot0_eef_pos", 3},
                                  {"robot0_eef_quat", 3, StateForm::quaternion},
                                  {"robot0_gripper_qpos", 2}}};
  c.robot_rules.grippers = {6};
  c.robot_rules.gripper = GripperMap::negate_binary;
  c.state = fastwam_norm(Scaling::min_max, 5, "state");
  c.actions = fastwam_norm(Scaling::min_max, 0, "action");
  return c;
}

Contract fastwam_robotwin() {
  Contract c = fastwam("fastwam_robotwin", 14, 14);
  c.robot = "robotwin";
  c.execute_rows = 24;
  c.noise_seed = 0;
  c.images.resize = ResizeRule::squash;
  Picture picture{"composed", 384, 320, {}};
  picture.cameras = {camera({"head_camera", "head"}, 256, 320),
                     camera({"left_camera", "left_wrist"}, 128, 160),
                     camera({"right_camera", "right_wrist"}, 128, 160)};
  picture.cameras[1].top = picture.cameras[2].top = 256;
  picture.cameras[2].left = 160;
  for (Camera& each : picture.cameras) each.required = true;
  c.images.pictures = {picture};
  c.robot_rules.state_sources = {{{"observation/state", 14}}};
  c.state = fastwam_norm(Scaling::mean_std, 5, "state");
  c.actions = fastwam_norm(Scaling::mean_std, 0, "action");
  return c;
}

// The trained demonstration policy: a small pi0.5 whose robot lives in the simulator.
Contract pick_block() {
  Contract c = pi("pick_block", "pi05", 16, 32);
  c.robot = "simulated_arm";
  c.state_dim = c.returned_dims = 5;
  c.control_hz = 20;
  c.execute_rows = 8;
  c.images.pictures = {single("base_0_rgb", {"observation/image"}, 112),
                       single("left_wrist_0_rgb", {"observation/wrist_image"}, 112),
                       single("right_wrist_0_rgb", {}, 112)};
  c.images.pictures[0].cameras[0].required = c.images.pictures[1].cameras[0].required = true;
  c.robot_rules.state_sources = {{{"observation/state", 5}}};
  c.robot_rules.delta = delta_mask({4, -1});
  return c;
}

std::vector<Contract> pi_contracts() {
  const std::vector<int> arms{6, -1, 6, -1}, arm{6, -1}, joints{7, -1};
  std::vector<Contract> all{base(pi("pi0_base", "pi0", 50, 48)),
                            base(pi("pi05_base", "pi05", 50, 200))};
  for (const char* name :
       {"pi0_aloha", "pi0_aloha_towel", "pi0_aloha_tupperware", "pi0_aloha_pen_uncap"}) {
    all.push_back(with_delta(aloha(pi(name, "pi0", 50, 48), "trossen"), arms));
  }
  for (const char* name : {"pi05_aloha", "pi05_aloha_pen_uncap"}) {
    all.push_back(with_delta(aloha(pi(name, "pi05", 50, 200), "trossen"), arms));
  }
  all.push_back(aloha(pi("pi0_aloha_sim", "pi0", 50, 48), "lerobot/aloha_sim_transfer_cube_human"));
  all.push_back(droid(pi("pi0_droid", "pi0", 10, 48)));
  all.push_back(droid(pi("pi05_droid", "pi05", 15, 200)));
  all.push_back(droid(pi("pi05_droid_finetune", "pi05", 16, 200)));
  all.push_back(with_delta(droid(pi("pi05_full_droid_finetune", "pi05", 16, 200)), joints));
  all.push_back(with_delta(droid(pi("pi05_droid_jointpos_polaris", "pi05", 15, 200)), joints));
  for (const char* name : {"pi0_droid_jointpos_polaris", "pi0_droid_jointpos_100k_polaris"}) {
    all.push_back(with_delta(droid(pi(name, "pi0", 10, 100)), joints));
  }
  for (const char* name : {"pi0_libero", "pi0_libero_low_mem_finetune"}) {
    all.push_back(with_delta(libero(pi(name, "pi0", 50, 48)), arm));
  }
  all.push_back(without_state_in_prompt(libero(pi("pi05_libero", "pi05", 10, 200))));
  all.push_back(with_action_dim(droid(pi("paligemma_diffusion_droid", "pi0", 10, 48)), 8));
  all.push_back(pick_block());
  return all;
}

std::vector<Contract> make_all() {
  std::vector<Contract> all = pi_contracts();
  all.push_back(lingbot_vla("lingbot_vla_february", {}));
  // Arms side by side in the first 14 slots, grippers in 14 and 15.
  all.push_back(lingbot_vla("lingbot_vla", {0, 1, 2, 3, 4, 5, 14, 6, 7, 8, 9, 10, 11, 15}));
  all.push_back(fastwam_libero());
  all.push_back(fastwam_robotwin());
  for (Contract& c : all) {
    for (Picture& picture : c.images.pictures) {
      if (picture.cameras.size() == 1 && picture.cameras[0].keys.empty()) picture.cameras.clear();
    }
    validate(c);
  }
  return all;
}

struct NamedPrompt {
  std::string_view name;
  Cleaning cleaning;
  std::string_view prefix, suffix;
  std::vector<std::string> pieces;
  int bos, eos;
};

const std::vector<NamedPrompt>& named_prompts() {
  static const std::vector<NamedPrompt> all{
      {"text_newline", Cleaning::strip_underscore, "", "", {"{text}", "\n"}, 2, -1},
      {"task_state",
       Cleaning::strip_underscore,
       "",
       "",
       {"Task: {text}, State: {state};\nAction: "},
       2,
       -1},
      {"task", Cleaning::strip_underscore, "", "", {"Task: {text};\nAction: "}, 2, -1},
      {"ends_in_newline", Cleaning::none, "", "\n", {"{text}"}, 2, -1},
      {"literal_bos", Cleaning::none, "<bos>", "\n", {"{text}"}, -1, -1},
      {"video_instruction",
       Cleaning::html_collapse,
       "",
       "",
       {"A video recorded from a robot's point of view executing the following instruction: "
        "{text}"},
       -1,
       1},
  };
  return all;
}

}  // namespace

PromptRules named_prompt(std::string_view name) {
  std::string known;
  for (const NamedPrompt& p : named_prompts()) {
    if (p.name == name) {
      PromptRules rules;
      rules.cleaning = p.cleaning;
      rules.ensure_prefix = p.prefix;
      rules.ensure_suffix = p.suffix;
      rules.pieces = p.pieces;
      rules.bos = p.bos;
      rules.eos = p.eos;
      return rules;
    }
    known += (known.empty() ? "" : ", ") + std::string(p.name);
  }
  fail("prompt format \"{}\" is unknown; there are {}", name, known);
}

const std::vector<Contract>& builtin_contracts() {
  static const std::vector<Contract> all = make_all();
  return all;
}

}  // namespace tendon
