#include "preprocess/pipeline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "preprocess/text.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

// The goldens' stand-in: ids are code points.
class CodePoints final : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    for (std::size_t at = 0; at < text.size();) {
      ids.push_back(static_cast<std::int32_t>(next_code_point(text, at)));
    }
  }
  std::int32_t vocabulary() const override { return 0x110000; }
  std::int32_t id_of(std::string_view) const override { return -1; }
  const std::string& content_hash() const override { return hash_; }

 private:
  std::string hash_;
};

// A recorded robot case, with the memory that its observation views.
struct RobotCase {
  Contract contract;
  Statistics statistics;
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<std::vector<float>> floats;
  std::vector<ImageInput> images;
  std::vector<std::string> keys;
  std::vector<double> state;
  std::vector<VectorInput> vectors;
  std::string prompt;
};

FeatureStatistics feature(const golden::File& file, const std::string& at) {
  FeatureStatistics f;
  f.mean = file[at + "/mean"].numbers();
  f.std = file[at + "/std"].numbers();
  f.q01 = file[at + "/q01"].numbers();
  f.q99 = file[at + "/q99"].numbers();
  return f;
}

Contract contract_of(const nlohmann::json& c) {
  const std::map<std::string, std::string> names{
      {"libero/pi05", "pi05_libero"}, {"libero/pi0", "pi0_libero"}, {"droid/pi05", "pi05_droid"},
      {"droid/pi0", "pi0_droid"},     {"aloha/pi05", "pi05_aloha"}, {"aloha/pi0", "pi0_aloha"}};
  Contract contract = builtin_contract(
      names.at(c["robot"].get<std::string>() + "/" + c["model"].get<std::string>()));
  contract.horizon = c["horizon"];
  contract.execute_rows = 0;
  set_picture_size(contract.images, c["resize_to"], c["resize_to"]);
  contract.robot_rules.delta = c["delta"].is_null()
                                   ? std::vector<std::uint8_t>()
                                   : delta_mask(c["delta"].get<std::vector<int>>());
  const int capacity = contract.prompt.capacity;
  contract.prompt = named_prompt(c["state_in_prompt"].get<bool>() ? "task_state" : "text_newline");
  contract.prompt.capacity = capacity;
  if (c["adapt"].is_boolean() && !c["adapt"].get<bool>()) {
    contract.robot_rules.sign.clear();
    contract.robot_rules.gripper = GripperMap::none;
  }
  return contract;
}

void add_images(const nlohmann::json& c, RobotCase& out) {
  const std::map<std::string, std::string> wire{
      {"libero/image", "observation/image"},
      {"libero/wrist", "observation/wrist_image"},
      {"droid/exterior", "observation/exterior_image_1_left"},
      {"droid/wrist", "observation/wrist_image_left"}};
  const std::string robot = c["robot"];
  for (const auto& [name, image] : c["images"].items()) {
    const auto at = wire.find(robot + "/" + name);
    out.keys.push_back(at != wire.end() ? at->second : "images/" + name);
    const std::vector<int> shape = image["shape"];
    const std::size_t count = std::size_t(shape[0]) * shape[1] * shape[2];
    if (image["kind"] == "float") {
      out.floats.push_back(golden::unit_values(image["rule_name"], count, 0.5f));
      for (float& v : out.floats.back()) v += 0.5f;
      out.bytes.emplace_back();
    } else {
      out.bytes.push_back(golden::byte_values(image["rule_name"], count));
      out.floats.emplace_back();
    }
    ImageInput input;
    std::copy(shape.begin(), shape.end(), input.shape);
    input.dtype = image["kind"] == "float" ? DType::f32 : DType::u8;
    out.images.push_back(input);
  }
  for (std::size_t i = 0; i < out.images.size(); ++i) {
    out.images[i].key = out.keys[i];
    out.images[i].data = out.floats[i].empty() ? static_cast<const void*>(out.bytes[i].data())
                                               : out.floats[i].data();
  }
}

RobotCase load_case(const golden::File& file, const nlohmann::json& c) {
  RobotCase out;
  const std::string at = "host/robot/" + c["name"].get<std::string>();
  out.contract = contract_of(c);
  out.statistics = {"golden",
                    {{"state", feature(file, at + "/stats/state")},
                     {"actions", feature(file, at + "/stats/actions")}}};
  add_images(c, out);
  out.state = file[at + "/state_in"].numbers();
  if (c["robot"] == "droid") {
    out.vectors = {{"observation/joint_position", std::span(out.state).first(7)},
                   {"observation/gripper_position", std::span(out.state).last(1)}};
  } else {
    out.vectors = {{c["robot"] == "aloha" ? "state" : "observation/state", out.state}};
  }
  out.prompt = c["prompt"];
  return out;
}

ObservationView view(const RobotCase& c) { return {c.images, c.vectors, c.prompt}; }

void check_pictures(const golden::File& file, const nlohmann::json& c, const RobotCase& robot,
                    const PreparedInput& input) {
  for (std::size_t p = 0; p < input.pictures.size(); ++p) {
    const std::string slot = robot.contract.images.pictures[p].slot;
    SCOPED_TRACE(slot);
    EXPECT_EQ(input.pictures[p].present, c["image_mask"][slot].get<bool>());
    if (!input.pictures[p].present) continue;
    const auto want =
        file["host/robot/" + c["name"].get<std::string>() + "/image/" + slot].as<std::uint8_t>();
    EXPECT_EQ(input.pictures[p].bytes, want);
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(input.pictures[p].values[i], want[i] / 255.0f * 2 - 1, 1e-7);
    }
  }
}

void check_case(const golden::File& file, const nlohmann::json& c) {
  SCOPED_TRACE(c["name"].get<std::string>());
  const std::string at = "host/robot/" + c["name"].get<std::string>();
  RobotCase robot = load_case(file, c);
  Preprocessor pre(robot.contract, robot.statistics, std::make_unique<CodePoints>());
  PreparedInput input = pre.make_input();
  const Status status = pre.prepare(view(robot), input);
  ASSERT_TRUE(status.ok()) << status.message();
  check_pictures(file, c, robot, input);
  const auto state = file[at + "/state_model"].numbers();
  ASSERT_EQ(input.state.size(), state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    EXPECT_NEAR(input.state[i], state[i], 1e-6 * std::max(1.0, std::abs(state[i]))) << i;
  }
  EXPECT_EQ(input.token_count, c["n_valid"]);
  std::string joined;
  for (const auto& piece : c["encoded"]) joined += piece["text"].get<std::string>();
  EXPECT_EQ(input.text, joined);
  const auto chunk = file[at + "/model_out"].as<float>();
  const auto want = file[at + "/actions"].numbers();
  std::vector<double> actions(want.size());
  const Status finished = pre.finish(chunk, input, actions);
  ASSERT_TRUE(finished.ok()) << finished.message();
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(actions[i], want[i], 1e-6 * std::max(1.0, std::abs(want[i]))) << i;
  }
  std::vector<float> back(chunk.size());
  ASSERT_TRUE(pre.encode_actions(actions, input, back).ok());
  for (std::size_t i = 0; i < chunk.size(); ++i) {
    const std::size_t d = i % robot.contract.action_dim;
    EXPECT_NEAR(back[i], d < std::size_t(robot.contract.returned_dims) ? chunk[i] : 0.0f, 2e-5)
        << i;
  }
}

// TrapT25, T26, T29, T30, T33 to T35 in the large.
TEST(Pipeline, openpi_recorded_robots) {
  const golden::File file("pi05_cases");
  const auto& cases = file.json["host"]["robots"];
  EXPECT_EQ(cases.size(), 10u);
  for (const auto& c : cases) check_case(file, c);
}

struct Libero {
  std::vector<std::uint8_t> image = golden::byte_values("pipeline.image", 40 * 60 * 3);
  std::vector<double> state = std::vector<double>(8, 0.25);
  std::vector<ImageInput> images{{"observation/image", image.data(), DType::u8, {40, 60, 3}},
                                 {"observation/wrist_image", image.data(), DType::u8, {40, 60, 3}}};
  std::vector<VectorInput> vectors{{"observation/state", state}};
  Statistics statistics;
  Preprocessor pre;
  PreparedInput input;

  Libero() : statistics(make_statistics()), pre(make()), input(pre.make_input()) {}
  static Statistics make_statistics() {
    FeatureStatistics f;
    f.q01.assign(8, -1);
    f.q99.assign(8, 1);
    return {"test", {{"state", f}, {"actions", f}}};
  }
  Preprocessor make() {
    Contract c = builtin_contract("pi05_libero");
    c.prompt = named_prompt("task_state");
    c.prompt.capacity = 120;
    return Preprocessor(c, statistics, std::make_unique<CodePoints>());
  }
  std::string refusal(std::optional<std::string_view> prompt = "go") {
    const Status status = pre.prepare({images, vectors, prompt}, input);
    return std::string(status.message());
  }
};

TEST(Pipeline, bad_observations_are_refused_in_one_sentence) {
  Libero t;
  EXPECT_EQ(t.refusal(), "");
  EXPECT_NE(t.refusal(std::nullopt).find("no prompt"), std::string::npos);
  EXPECT_NE(t.refusal(std::string(200, 'x')).find("tokens where the model takes 120"),
            std::string::npos);
  EXPECT_NE(t.refusal("\xff").find("UTF-8"), std::string::npos);

  t.state[3] = std::nan("");
  EXPECT_EQ(t.refusal(), "entry 3 of the state is not finite");
  t.state[3] = 0;
  t.vectors[0].values = std::span(t.state).first(7);
  EXPECT_NE(t.refusal().find("observation/state: 7 numbers came, this contract takes 8"),
            std::string::npos);
  t.vectors[0] = {"joint_position", t.state};
  EXPECT_NE(t.refusal().find("\"joint_position\" is unknown"), std::string::npos);
  t.vectors.clear();
  EXPECT_NE(t.refusal().find("the state is missing"), std::string::npos);
  t.vectors.push_back({"state", t.state});
  EXPECT_EQ(t.refusal(), "");

  t.images[1].key = "observation/wirst_image";
  EXPECT_NE(t.refusal().find("is unknown; this contract takes observation/image"),
            std::string::npos);
  t.images[1].key = "observation/image";
  EXPECT_NE(t.refusal().find("given twice"), std::string::npos);
  t.images.pop_back();
  EXPECT_NE(t.refusal().find("observation/wrist_image is missing"), std::string::npos);
  t.images[0].shape[2] = 4;
  EXPECT_NE(t.refusal(), "");
}

TEST(Pipeline, cameras_answer_to_their_slots) {
  Libero t;
  t.images[0].key = "base";
  t.images[1].key = "left_wrist_0_rgb";
  EXPECT_EQ(t.refusal(), "");
  EXPECT_TRUE(t.pre.accepts("left_wrist"));
  EXPECT_TRUE(t.pre.accepts("observation/image"));
  EXPECT_TRUE(t.pre.accepts("robot0_eef_quat"));
  EXPECT_FALSE(t.pre.accepts("right_wrist_0_rgb"));  // LIBERO has none
  EXPECT_FALSE(t.pre.accepts("lef"));
}

TEST(Pipeline, libero_state_from_the_simulators_parts) {
  const golden::File file("fastwam_tiny");
  const auto position = file["host.eef_pos"].numbers(),
             quaternion = file["host.eef_quat"].numbers(),
             gripper = file["host.gripper_qpos"].numbers();
  Contract c = builtin_contract("fastwam_libero");
  FeatureStatistics f;
  for (const auto& [name, values] : {std::pair{"min", &f.min}, {"max", &f.max}}) {
    *values = file[std::string("stats.state.") + name].numbers();
  }
  FeatureStatistics a;
  a.min = file["stats.action.min"].numbers();
  a.max = file["stats.action.max"].numbers();
  Preprocessor pre(c, {"golden", {{"state", f}, {"action", a}}}, nullptr);
  PreparedInput input = pre.make_input();
  const std::vector<VectorInput> vectors{{"robot0_gripper_qpos", gripper},
                                         {"robot0_eef_quat", quaternion},
                                         {"robot0_eef_pos", position}};
  const Status status = pre.prepare_state({{}, vectors, {}}, input);
  ASSERT_TRUE(status.ok()) << status.message();
  const auto raw = file["host.state_raw"].numbers(), state = file["host.state"].numbers();
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(input.robot_state[i], raw[i], 1e-6);
    EXPECT_NEAR(input.state[i], state[i], 1e-6);
  }

  // FastwamTrap34 in the large: the whole chunk, un-normalised, with the gripper rule.
  const auto chunk = file["chunk.n10"].as<float>();
  std::vector<double> actions(chunk.size());
  ASSERT_TRUE(pre.finish(chunk, input, actions).ok());
  const auto want = file["chunk.n10.robot"].numbers();
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(actions[i], want[i], 1e-4 * std::max(1.0, std::abs(want[i]))) << i;
  }
}

// ALOHA's wire format has its channels first; a caller who knows better says so.
TEST(Pipeline, where_channels_stand_is_the_contracts_or_the_callers) {
  FeatureStatistics f;
  f.q01.assign(14, -1);
  f.q99.assign(14, 1);
  Preprocessor pre(builtin_contract("pi05_aloha"), {"test", {{"state", f}, {"actions", f}}},
                   nullptr);
  PreparedInput input = pre.make_input();
  const auto bytes = golden::byte_values("channels", 20 * 30 * 3);
  std::vector<ImageInput> images{{"cam_high", bytes.data(), DType::u8, {20, 30, 3}}};
  EXPECT_NE(
      std::string(pre.prepare_images({images, {}, {}}, input).message()).find("channels first"),
      std::string::npos);
  images[0].channels = ChannelOrder::last;
  EXPECT_TRUE(pre.prepare_images({images, {}, {}}, input).ok());
  EXPECT_TRUE(input.pictures[0].present);
  EXPECT_FALSE(input.pictures[1].present);
}

TEST(Pipeline, LingbotTrap32_layouts_place_the_grippers) {
  const golden::File file("lingbot_vla_tiny");
  const Statistics s =
      statistics_from_json({{"norm_stats", file.json["host"]["statistics"]}}, "golden");
  const auto raw = file["host.raw_state"].numbers();
  const std::vector<VectorInput> vectors{{"observation.state", raw}};
  Preprocessor february(builtin_contract("lingbot_vla_february"), s, nullptr);
  Preprocessor newer(builtin_contract("lingbot_vla"), s, nullptr);
  PreparedInput a = february.make_input(), b = newer.make_input();
  ASSERT_TRUE(february.prepare_state({{}, vectors, {}}, a).ok());
  ASSERT_TRUE(newer.prepare_state({{}, vectors, {}}, b).ok());
  const auto want = file["host.state"].numbers();
  ASSERT_EQ(a.state.size(), 75u);
  for (std::size_t i = 0; i < 75; ++i) EXPECT_NEAR(a.state[i], want[i], 1e-6) << i;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(b.state[i], a.state[i]);
    EXPECT_EQ(b.state[6 + i], a.state[7 + i]);
  }
  EXPECT_EQ(b.state[12], 0);
  EXPECT_EQ(b.state[14], a.state[6]);
  EXPECT_EQ(b.state[15], a.state[13]);

  // A state is its own action where the statistics agree: there and back through the slots.
  std::vector<float> chunk(75, 9.0f), back(75);
  std::vector<double> actions(14);
  ASSERT_TRUE(newer.finish(chunk, b, actions).ok());
  ASSERT_TRUE(newer.encode_actions(actions, b, back).ok());
  for (int i = 0; i < 75; ++i) {
    const bool used = i < 12 || i == 14 || i == 15;
    EXPECT_NEAR(back[i], used ? 9.0f : 0.0f, 1e-4) << i;
  }
}

TEST(Pipeline, TrapT33_the_turn_is_the_contracts) {
  Libero t;
  ASSERT_EQ(t.refusal(), "");
  const auto as_sent = t.input.pictures[0].bytes;
  Contract c = t.pre.contract();
  c.images.pictures[0].cameras[0].turn = Turn::half;
  Preprocessor turned(c, t.statistics, std::make_unique<CodePoints>());
  PreparedInput input = turned.make_input();
  ASSERT_TRUE(turned.prepare({t.images, t.vectors, "go"}, input).ok());
  EXPECT_NE(input.pictures[0].bytes, as_sent);
  std::vector<std::uint8_t> reversed(t.image.size());
  for (std::size_t i = 0; i < reversed.size(); ++i) {
    reversed[i] = t.image[t.image.size() - 3 - i / 3 * 3 + i % 3];
  }
  t.images[0].data = reversed.data();
  ASSERT_EQ(t.refusal(), "");
  EXPECT_EQ(input.pictures[0].bytes, t.input.pictures[0].bytes);
  EXPECT_EQ(input.pictures[1].bytes, t.input.pictures[1].bytes);
}

TEST(Pipeline, model_output_that_is_not_finite_is_refused) {
  Libero t;
  ASSERT_EQ(t.refusal(), "");
  std::vector<float> chunk(2 * 32, 0.5f);
  std::vector<double> actions(2 * 7);
  EXPECT_TRUE(t.pre.finish(chunk, t.input, actions).ok());
  chunk[32 + 6] = NAN;
  EXPECT_EQ(t.pre.finish(chunk, t.input, actions).message(),
            "the model's action 6 of row 1 is not finite");
  chunk[32 + 6] = 0;
  chunk[31] = NAN;  // a padded dimension that nobody reads
  EXPECT_TRUE(t.pre.finish(chunk, t.input, actions).ok());
  EXPECT_FALSE(t.pre.finish(std::span(chunk).first(33), t.input, actions).ok());
}

TEST(Pipeline, far_states_are_reported) {
  Libero t;
  t.state[2] = 40;
  ASSERT_EQ(t.refusal(), "");
  EXPECT_NEAR(t.input.largest_state, 40, 1e-3);
}

TEST(Pipeline, statistics_and_tokenizer_must_fit) {
  Statistics s = Libero::make_statistics();
  s.features["state"].q01.resize(5);
  s.features["state"].q99.resize(5);
  EXPECT_THROW(Preprocessor(builtin_contract("pi05_libero"), s, nullptr), Error);
  EXPECT_THROW(Preprocessor(builtin_contract("pi05_libero"), {}, nullptr), Error);
}

TEST(Pipeline, lerobots_float_pictures) {
  Libero t;
  Contract c = t.pre.contract();
  c.images.resize = ResizeRule::letterbox_float;
  Preprocessor pre(c, t.statistics, std::make_unique<CodePoints>());
  PreparedInput input = pre.make_input();
  ASSERT_TRUE(pre.prepare({t.images, t.vectors, "go"}, input).ok());
  EXPECT_TRUE(input.pictures[0].bytes.empty());
  EXPECT_EQ(input.pictures[0].values[0], -1.0f);  // the bar
  const float first = t.image[0] / 255.0f * 2 - 1;
  EXPECT_NEAR(input.pictures[0].values[std::size_t(37) * 224 * 3], first,
              1e-5);  // enlarged 3.73 times
  const auto rule = [&](ResizeRule r) {
    Contract d = c;
    d.images.resize = r;
    Preprocessor p(d, t.statistics, nullptr);
    PreparedInput in = p.make_input();
    EXPECT_TRUE(p.prepare_images({t.images, {}, {}}, in).ok());
    return in.pictures[0].values[0];
  };
  EXPECT_EQ(rule(ResizeRule::letterbox_float_dark), -3.0f);
  EXPECT_NEAR(rule(ResizeRule::squash_float), first, 1e-5);
}

}  // namespace
}  // namespace tendon
