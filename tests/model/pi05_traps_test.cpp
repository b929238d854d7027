// Mistakes that the specification of pi0.5 and pi0 knows to be easy (its traps T1 to T44), each
// with a property that shows it.
//
//   here        T1-T9 T11-T21 T36-T41 T43 T44, T10 with T9
//   layouts     T22 T23 (layouts_test.cpp)
//   policy      T27 and wrong inputs (tests/policy)
//   preprocess  T24-T35 (beside the sources, and as refusals in tests/policy)
//   T42         guidance is not offered: contracts that ask for it are refused (preprocess)
#include <cmath>

#include "base/half.h"
#include "models/pi05/names.h"
#include "nn/tables.h"
#include "tests/model/session.h"

namespace tendon::testing {
namespace {

namespace names = pi05::names;

class PiTrap : public ::testing::TestWithParam<const char*> {
 protected:
  bool adaptive() const { return std::string(GetParam()) == "pi05_cases"; }
  RecordedCase two{GetParam(), "a_two_cameras"};
};

std::vector<double> product(const std::vector<float>& w, const std::vector<double>& x) {
  std::vector<double> y(w.size() / x.size());
  for (std::size_t i = 0; i < w.size(); ++i) y[i / x.size()] += w[i] * x[i % x.size()];
  return y;
}
std::vector<double> plus(std::vector<double> x, const std::vector<float>& b) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += b[i];
  return x;
}
std::vector<double> silu(std::vector<double> x) {
  for (double& v : x) v = v / (1 + std::exp(-v));
  return x;
}
std::vector<double> wide(std::span<const float> x) { return {x.begin(), x.end()}; }
void expect_near(const std::vector<double>& wanted, std::span<const float> ours, double bound) {
  ASSERT_LE(wanted.size(), ours.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(ours[i], wanted[i], bound) << i;
}

// Keys of layer 0 where a prompt holds one token many times: rotations of one vector.
std::vector<float> repeated_token_keys(const RecordedCase& c, bool bf16_rope) {
  ModelOptions options = c.options();
  options.bf16_rope = bf16_rope;
  Session session(c.family(), c.dims(), options, c.weights(), {Taps::on});
  const std::vector<std::int32_t> tokens(16, 7);
  session.run(prompt_only(c, tokens));
  return session.stage("kv.0.k").values;
}

TEST_P(PiTrap, TrapT02_T18_keys_are_stored_rotated_in_halves) {
  expect_rotations(repeated_token_keys(two, false), 16);
}

TEST_P(PiTrap, TrapT01_rounded_frequencies_are_an_option) {
  const std::vector<float> exact = repeated_token_keys(two, false),
                           rounded = repeated_token_keys(two, true);
  double late = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(rounded[i], exact[i]);  // position 0
    late = std::max<double>(late, std::abs(rounded[15 * 16 + i] - exact[15 * 16 + i]));
  }
  EXPECT_GT(late, 1e-3);
  EXPECT_EQ(rounded[15 * 16], exact[15 * 16]);  // frequency 1 is exact
}

// The first key by hand: one text scale, one (1 + w), rows of k after those of q.
TEST_P(PiTrap, TrapT03_T06_T07_T44_first_key) {
  const std::vector<float> k = repeated_token_keys(two, false);
  const Checkpoint w = two.weights();
  const std::vector<float> table = values_of(w, names::kTiedTable);
  const std::vector<float> norm = values_of(w, names::prefix("layers.0.input_layernorm.weight"));
  std::vector<double> x;
  double squares = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    x.push_back(8.0 * table[7 * 64 + i]);  // sqrt of the width
    squares += x[i] * x[i];
  }
  for (std::size_t i = 0; i < 64; ++i) x[i] *= (1.0 + norm[i]) / std::sqrt(squares / 64 + 1e-6);
  expect_near(product(values_of(w, names::prefix("layers.0.self_attn.k_proj.weight")), x),
              std::span(k).first(16), 2e-6);
}

TEST_P(PiTrap, TrapT06_T07_only_text_is_scaled_and_once) {
  Session session(two, Taps::on);
  session.run(two.call);
  const std::vector<float>& embed = session.stage("prefix.embed").values;
  const std::vector<float>& image = session.stage("vision.1.tokens").values;
  EXPECT_TRUE(std::equal(image.begin(), image.end(), embed.begin() + 16 * 64));
  const std::vector<float> table = values_of(two.weights(), names::kTiedTable);
  const auto id = static_cast<std::size_t>(two.call.tokens[0][1]);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(embed[(32 + 1) * 64 + i], 8.0f * table[id * 64 + i]);
  }
}

// How far step 0 is from the recording once weights are changed as a mistake would.
double error_with(const RecordedCase& c, const std::vector<std::pair<std::string, Change>>& how) {
  Session session(c.family(), c.dims(), c.options(), altered(c.weights(), how), {Taps::on});
  session.run(c.call);
  return largest_difference(session.stage("step0.v").values, c.expected("step0.v"));
}

TEST(Pi05Trap, TrapT04_every_other_order_of_thirds_fails) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  EXPECT_LE(error_with(c, {}), 3e-5);
  for (const std::array<std::size_t, 3>& order : std::vector<std::array<std::size_t, 3>>{
           {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
    const Change permute = [&](std::vector<float>& v, const Shape&) {
      const std::vector<float> old = v;
      const std::size_t n = v.size() / 3;
      for (std::size_t t = 0; t < 3; ++t) {
        std::copy_n(old.begin() + static_cast<std::ptrdiff_t>(order[t] * n), n,
                    v.begin() + static_cast<std::ptrdiff_t>(t * n));
      }
    };
    EXPECT_GT(
        error_with(c, {{"*layernorm.dense.*", permute}, {"*expert.model.norm.dense.*", permute}}),
        3e-4);
  }
}

TEST(Pi05Trap, TrapT05_gates_scale_branches) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  const Change no_gate = [](std::vector<float>& v, const Shape&) {
    std::fill(v.begin() + static_cast<std::ptrdiff_t>(v.size() / 3 * 2), v.end(), 0.0f);
  };
  Session closed(c.family(), c.dims(), c.options(),
                 altered(c.weights(), {{"*layernorm.dense.*", no_gate}}), {Taps::on});
  closed.run(c.call);
  EXPECT_EQ(closed.stage("step0.expert.layer2.out").values,
            closed.stage("step0.suffix.embed").values);
  // Closing the gate of the attention must not be closing that of the MLP.
  const double attention = error_with(c, {{"*input_layernorm.dense.*", no_gate}});
  const double mlp = error_with(c, {{"*post_attention_layernorm.dense.*", no_gate}});
  EXPECT_GT(attention, 1e-3);
  EXPECT_GT(mlp, 1e-3);
  Session open(c.family(), c.dims(), c.options(),
               altered(c.weights(), {{"*input_layernorm.dense.*", no_gate},
                                     {"*gemma_expert*mlp.down_proj.weight", zero}}),
               {Taps::on});
  open.run(c.call);
  EXPECT_EQ(open.stage("step0.expert.layer2.out").values, open.stage("step0.suffix.embed").values);
}

TEST(Pi05Trap, TrapT08_two_activations_in_the_time_mlp) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  Session session(c, Taps::on);
  session.run(c.call);
  const Checkpoint w = c.weights();
  const auto layer = [&](const std::string& name, const std::vector<double>& x) {
    return silu(plus(product(values_of(w, name + ".weight"), x), values_of(w, name + ".bias")));
  };
  const auto e = wide(session.stage("step3.time_embed").values);
  expect_near(layer("time_mlp_out", layer("time_mlp_in", e)), session.stage("step3.cond").values,
              2e-6);
}

TEST(Pi0Trap, TrapT08_T20_action_then_time_and_one_activation) {
  const RecordedCase c("pi0_cases", "a_two_cameras");
  Session session(c, Taps::on);
  session.run(c.call);
  const Checkpoint w = c.weights();
  const auto linear = [&](const std::string& name, const std::vector<double>& x) {
    return plus(product(values_of(w, name + ".weight"), x), values_of(w, name + ".bias"));
  };
  std::vector<double> joined = linear("action_in_proj", wide(c.call.input.noise.first(12)));
  for (float e : session.stage("step0.time_embed").values) joined.push_back(e);
  expect_near(linear("action_time_mlp_out", silu(linear("action_time_mlp_in", joined))),
              session.pieces("step0.suffix.embed").back().values, 3e-6);
}

TEST(PiTables, TrapT09_T10_T41_time_embedding) {
  struct Row {
    float t;
    double e0, e1, e2, e3, e511, e512, e1023;
  };
  for (const Row& r : {Row{1.0f, -1.6e-13, -0.78321898, 0.87174052, 0.39279890, 1.0, 1.0, 6.1e-17},
                       Row{0.9f, -3.7450704e-05, -0.13228215, -0.010427628, 0.35533261, 0.98768836,
                           1.0, 0.15643451},
                       Row{0.1f, 2.3406690e-06, -0.85856426, 0.86660099, 0.040358599, 0.15643446,
                           1.0, 0.98768836}}) {
    std::vector<float> e(1024);
    nn::time_embedding(r.t, 4e-3, 4.0, e);
    const double ours[] = {e[0], e[1], e[2], e[3], e[511], e[512], e[1023]};
    const double wanted[] = {r.e0, r.e1, r.e2, r.e3, r.e511, r.e512, r.e1023};
    for (int i = 0; i < 7; ++i) EXPECT_NEAR(ours[i], wanted[i], 1e-7) << r.t << " " << i;
  }
  const RecordedCase c("pi05_cases", "a_two_cameras");
  const RecordedInput times = c.recording().tensor("table/time_1024/t"),
                      table = c.recording().tensor("table/time_1024/e");
  for (std::size_t i = 0; i < times.values.size(); ++i) {
    std::vector<float> e(1024);
    nn::time_embedding(times.values[i], 4e-3, 4.0, e);
    EXPECT_LE(largest_difference(e, std::span(table.values).subspan(i * 1024, 1024)), 1e-7);
  }
}

// Within two units in the last place of the recorded ones; rounded to bf16 they are equal.
TEST(PiTables, TrapT01_frequencies) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  const std::vector<float> ours = nn::rope_frequencies(10000.0f, 256);
  const RecordedInput exact = c.recording().tensor("table/inv_freq_256_f32"),
                      rounded = c.recording().tensor("table/inv_freq_256_bf16");
  ASSERT_EQ(ours.size(), exact.values.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_NEAR(ours[i], exact.values[i], 2 * 0x1p-24 * 2 * exact.values[i]) << i;
    EXPECT_EQ(round_bf16(ours[i]), rounded.values[i]) << i;
  }
}

// Counts runs of the step and remembers the last iteration.
class StepCounter final : public StageObserver {
 public:
  explicit StepCounter(std::size_t trace) : trace_(trace) {}
  void after(std::string_view, std::size_t trace, int iteration) override {
    if (trace != trace_) return;
    ++count, last = iteration;
  }
  int count = 0, last = -1;

 private:
  std::size_t trace_;
};

TEST_P(PiTrap, TrapT11_exactly_n_steps) {
  ModelOptions options = two.options();
  options.max_steps = 100;
  Session session(two.family(), two.dims(), options, two.weights(), {.device = "cpu"});
  ModelInput input = two.call.input;
  for (int n = 1; n <= 100; ++n) {
    StepCounter counter(session.model().stages(3, 16, n).back().trace);
    input.steps = n;
    session.run(input, &counter);
    ASSERT_EQ(counter.count, n);
    ASSERT_EQ(counter.last, n - 1);
    const std::vector<float> t = session.buffer("times"), dt = session.buffer("deltas");
    const auto last = static_cast<std::size_t>(n - 1);
    ASSERT_EQ(t[0], 1.0f);
    ASSERT_NEAR(t[last] + dt[last], 0.0f, 1e-5);
  }
}

TEST(PiTables, TrapT11_recorded_times) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  ModelOptions options = c.options();
  options.max_steps = 32;
  Session session(c, options);
  ModelInput input = c.call.input;
  for (int n : {1, 4, 13, 25}) {
    input.steps = n;
    session.run(input);
    const RecordedInput times = c.recording().tensor("table/times/" + std::to_string(n));
    std::vector<float> ours = session.buffer("times");
    ours.resize(times.values.size());
    EXPECT_EQ(ours, times.values) << n;
  }
}

// LeRobot's loop: 1 + k * (-1 / n) in fp64, rounded once.
TEST(PiTables, LeRobotCountsTimesByDivision) {
  const RecordedCase c("pi05_cases", "a_two_cameras");
  ModelOptions options = c.options();
  options.divided_schedule = true;
  options.max_steps = 50;
  Session session(c, options);
  const std::vector<float> accumulated = Session(c).run(c.call);
  for (int n : {7, 10, 49}) {
    ModelInput input = c.call.input;
    input.steps = n;
    const std::vector<float> chunk = session.run(input);
    const std::vector<float> t = session.buffer("times");
    for (int k = 0; k < n; ++k) {
      EXPECT_EQ(t[static_cast<std::size_t>(k)], static_cast<float>(1.0 + k * (-1.0 / n)));
    }
    // A time moves by 1.2e-7 at most, the fastest feature turns 1571 times as far.
    if (n == 10) {
      EXPECT_NE(chunk, accumulated);
      EXPECT_LE(largest_difference(chunk, accumulated), 1e-3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PiTrap, ::testing::Values("pi05_cases", "pi0_cases"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tendon::testing
