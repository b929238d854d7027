#include "preprocess/normalise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

Statistics from(const golden::File& file, const std::string& prefix,
                const std::vector<std::string>& members) {
  Statistics s{"golden", {}};
  FeatureStatistics& f = s.features["x"];
  for (const std::string& m : members) {
    std::vector<double> values = file[prefix + m].numbers();
    if (m == "mean") f.mean = values;
    if (m == "std") f.std = values;
    if (m == "min") f.min = values;
    if (m == "max") f.max = values;
    if (m == "q01") f.q01 = values;
    if (m == "q99") f.q99 = values;
  }
  return s;
}

Normalisation rule(Scaling scaling, Formula formula, double clamp = 0) {
  return {scaling, formula, clamp, {{"x"}}};
}

std::vector<double> forward(const Normaliser& n, const std::vector<double>& in, std::size_t width) {
  std::vector<double> out(in.size());
  for (std::size_t i = 0; i < in.size(); i += width) {
    n.forward(std::span(in).subspan(i, width), std::span(out).subspan(i, width));
  }
  return out;
}

std::vector<double> inverse(const Normaliser& n, const std::vector<float>& in, std::size_t width) {
  std::vector<double> out(in.size());
  for (std::size_t i = 0; i < in.size(); i += width) {
    n.inverse(std::span(in).subspan(i, width), std::span(out).subspan(i, width));
  }
  return out;
}

void near(const std::vector<double>& got, const std::vector<double>& want, double bound) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], bound * std::max(1.0, std::abs(want[i]))) << i;
  }
}

TEST(Normalise, openpi_recorded) {
  const golden::File file("pi05_cases");
  const Statistics s = from(file, "host/norm/", {"mean", "std", "q01", "q99"});
  const auto x = file["host/norm/x"].numbers();
  for (const auto& [scaling, name] :
       {std::pair{Scaling::mean_std, "zscore"}, {Scaling::quantile, "quantile"}}) {
    const Normaliser n(s, rule(scaling, Formula::eps_added), 8);
    const std::string at = std::string("host/norm/") + name;
    near(forward(n, x, 8), file[at + "/forward"].numbers(), 1e-12);
    near(inverse(n, file["host/norm/actions"].as<float>(), 32), file[at + "/inverse"].numbers(),
         1e-12);
    std::vector<double> rounded(x.begin(), x.end());
    for (double& v : rounded) v = static_cast<float>(v);
    near(forward(n, rounded, 8), file[at + "/forward_f32_input"].numbers(), 1e-12);
    std::vector<double> first5;  // statistics are cut to the vector's length
    for (std::size_t r = 0; r < 5; ++r)
      first5.insert(first5.end(), x.begin() + r * 8, x.begin() + r * 8 + 5);
    near(forward(n, first5, 5), file[at + "/forward_first5"].numbers(), 1e-12);
  }
}

// Trap T29 too: values outside the range pass through.
TEST(Normalise, TrapT30_where_epsilon_stands) {
  Statistics s{"constant", {}};
  s.features["x"] = {{2}, {0}, {2}, {2}, {2}, {2}};
  const auto one = [&](Scaling scaling, Formula formula, double x) {
    double out = 0;
    Normaliser(s, rule(scaling, formula), 1).forward(std::span(&x, 1), std::span(&out, 1));
    return out;
  };
  EXPECT_NEAR(one(Scaling::quantile, Formula::eps_added, 2.0), -1.0, 1e-12);
  EXPECT_NEAR(one(Scaling::quantile, Formula::eps_added, 2.1), 199999, 1);
  EXPECT_NEAR(one(Scaling::quantile, Formula::eps_if_zero, 2.1), 2e7, 1e5);
  EXPECT_NEAR(one(Scaling::mean_std, Formula::eps_added, 2.1), 1e5, 1);
  EXPECT_NEAR(one(Scaling::mean_std, Formula::eps_if_zero, 2.1), 1e7, 1e5);
  s.features["x"] = {{0}, {1}, {0}, {1}, {0}, {1}};
  EXPECT_NEAR(one(Scaling::quantile, Formula::eps_added, 0.25), -0.5000004999995, 1e-13);
  EXPECT_EQ(one(Scaling::quantile, Formula::eps_if_zero, 0.25), -0.5);
  EXPECT_EQ(one(Scaling::quantile, Formula::eps_if_zero, 3.0), 5.0);
}

TEST(Normalise, openpi_inverse_vectors) {
  Statistics s{"vectors", {}};
  s.features["x"] = {{}, {}, {}, {}, {-1, 2}, {3, 2}};
  const Normaliser n(s, rule(Scaling::quantile, Formula::eps_added), 2);
  const std::vector<float> y{0.5f, 1.5f, 7.0f};
  std::vector<double> out(3);
  n.inverse(y, out);
  EXPECT_NEAR(out[0], 2.00000075, 1e-12);
  EXPECT_NEAR(out[1], 2.00000125, 1e-12);
  EXPECT_EQ(out[2], 7.0);  // beyond the statistics
}

// LeRobot's processors, by their definition.
TEST(Normalise, lerobot_forms_are_each_others_inverse) {
  Statistics s{"lerobot", {}};
  s.features["x"] = {{0.5, -1}, {0.25, 2}, {-1, -3}, {1, 5}, {-0.9, -2.5}, {0.8, 4}};
  for (const Scaling scaling : {Scaling::mean_std, Scaling::min_max, Scaling::quantile}) {
    const Normaliser n(s, rule(scaling, Formula::eps_if_zero), 2);
    const std::vector<double> x{0.75, 3.0};
    std::vector<double> y(2), back(2);
    n.forward(x, y);
    n.inverse(std::vector<float>(y.begin(), y.end()), back);
    near(back, x, 1e-6);
  }
  const Normaliser n(s, rule(Scaling::mean_std, Formula::eps_if_zero), 2);
  std::vector<double> out(2);
  n.inverse(std::vector<float>{2.0f, 2.0f}, out);
  EXPECT_EQ(out[0], 1.0);  // no epsilon on the way back
  EXPECT_EQ(out[1], 3.0);
}

TEST(Normalise, FastwamTrap31_and_33_recorded_modes) {
  const golden::File file("fastwam_tiny");
  const Statistics s = from(file, "stats.action.", {"mean", "std", "min", "max", "q01", "q99"});
  const auto in = file["norm.in"].numbers();
  std::vector<float> tenth;
  for (const double v : in) tenth.push_back(static_cast<float>(v) * 0.1f);
  for (const auto& [scaling, name] : {std::pair{Scaling::min_max, "min_max"},
                                      {Scaling::mean_std, "z-score"},
                                      {Scaling::quantile, "q01_q99"}}) {
    SCOPED_TRACE(name);
    const Normaliser n(s, rule(scaling, Formula::affine, 5), 7);
    const std::string at = std::string("norm.") + name;
    near(forward(n, in, 7), file[at + ".forward"].numbers(), 1e-6);
    near(inverse(n, tenth, 7), file[at + ".backward"].numbers(), 1e-6);
  }
  // Without the clamp of the state (actions, LeRobot) values go where they go.
  const Normaliser open(s, rule(Scaling::min_max, Formula::affine), 7);
  const auto free = forward(open, in, 7);
  EXPECT_GT(*std::max_element(free.begin(), free.end()), 5.0);
}

TEST(Normalise, FastwamTrap33_degenerate_range) {
  Statistics s{"degenerate", {}};
  s.features["x"] = {{}, {}, {3}, {3.00005}, {}, {}};
  const Normaliser n(s, rule(Scaling::min_max, Formula::affine), 1);
  std::vector<double> out(1);
  n.forward(std::vector<double>{4}, out);
  EXPECT_EQ(out[0], 1.0);  // scale 1, offset -min
  n.inverse(std::vector<float>{1.0f}, out);
  EXPECT_EQ(out[0], 4.0);
}

Statistics lingbot_statistics(const golden::File& file) {
  return statistics_from_json({{"norm_stats", file.json["host"]["statistics"]}}, "golden");
}

TEST(Normalise, lingbot_recorded) {
  const golden::File file("lingbot_vla_tiny");
  const Contract c = builtin_contract("lingbot_vla_february");
  const Statistics s = lingbot_statistics(file);
  const Normaliser state(s, c.state, 14), action(s, c.actions, 14);
  std::vector<double> out(14);
  state.forward(file["host.raw_state"].numbers(), out);
  auto want = file["host.state"].numbers();
  want.resize(14);
  near(out, want, 1e-6);
  near(inverse(action, file["host.raw_action"].as<float>(), 14), file["host.action"].numbers(),
       1e-6);
  const Normalisation arm{
      Scaling::mean_std, Formula::eps_added_f64, 0, {{"observation.state.arm.position"}}};
  const Normaliser meanstd(s, arm, 12);
  near(forward(meanstd, file["host.meanstd_in"].numbers(), 12), file["host.meanstd_out"].numbers(),
       1e-6);
  near(inverse(meanstd, file["host.meanstd_out"].as<float>(), 12),
       file["host.meanstd_back"].numbers(), 1e-6);
}

// RoboTwin's loader assembles quantiles only there; a mode whose numbers are absent is refused.
TEST(Normalise, absent_numbers_are_refused) {
  const golden::File file("lingbot_vla_tiny");
  const Statistics s = lingbot_statistics(file);
  Normalisation minmax = builtin_contract("lingbot_vla").state;
  minmax.scaling = Scaling::min_max;
  EXPECT_THROW(Normaliser(s, minmax, 14), Error);
  EXPECT_THROW(Normaliser(s, builtin_contract("lingbot_vla").state, 15), Error);
  EXPECT_THROW(Normaliser({}, builtin_contract("pi05_libero").state, 8), Error);
  Normalisation none;
  EXPECT_NO_THROW(Normaliser({}, none, 8));
}

TEST(Normalise, std_only_divides) {
  Statistics s{"std", {}};
  s.features["x"] = {{}, {2}, {}, {}, {}, {}};
  const Normaliser n(s, rule(Scaling::std_only, Formula::eps_added_f64), 1);
  std::vector<double> out(1);
  n.forward(std::vector<double>{3}, out);
  EXPECT_NEAR(out[0], 3 / 2.000001, 1e-12);
}

}  // namespace
}  // namespace tendon
