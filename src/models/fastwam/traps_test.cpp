// Mistakes that the specification knows to be easy, each with the stage or the property that shows
// it. The numbers are those of its table.
#include "base/error.h"
#include "models/fastwam/replay_test.h"

namespace tendon::fastwam::testing {
namespace {

// Mistakes that a recorded stage tells at once.
struct Trap {
  const char* name;
  std::vector<const char*> stages;
};

class FastWamTrap : public ::testing::TestWithParam<Trap> {};

TEST_P(FastWamTrap, Stages) {
  for (const char* stage : GetParam().stages)
    EXPECT_LE(BaseRun::f32().fp32_ratio(stage), 1.0) << stage;
}

INSTANTIATE_TEST_SUITE_P(
    Trap, FastWamTrap,
    ::testing::Values(
        Trap{"F01_padding_rows_are_attended", {"video.block.0", "action.block.0"}},
        Trap{"F02_padding_is_zero_before_the_text_mlp", {"video.context", "action.context"}},
        Trap{"F03_both_experts_see_the_state",
             {"context_rows", "video.cross_k.0", "action.cross_k.0"}},
        Trap{"F05_qk_norm_over_all_heads", {"video.k.0", "action.q.0", "video.cross_k.0"}},
        Trap{"F06_rotary_pairs_are_interleaved", {"video.q.0", "action.q.0"}},
        Trap{"F07_rotary_split_frame_row_column", {"video.k.0"}},
        Trap{"F08_action_positions_start_at_0", {"action.k.0"}},
        Trap{"F09_no_rotation_of_values_and_cross_keys",
             {"video.v.0", "action.v.0", "video.cross_k.0", "action.block.0"}},
        Trap{"F10_patch_order_c_dy_dx", {"video.tokens"}},
        Trap{"F11_space_to_depth_order_c_dx_dy", {"vae.space_to_depth"}},
        Trap{"F12_last_temporal_tap", {"vae.conv1", "vae.stage0"}},
        Trap{"F13_no_time_convolution", {"vae.stage1", "vae.stage2"}},
        Trap{"F14_average_on_odd_channels", {"vae.stage1.shortcut", "vae.stage2.shortcut"}},
        Trap{"F15_identity_shortcut_of_the_last_stage", {"vae.stage3"}},
        Trap{"F16_downsampling_pads_right_and_bottom", {"vae.stage0", "vae.stage1", "vae.stage2"}},
        Trap{"F17_mean_half_standardised", {"vae.moments", "latent"}},
        Trap{"F18_cosine_before_sine", {"video.time", "action.time.0", "action.time.7"}},
        Trap{"F19_modulation_order", {"action.time_mod.0", "video.block.0", "action.block.0"}},
        Trap{"F20_cross_attention_has_no_gate_and_norm3_is_affine",
             {"video.block.0", "action.block.0"}},
        Trap{"F21_no_norm_before_the_head", {"action.velocity"}},
        Trap{"F22_time_in_thousands_shifted_towards_noise",
             {"action.timestep", "action.delta", "action.x"}},
        Trap{"F23_video_time_is_0", {"video.time_mod", "video.k.1"}},
        Trap{"F37_text_encoder_details",
             {"text.attention.0", "text.hidden.1", "text.hidden.2", "text.out"}},
        Trap{"F38_keys_are_stored_rotated_once", {"video.k.1", "action.attention.0"}}),
    [](const auto& info) { return std::string(info.param.name); });

// Chunk after changing weights that match a glob, against the chunk of the plain ones.
double answer_to(const std::string& glob) {
  const Recorded recorded;
  Plan plan = recorded.plan();
  plan.rule.multiply = {{glob, 2.0f}};
  Session session(plan);
  return largest_difference(session.run(recorded.call("n10").input), BaseRun::f32().chunk);
}

TEST(FastWamTraps, F04_context_length_is_128) {
  const Config published = config_from(fastwam_family().full_dims());
  EXPECT_EQ(published.context_len, 128);
  const BaseRun& base = BaseRun::f32();
  // Text, one row for all padding, and the state; one more row of padding would show.
  const auto bias = base.session.peek("context_bias");
  EXPECT_FLOAT_EQ(bias[1], std::log(24.0f - 17.0f));
  EXPECT_EQ(bias[0], 0.0f);
}

TEST(FastWamTraps, F01_fewer_padding_rows_give_another_chunk) {
  const Recorded recorded;
  Plan plan = recorded.plan();
  plan.dims["context_len"] = 17;  // no padding at all
  Session session(plan);
  const auto chunk = session.run(recorded.call("n10").input);
  EXPECT_GT(largest_difference(chunk, BaseRun::f32().chunk), 0.1);
}

TEST(FastWamTraps, F13_time_convolutions_are_not_read) { EXPECT_EQ(answer_to("*.time_conv.*"), 0); }

TEST(FastWamTraps, F14_even_channels_of_the_shortcut_are_0) {
  for (const char* name : {"vae.stage1.shortcut", "vae.stage2.shortcut"}) {
    const std::vector<float>& values = BaseRun::f32().session.stages().at(name).values;
    for (std::size_t i = 0; i < values.size(); i += 2) ASSERT_EQ(values[i], 0) << name << i;
  }
}

TEST(FastWamTraps, F22_more_shift_more_time_near_noise) {
  const Recorded recorded;
  Session session(recorded.plan());
  RecordedCall call = recorded.call("n10");
  call.input.shift = 0;  // the family's: 5
  EXPECT_EQ(session.run(call.input), BaseRun::f32().chunk);
  call.input.shift = 3;
  EXPECT_GT(largest_difference(session.run(call.input), BaseRun::f32().chunk), 0.1);
}

TEST(FastWamTraps, F28_sides_are_multiples_of_32) {
  nlohmann::json dims = Recorded().dims();
  dims["image"] = {96, 176};
  EXPECT_THROW(config_from(dims), Error);
}

TEST(FastWamTraps, F35_base_weights_are_refused) {
  const Recorded recorded;
  const Config config = config_from(recorded.dims());
  std::vector<TensorSpec> specs = published_tensors(config);
  std::erase_if(specs, [](const TensorSpec& t) {
    return t.name.starts_with("policy:mixtures.action.head") ||
           t.name.starts_with("policy:mixtures.action.action_encoder");
  });
  const Checkpoint checkpoint = synthetic_checkpoint(specs, recorded.rule());
  Program program;
  FastWamModel model(config, {}, checkpoint);
  try {
    model.record(program);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("action_encoder.weight"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("action.head.bias"), std::string::npos);
  }
}

TEST(FastWamTraps, F37_long_prompts_and_their_bias) {
  const Recorded recorded;
  Session session(recorded.plan());
  const auto all = recorded.numbers("text.long.ids");
  std::vector<std::int32_t> ids;
  for (float id : all) {
    if (id != 0) ids.push_back(static_cast<std::int32_t>(id));
  }
  ASSERT_EQ(ids.size(), 113u);
  const std::vector<float> rows = session.encode(ids), some = recorded.numbers("text.long.out");
  for (std::size_t i = 0; i < some.size(); ++i) {
    EXPECT_NEAR(rows[i / 64 * 8 * 64 + i % 64], some[i], 1e-4 + 1e-4 * std::abs(some[i]));
  }
}

// The chunk answers every input, and by about as much in bf16 as in fp32.
TEST(FastWamResponse, EveryInputMatters) {
  const Recorded recorded;
  Session f32(recorded.plan()), bf16(recorded.plan({.working = DType::bf16}));
  const RecordedCall call = recorded.call("n10");
  const auto base32 = f32.run(call.input), base16 = bf16.run(call.input);
  std::vector<float> pixels(call.input.samples[0].cameras[0],
                            call.input.samples[0].cameras[0] + 96 * 192 * 3);
  std::vector<float> state(call.input.samples[0].state.begin(), call.input.samples[0].state.end());
  std::vector<float> noise(call.input.noise.begin(), call.input.noise.end());
  std::vector<std::int32_t> ids = call.tokens[0];
  auto expect_answer = [&](const char* what, const ModelInput& input) {
    std::vector<float> wide = f32.run(input), narrow = bf16.run(input);
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] -= base32[i], narrow[i] -= base16[i];
    EXPECT_GT(largest_difference(wide, std::vector<float>(wide.size())), 1e-3) << what;
    EXPECT_LT(relative_difference(narrow, wide), 0.5) << what;
  };
  auto changed = [&](auto change) {
    ModelInput input = call.input;
    change(input.samples[0], input);
    return input;
  };
  for (std::size_t right : {0u, 1u}) {  // one camera of the composed picture
    std::vector<float> other = pixels;
    for (std::size_t i = 0; i < other.size(); ++i) {
      if ((i / 3 % 192 >= 96) == (right == 1)) other[i] = -other[i];
    }
    expect_answer("camera",
                  changed([&](ModelSample& s, ModelInput&) { s.cameras = {other.data()}; }));
  }
  ids[4] = 7;
  expect_answer("token", changed([&](ModelSample& s, ModelInput&) { s.tokens = ids; }));
  state[3] += 0.5f;
  expect_answer("state", changed([&](ModelSample& s, ModelInput&) { s.state = state; }));
  noise[50] += 1.0f;
  expect_answer("noise", changed([&](ModelSample&, ModelInput& i) { i.noise = noise; }));
}

TEST(FastWamInput, IsRefusedWithASentence) {
  const Recorded recorded;
  Session session(recorded.plan());
  RecordedCall call = recorded.call("n4");
  const std::vector<float> rows = session.encode(call.tokens[0]), many(25 * 64);
  call.input.samples[0].context = rows;
  std::vector<float> chunk(32 * 7);
  auto refused = [&](auto change) {
    ModelInput input = call.input;
    change(input);
    StageRunner runner(session.executable());
    return !session.model().run(input, runner, chunk).ok();
  };
  EXPECT_FALSE(refused([](ModelInput&) {}));
  EXPECT_TRUE(refused([](ModelInput& i) { i.steps = 0; }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.steps = 17; }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.shift = -1; }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.samples.clear(); }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.samples[0].cameras = {nullptr}; }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.samples[0].context = {}; }));
  EXPECT_TRUE(refused([&](ModelInput& i) { i.samples[0].context = std::span(rows).first(65); }));
  EXPECT_TRUE(refused([&](ModelInput& i) { i.samples[0].context = many; }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.samples[0].state = i.samples[0].state.first(7); }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.noise = i.noise.first(7); }));
  EXPECT_TRUE(refused([](ModelInput& i) { i.pinned = i.noise.first(8); }));
  EXPECT_THROW(Session(recorded.plan({.working = DType::f32, .batch = 2})), Error);
}

}  // namespace
}  // namespace tendon::fastwam::testing
