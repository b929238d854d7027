#include <nlohmann/json.hpp>

#include "preprocess/contract.h"
#include "preprocess/json_fields.h"

namespace tendon {

using nlohmann::json;

#define TENDON_NAMES(Type, ...)                                                  \
  template <>                                                                    \
  EnumNames<Type> enum_names<Type>() {                                           \
    static constexpr std::pair<Type, std::string_view> kNames[] = {__VA_ARGS__}; \
    return kNames;                                                               \
  }

TENDON_NAMES(ResizeRule, {ResizeRule::letterbox, "letterbox"}, {ResizeRule::squash, "squash"},
             {ResizeRule::crop, "crop"}, {ResizeRule::letterbox_float, "letterbox_float"},
             {ResizeRule::letterbox_float_dark, "letterbox_float_dark"},
             {ResizeRule::squash_float, "squash_float"})
TENDON_NAMES(PixelRule, {PixelRule::unit, "unit"}, {PixelRule::two_over_255, "two_over_255"},
             {PixelRule::standardised, "standardised"})
TENDON_NAMES(ChannelOrder, {ChannelOrder::either, "either"}, {ChannelOrder::first, "first"},
             {ChannelOrder::last, "last"})
TENDON_NAMES(Turn, {Turn::none, "none"}, {Turn::half, "half"})
TENDON_NAMES(Scaling, {Scaling::identity, "identity"}, {Scaling::mean_std, "mean_std"},
             {Scaling::std_only, "std_only"}, {Scaling::min_max, "min_max"},
             {Scaling::quantile, "quantile"})
TENDON_NAMES(Formula, {Formula::eps_added, "eps_added"}, {Formula::eps_added_f64, "eps_added_f64"},
             {Formula::eps_if_zero, "eps_if_zero"}, {Formula::affine, "affine"})
TENDON_NAMES(StateForm, {StateForm::values, "values"}, {StateForm::quaternion, "quaternion"},
             {StateForm::quaternion_f32, "quaternion_f32"})
TENDON_NAMES(GripperMap, {GripperMap::none, "none"}, {GripperMap::aloha, "aloha"},
             {GripperMap::negate, "negate"}, {GripperMap::negate_binary, "negate_binary"})
TENDON_NAMES(Cleaning, {Cleaning::none, "none"}, {Cleaning::strip_underscore, "strip_underscore"},
             {Cleaning::html_collapse, "html_collapse"})
TENDON_NAMES(Precision, {Precision::f32, "f32"}, {Precision::f64, "f64"})
TENDON_NAMES(TimeSchedule, {TimeSchedule::exact, "exact"}, {TimeSchedule::bf16, "bf16"},
             {TimeSchedule::divided, "divided"})
TENDON_NAMES(RopeTable, {RopeTable::f32, "f32"}, {RopeTable::bf16, "bf16"})
#undef TENDON_NAMES

namespace {

json write(const Normalisation& n) {
  json features = json::array();
  for (const StatisticsSlice& s : n.features) {
    features.push_back({{"feature", s.feature}, {"begin", s.begin}, {"count", s.count}});
  }
  return {{"scaling", enum_name(n.scaling)},
          {"formula", enum_name(n.formula)},
          {"clamp", n.clamp},
          {"features", features}};
}

json write(const ImageRules& r) {
  json pictures = json::array();
  for (const Picture& p : r.pictures) {
    json cameras = json::array();
    for (const Camera& c : p.cameras) {
      cameras.push_back({{"keys", c.keys},
                         {"top", c.top},
                         {"left", c.left},
                         {"height", c.height},
                         {"width", c.width},
                         {"turn", enum_name(c.turn)},
                         {"required", c.required}});
    }
    pictures.push_back(
        {{"slot", p.slot}, {"height", p.height}, {"width", p.width}, {"cameras", cameras}});
  }
  return {{"resize", enum_name(r.resize)},
          {"pixels", enum_name(r.pixels)},
          {"channels", enum_name(r.channels)},
          {"mean", {r.mean[0], r.mean[1], r.mean[2]}},
          {"std", {r.std[0], r.std[1], r.std[2]}},
          {"ignored", r.ignored},
          {"pictures", pictures}};
}

// {1,1,0} -> [2,-1].
json runs(const std::vector<std::uint8_t>& mask) {
  json out = json::array();
  for (std::size_t i = 0, j = 0; i < mask.size(); i = j) {
    while (j < mask.size() && mask[j] == mask[i]) ++j;
    const int length = static_cast<int>(j - i);
    out.push_back(mask[i] ? length : -length);
  }
  return out;
}

json write(const RobotRules& r) {
  json sources = json::array();
  for (const auto& source : r.state_sources) {
    json parts = json::array();
    for (const StatePart& p : source) {
      parts.push_back({{"key", p.key}, {"width", p.width}, {"form", enum_name(p.form)}});
    }
    sources.push_back(parts);
  }
  return {{"state_sources", sources},        {"sign", r.sign},         {"grippers", r.grippers},
          {"gripper", enum_name(r.gripper)}, {"delta", runs(r.delta)}, {"slots", r.slots},
          {"reset_pose", r.reset_pose}};
}

json write(const PromptRules& p) {
  return {{"cleaning", enum_name(p.cleaning)},
          {"ensure_prefix", p.ensure_prefix},
          {"ensure_suffix", p.ensure_suffix},
          {"pieces", p.pieces},
          {"bos", p.bos},
          {"eos", p.eos},
          {"pad", p.pad},
          {"capacity", p.capacity},
          {"widen_state", p.widen_state},
          {"bins", enum_name(p.bins)},
          {"fallback", p.fallback ? json(*p.fallback) : json(nullptr)}};
}

void read_normalisation(const json& value, const std::string& where, Normalisation& n) {
  Fields f(value, where);
  f.read("scaling", n.scaling);
  f.read("formula", n.formula);
  f.read("clamp", n.clamp);
  if (const json* features = f.find("features")) {
    require(features->is_array(), "{}: wanted a list", f.place("features"));
    n.features.clear();
    for (const json& item : *features) {
      Fields slice(item, f.place("features"));
      StatisticsSlice& s = n.features.emplace_back();
      slice.read("feature", s.feature);
      slice.read("begin", s.begin);
      slice.read("count", s.count);
      slice.refuse_unknown();
      require(s.begin >= 0 && s.count >= 0, "{}: a slice of {} from {}", where, s.count, s.begin);
    }
  }
  f.refuse_unknown();
}

void read_camera(const json& value, const std::string& where, const Picture& picture, Camera& c) {
  c.height = picture.height;
  c.width = picture.width;
  Fields f(value, where);
  f.read("keys", c.keys);
  f.read("top", c.top);
  f.read("left", c.left);
  f.read("height", c.height);
  f.read("width", c.width);
  f.read("turn", c.turn);
  f.read("required", c.required);
  f.refuse_unknown();
}

void read_pictures(const json& value, const std::string& where, std::vector<Picture>& pictures) {
  require(value.is_array() && value.size() <= 64, "{}: wanted a list", where);
  pictures.clear();
  for (const json& item : value) {
    Picture& p = pictures.emplace_back();
    Fields f(item, where);
    f.read("slot", p.slot);
    f.read("height", p.height);
    f.read("width", p.width);
    if (const json* cameras = f.find("cameras")) {
      require(cameras->is_array() && cameras->size() <= 64, "{}: wanted a list",
              f.place("cameras"));
      for (const json& each : *cameras) {
        read_camera(each, f.place("cameras"), p, p.cameras.emplace_back());
      }
    }
    f.refuse_unknown();
  }
}

void read_three(Fields& f, const char* key, double (&out)[3]) {
  std::vector<double> values;
  f.read(key, values);
  if (values.empty()) return;
  require(values.size() == 3, "{}: wanted three numbers", f.place(key));
  std::copy(values.begin(), values.end(), out);
}

void read_images(const json& value, const std::string& where, ImageRules& r) {
  Fields f(value, where);
  f.read("resize", r.resize);
  f.read("pixels", r.pixels);
  f.read("channels", r.channels);
  f.read("ignored", r.ignored);
  read_three(f, "mean", r.mean);
  read_three(f, "std", r.std);
  if (const json* pictures = f.find("pictures")) {
    read_pictures(*pictures, f.place("pictures"), r.pictures);
  }
  f.refuse_unknown();
}

void read_sources(const json& value, const std::string& where,
                  std::vector<std::vector<StatePart>>& sources) {
  require(value.is_array() && value.size() <= 64, "{}: wanted a list of lists", where);
  sources.clear();
  for (const json& item : value) {
    require(item.is_array() && item.size() <= 64, "{}: wanted a list of lists", where);
    auto& parts = sources.emplace_back();
    for (const json& each : item) {
      Fields f(each, where);
      StatePart& part = parts.emplace_back();
      f.read("key", part.key);
      f.read("width", part.width);
      f.read("form", part.form);
      f.refuse_unknown();
      require(!part.key.empty() && part.width > 0, "{}: a part needs a key and a width", where);
    }
  }
}

void read_robot(const json& value, const std::string& where, RobotRules& r) {
  Fields f(value, where);
  if (const json* sources = f.find("state_sources")) {
    read_sources(*sources, f.place("state_sources"), r.state_sources);
  }
  f.read("sign", r.sign);
  f.read("grippers", r.grippers);
  f.read("gripper", r.gripper);
  if (const json* delta = f.find("delta")) {
    std::vector<int> lengths;
    Fields::convert(*delta, f.place("delta"), lengths);
    r.delta = delta_mask(lengths);
  }
  f.read("slots", r.slots);
  f.read("reset_pose", r.reset_pose);
  f.refuse_unknown();
}

void start_from_format(const std::string& name, PromptRules& p) {
  PromptRules fresh = named_prompt(name);
  fresh.capacity = p.capacity;
  fresh.fallback = p.fallback;
  p = std::move(fresh);
}

void read_prompt(const json& value, const std::string& where, PromptRules& p) {
  if (value.is_string()) return start_from_format(value.get<std::string>(), p);
  Fields f(value, where);
  std::string format;
  f.read("format", format);
  if (!format.empty()) start_from_format(format, p);
  f.read("cleaning", p.cleaning);
  f.read("ensure_prefix", p.ensure_prefix);
  f.read("ensure_suffix", p.ensure_suffix);
  f.read("pieces", p.pieces);
  f.read("bos", p.bos);
  f.read("eos", p.eos);
  f.read("pad", p.pad);
  f.read("capacity", p.capacity);
  f.read("widen_state", p.widen_state);
  f.read("bins", p.bins);
  f.read("fallback", p.fallback);
  f.refuse_unknown();
}

void read_scalars(Fields& f, Contract& c) {
  f.read("name", c.name);
  f.read("model", c.model);
  f.read("robot", c.robot);
  f.read("horizon", c.horizon);
  f.read("action_dim", c.action_dim);
  f.read("state_dim", c.state_dim);
  if (c.state_width == 0) c.state_width = c.state_dim;
  f.read("state_width", c.state_width);
  f.read("returned_dims", c.returned_dims);
  f.read("steps", c.steps);
  f.read("shift", c.shift);
  f.read("schedule", c.schedule);
  f.read("rope", c.rope);
  f.read("control_hz", c.control_hz);
  f.read("execute_rows", c.execute_rows);
  f.read("noise_seed", c.noise_seed);
  f.read("asset", c.asset);
}

}  // namespace

json to_json(const Contract& c) {
  return {{"name", c.name},
          {"model", c.model},
          {"robot", c.robot},
          {"horizon", c.horizon},
          {"action_dim", c.action_dim},
          {"state_dim", c.state_dim},
          {"state_width", c.state_width},
          {"returned_dims", c.returned_dims},
          {"steps", c.steps},
          {"shift", c.shift},
          {"schedule", enum_name(c.schedule)},
          {"rope", enum_name(c.rope)},
          {"control_hz", c.control_hz},
          {"execute_rows", c.execute_rows},
          {"noise_seed", c.noise_seed ? json(*c.noise_seed) : json(nullptr)},
          {"asset", c.asset},
          {"dims", c.dims.empty() ? json::object() : json::parse(c.dims)},
          {"images", write(c.images)},
          {"state", write(c.state)},
          {"actions", write(c.actions)},
          {"robot_rules", write(c.robot_rules)},
          {"prompt", write(c.prompt)}};
}

Contract contract_from_json(const json& value, std::string_view origin) {
  Fields f(value, std::string(origin));
  Contract c;
  std::string start;
  f.read("contract", start);
  if (!start.empty()) c = builtin_contract(start);
  read_scalars(f, c);
  if (const json* v = f.find("images")) read_images(*v, f.place("images"), c.images);
  if (const json* v = f.find("dims")) {
    require(v->is_object(), "{}: wanted a JSON object", f.place("dims"));
    c.dims = v->empty() ? "" : v->dump();
  }
  int size = 0;
  f.read("image_size", size);
  if (size != 0) set_picture_size(c.images, size, size);
  Scaling scaling = c.state.scaling;
  if (f.find("normalisation")) {
    f.read("normalisation", scaling);
    c.state.scaling = c.actions.scaling = scaling;
  }
  if (const json* v = f.find("state")) read_normalisation(*v, f.place("state"), c.state);
  if (const json* v = f.find("actions")) read_normalisation(*v, f.place("actions"), c.actions);
  if (const json* v = f.find("robot_rules")) read_robot(*v, f.place("robot_rules"), c.robot_rules);
  if (const json* v = f.find("prompt")) read_prompt(*v, f.place("prompt"), c.prompt);
  f.refuse_unknown();
  if (c.name.empty()) c.name = std::string(origin);
  // One vector named "state" is the whole of it where nothing else was said.
  const auto& sources = c.robot_rules.state_sources;
  const bool fits = !sources.empty() && [&] {
    int width = 0;
    for (const StatePart& part : sources[0]) width += part.width;
    return width == c.state_dim;
  }();
  if (!fits && value.find("robot_rules") == value.end()) {
    c.robot_rules.state_sources = {{{"observation/state", c.state_dim}}};
  }
  validate(c);
  return c;
}

}  // namespace tendon
