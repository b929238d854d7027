// What LeRobot's own files say of a checkpoint.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "preprocess/contract_source.h"

namespace tendon {

using nlohmann::ordered_json;

namespace {

constexpr std::string_view kImages = "observation.images.";

const ordered_json* member(const ordered_json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(std::string(key));
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

int whole(const ordered_json& config, const char* key, int missing) {
  const ordered_json* value = member(config, key);
  if (value == nullptr) return missing;
  require(value->is_number_integer() && value->get<std::int64_t>() >= 0 &&
              value->get<std::int64_t>() <= 1 << 20,
          "config.json: {} is no sensible number", key);
  return value->get<int>();
}

std::string text(const ordered_json& object, const char* key) {
  const ordered_json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// Steps of a processor file with this registry name.
std::vector<const ordered_json*> steps(const ordered_json& processor, std::string_view name) {
  std::vector<const ordered_json*> out;
  const ordered_json* list = member(processor, "steps");
  if (list == nullptr || !list->is_array()) return out;
  for (const ordered_json& step : *list) {
    if (text(step, "registry_name") == name) out.push_back(&step);
  }
  return out;
}

int feature_width(const ordered_json& config, const char* group, const char* name) {
  const ordered_json* features = member(config, group);
  const ordered_json* feature = features ? member(*features, name) : nullptr;
  const ordered_json* shape = feature ? member(*feature, "shape") : nullptr;
  require(
      shape != nullptr && shape->is_array() && shape->size() == 1 &&
          shape->front().is_number_integer(),
      "config.json: {} does not say the width of {}; pass --contract with a JSON file that does",
      group, name);
  const int width = shape->front().get<int>();
  require(width > 0 && width <= 4096, "config.json: {} has a width of {}", name, width);
  return width;
}

// Keys under which a camera arrives: its own and those that the rename step maps to it.
std::vector<std::string> camera_keys(const std::string& name, const ordered_json& preprocessor) {
  std::vector<std::string> keys{name};
  for (const ordered_json* step : steps(preprocessor, "rename_observations_processor")) {
    const ordered_json* config = member(*step, "config");
    const ordered_json* map = config ? member(*config, "rename_map") : nullptr;
    if (map == nullptr || !map->is_object()) continue;
    for (const auto& [from, to] : map->items()) {
      if (to == name && from != name) keys.insert(keys.begin(), from);
    }
  }
  return keys;
}

std::vector<std::string> image_features(const ordered_json& config) {
  std::vector<std::string> names;
  const ordered_json* features = member(config, "input_features");
  if (features != nullptr && features->is_object()) {
    for (const auto& [name, feature] : features->items()) {
      if (text(feature, "type") == "VISUAL") names.push_back(name);
    }
  }
  require(!names.empty() && names.size() <= 16,
          "config.json: input_features names {} cameras; pass --contract with a JSON file that "
          "names them",
          names.size());
  return names;
}

Picture picture_of(const std::string& name, int height, int width,
                   const ordered_json& preprocessor) {
  Picture picture{name, height, width, {}};
  const bool named = name.starts_with(kImages);
  if (named) picture.slot = name.substr(kImages.size());
  if (picture.slot.starts_with("empty_camera_")) return picture;
  Camera camera;
  camera.keys = camera_keys(name, preprocessor);
  camera.height = height;
  camera.width = width;
  camera.required = true;
  picture.cameras.push_back(std::move(camera));
  return picture;
}

// [height, width] of a pair in config.json.
std::pair<int, int> size_pair(const ordered_json& config, const char* key,
                              std::pair<int, int> missing) {
  const ordered_json* value = member(config, key);
  if (value == nullptr) return missing;
  require(value->is_array() && value->size() == 2 && (*value)[0].is_number_integer() &&
              (*value)[1].is_number_integer(),
          "config.json: {} is no pair of sides", key);
  return {(*value)[0].get<int>(), (*value)[1].get<int>()};
}

Scaling scaling_named(const std::string& mode, const char* vector) {
  if (mode == "MEAN_STD") return Scaling::mean_std;
  if (mode == "MIN_MAX") return Scaling::min_max;
  if (mode == "QUANTILES") return Scaling::quantile;
  if (mode == "IDENTITY") return Scaling::identity;
  require(
      !mode.empty(),
      "config.json: no normalization_mapping for {}; pass --contract with a JSON file that says it",
      vector);
  fail("config.json: normalisation {} of {} is not supported", printable(mode), vector);
}

// The processor's map wins: it is what ran.
Normalisation normalisation(const ordered_json& config, const ordered_json& preprocessor,
                            const char* kind, const char* feature) {
  std::string mode;
  if (const ordered_json* map = member(config, "normalization_mapping")) mode = text(*map, kind);
  for (const ordered_json* step : steps(preprocessor, "normalizer_processor")) {
    const ordered_json* options = member(*step, "config");
    if (options == nullptr) continue;
    if (const ordered_json* map = member(*options, "norm_map"); map && !text(*map, kind).empty()) {
      mode = text(*map, kind);
    }
    if (const ordered_json* eps = member(*options, "eps")) {
      require(eps->is_number() && eps->get<double>() == 1e-8,
              "policy_preprocessor.json: eps is {}, only 1e-8 is supported", eps->dump());
    }
  }
  return {scaling_named(mode, feature), Formula::eps_if_zero, 0, {{feature}}};
}

std::vector<std::string> strings(const ordered_json& config, const char* key) {
  std::vector<std::string> out;
  const ordered_json* list = member(config, key);
  if (list == nullptr || !list->is_array()) return out;
  for (const ordered_json& item : *list) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

// Relative everywhere but where the joint's name holds an excluded word.
std::vector<std::uint8_t> relative_mask(const ordered_json& config, int width) {
  const ordered_json* relative = member(config, "use_relative_actions");
  if (relative == nullptr || !relative->is_boolean() || !relative->get<bool>()) return {};
  const std::vector<std::string> names = strings(config, "action_feature_names");
  require(static_cast<int>(names.size()) == width,
          "config.json: actions are relative, but action_feature_names names {} of {}; pass "
          "--contract with a JSON "
          "file whose robot_rules.delta says which",
          names.size(), width);
  std::vector<std::string> excluded{"gripper"};
  if (member(config, "relative_exclude_joints"))
    excluded = strings(config, "relative_exclude_joints");
  std::vector<std::uint8_t> mask;
  for (const std::string& name : names) {
    const bool absolute =
        std::any_of(excluded.begin(), excluded.end(),
                    [&](const std::string& word) { return name.find(word) != std::string::npos; });
    mask.push_back(absolute ? 0 : 1);
  }
  return mask;
}

void refuse_memory(const ordered_json& config) {
  for (const char* key : {"use_visual_memory", "use_proprioceptive_memory"}) {
    const ordered_json* value = member(config, key);
    require(value == nullptr || (value->is_boolean() && !value->get<bool>()),
            "config.json: {} is on; checkpoints with memory are not supported", key);
  }
}

// Guidance pulls a chunk towards the last one while it is denoised. It is an option of whoever
// schedules chunks there, saved with the weights; here decided rows are pinned instead.
void refuse_guidance(const ordered_json& config) {
  const ordered_json* rtc = member(config, "rtc_config");
  if (rtc == nullptr || !rtc->is_object()) return;
  const ordered_json* enabled = member(*rtc, "enabled");
  const bool on = enabled != nullptr && enabled->is_boolean() && enabled->get<bool>();
  require(!on || text(*rtc, "mode") == "trained",
          "config.json: rtc_config asks for guided real-time chunking, which is not computed here; "
          "set its \"enabled\" to false and pin decided rows instead");
}

void read_common(const ordered_json& config, const ordered_json& preprocessor, Contract& c) {
  c.returned_dims = feature_width(config, "output_features", "action");
  c.state = normalisation(config, preprocessor, "STATE", "observation.state");
  c.actions = normalisation(config, preprocessor, "ACTION", "action");
  c.robot_rules.state_sources = {{{"observation.state", c.state_dim}}};
  c.robot_rules.delta = relative_mask(config, c.returned_dims);
}

Contract pi_contract(const ordered_json& config, const ordered_json& preprocessor) {
  refuse_memory(config);
  refuse_guidance(config);
  Contract c;
  c.model = text(config, "type");
  const bool state_token = c.model == "pi0";
  c.horizon = whole(config, "chunk_size", 50);
  c.execute_rows = std::min(whole(config, "n_action_steps", c.horizon), c.horizon);
  c.steps = whole(config, "num_inference_steps", whole(config, "num_steps", 10));
  c.schedule = TimeSchedule::divided;
  c.action_dim = whole(config, "max_action_dim", 32);
  c.state_width = whole(config, "max_state_dim", 32);
  c.state_dim = feature_width(config, "input_features", "observation.state");
  read_common(config, preprocessor, c);
  c.prompt = named_prompt(state_token ? "ends_in_newline" : "task_state");
  c.prompt.bins = Precision::f32;
  c.prompt.capacity = whole(config, "tokenizer_max_length", state_token ? 48 : 200);
  c.images.resize = ResizeRule::letterbox_float;
  const auto [height, width] = size_pair(config, "image_resolution", {224, 224});
  for (const std::string& name : image_features(config)) {
    c.images.pictures.push_back(picture_of(name, height, width, preprocessor));
  }
  return c;
}

void read_toggle(const ordered_json& config, Contract& c) {
  const ordered_json* toggled = member(config, "toggle_action_dimensions");
  if (toggled == nullptr || !toggled->is_array() || toggled->empty()) return;
  c.robot_rules.gripper = GripperMap::negate_binary;
  for (const ordered_json& item : *toggled) {
    require(item.is_number_integer(), "config.json: toggle_action_dimensions holds no dimension");
    const int d = item.get<int>();
    c.robot_rules.grippers.push_back(d < 0 ? d + c.returned_dims : d);
  }
}

Contract world_action_contract(const ordered_json& config, const ordered_json& preprocessor) {
  Contract c;
  c.model = text(config, "type");
  c.horizon = whole(config, "action_horizon", 0);
  require(c.horizon > 0, "config.json: action_horizon is missing; pass --contract");
  c.execute_rows = std::min(whole(config, "n_action_steps", c.horizon), c.horizon);
  c.steps = whole(config, "num_inference_steps", 10);
  c.action_dim = whole(config, "action_dim", 0);
  c.state_dim = c.state_width = whole(config, "proprio_dim", 0);
  read_common(config, preprocessor, c);
  read_toggle(config, c);
  c.shift = 5;
  c.schedule = TimeSchedule::bf16;
  if (member(config, "inference_seed")) c.noise_seed = whole(config, "inference_seed", 0);
  c.prompt = named_prompt("video_instruction");
  c.prompt.cleaning = Cleaning::none;
  c.prompt.capacity = whole(config, "tokenizer_max_len", 128);
  c.images.resize = ResizeRule::squash_float;
  const auto [height, width] = size_pair(config, "image_size", {0, 0});
  std::vector<std::string> names = image_features(config);
  std::sort(names.begin(), names.end());
  Picture picture{"composed", height, width, {}};
  for (std::size_t i = 0; i < names.size(); ++i) {
    Camera camera =
        picture_of(names[i], height, width / static_cast<int>(names.size()), preprocessor)
            .cameras.at(0);
    camera.left = static_cast<int>(i) * camera.width;
    picture.cameras.push_back(std::move(camera));
  }
  c.images.pictures = {picture};
  return c;
}

}  // namespace

Contract contract_from_lerobot(const ordered_json& config, const ordered_json& preprocessor,
                               const ContractQuery& query) {
  const std::string type = text(config, "type");
  // LingBot-VLA's files call themselves pi0; only the weights tell them apart.
  require(query.model.empty() || query.model == type,
          "config.json says \"{}\", the weights are {}, and it does not say which joint layout "
          "they use; pass "
          "--contract",
          printable(type), query.model);
  Contract c;
  if (type == "pi0" || type == "pi05") {
    c = pi_contract(config, preprocessor);
  } else if (type == "fastwam") {
    c = world_action_contract(config, preprocessor);
  } else {
    fail("config.json: policies of type \"{}\" are not supported; there are pi0, pi05, fastwam",
         printable(type));
  }
  c.name = "config.json";
  c.robot = text(config, "robot_type");
  validate(c);
  return c;
}

std::vector<std::string> processor_state_files(const ordered_json& processor) {
  std::vector<std::string> out;
  for (const char* name : {"normalizer_processor", "unnormalizer_processor"}) {
    for (const ordered_json* step : steps(processor, name)) {
      if (const std::string file = text(*step, "state_file"); !file.empty()) out.push_back(file);
    }
  }
  return out;
}

}  // namespace tendon
