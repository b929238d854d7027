#include "preprocess/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tendon {
namespace {

using nlohmann::json;

json openpi(std::vector<double> q01, std::vector<double> q99) {
  const json feature{{"mean", q01}, {"std", q99}, {"q01", q01}, {"q99", q99}};
  return {{"norm_stats", {{"state", feature}, {"actions", feature}}}};
}

std::string refusal(const json& value) {
  try {
    statistics_from_json(value, "norm_stats.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Statistics, openpi_form) {
  const Statistics s = statistics_from_json(openpi({0, 1}, {2, 3}), "norm_stats.json");
  EXPECT_EQ(s.features.at("actions").q99, (std::vector<double>{2, 3}));
  EXPECT_TRUE(s.features.at("state").min.empty());
}

TEST(Statistics, null_quantiles_serve_z_scores_only) {
  json value = openpi({0, 1}, {2, 3});
  value["norm_stats"]["state"]["q01"] = nullptr;
  value["norm_stats"]["state"]["q99"] = nullptr;
  const Statistics s = statistics_from_json(value, "norm_stats.json");
  const Normalisation z{Scaling::mean_std, Formula::eps_added, 0, {{"state"}}};
  EXPECT_NO_THROW(select(s, z, 2));
  const Normalisation q{Scaling::quantile, Formula::eps_added, 0, {{"state"}}};
  EXPECT_THROW(select(s, q, 2), Error);
}

// FastwamTrap32: the global_ numbers, not the stepwise_ ones.
TEST(Statistics, dataset_form_takes_global_numbers) {
  json feature{{"global_min", {0.0}},  {"global_max", {1.0}}, {"stepwise_min", {{9.0}, {9.0}}},
               {"global_mean", {0.5}}, {"global_std", {0.1}}, {"global_q01", {0.0}},
               {"global_q99", {1.0}}};
  const Statistics s = statistics_from_json(
      {{"state", {{"default", feature}}}, {"action", {{"default", feature}}}}, "f");
  EXPECT_EQ(s.features.at("state").min, std::vector<double>{0.0});
  EXPECT_EQ(s.features.at("action").std, std::vector<double>{0.1});
}

TEST(Statistics, lerobot_arrays) {
  const Statistics s =
      statistics_from_arrays({{"observation.state.mean", {1, 2}},
                              {"observation.state.std", {3, 4}},
                              {"observation.state.count", {100}},
                              {"action.q01", {5}},
                              {"observation.images.image.mean", {0.5f, 0.5f, 0.5f}}},
                             "step_3.safetensors");
  EXPECT_EQ(s.features.at("observation.state").std, (std::vector<double>{3, 4}));
  EXPECT_EQ(s.features.at("action").q01, std::vector<double>{5});
  EXPECT_THROW(statistics_from_arrays({{"action.mean", {std::nanf("")}}}, "f"), Error);
  EXPECT_THROW(statistics_from_arrays({{"action.mean", {1, 2}}, {"action.std", {1}}}, "f"), Error);
}

TEST(Statistics, what_is_none_is_refused) {
  EXPECT_NE(refusal(json::object()), "");
  EXPECT_NE(refusal(json::array()), "");
  EXPECT_NE(refusal({{"norm_stats", 3}}), "");
  EXPECT_NE(refusal({{"norm_stats", json::object()}}), "");
  EXPECT_NE(refusal({{"norm_stats", {{"state", {{"mean", "x"}}}}}}), "");
  EXPECT_NE(refusal({{"norm_stats", {{"state", {{"mean", {1, "x"}}}}}}}), "");
  EXPECT_NE(refusal({{"norm_stats", {{"state", {{"mean", {1, 2}}, {"std", {1}}}}}}}), "");
  EXPECT_NE(refusal({{"norm_stats", {{"state", {{"mean", {1}}, {"std", {-1}}}}}}}), "");
  EXPECT_NE(refusal({{"norm_stats", {{"state", json::object()}}}}), "");
  EXPECT_NE(refusal(json::parse(R"({"norm_stats": {"state": {"mean": [1e999]}}})", nullptr, false)),
            "");
}

TEST(Statistics, other_robots_statistics_are_refused) {
  const Statistics s = statistics_from_json(openpi({0, 1}, {2, 3}), "norm_stats.json");
  const Normalisation q{Scaling::quantile, Formula::eps_added, 0, {{"state"}}};
  EXPECT_EQ(select(s, q, 1).q01.size(), 2u);  // longer is fine: the forward pass slices
  try {
    select(s, q, 8);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()),
              "norm_stats.json: q01 of state has 2 numbers, 8 are wanted; these are the statistics "
              "of another robot");
  }
  const Normalisation other{Scaling::quantile, Formula::eps_added, 0, {{"observation.state"}}};
  try {
    select(s, other, 1);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("there are actions, state"), std::string::npos)
        << e.what();
  }
}

TEST(Statistics, groups_are_assembled_in_the_robots_order) {
  Statistics s{"groups", {}};
  s.features["arm"].mean = {0, 1, 2, 3};
  s.features["arm"].std = {1, 1, 1, 1};
  s.features["hand"].mean = {10, 11};
  s.features["hand"].std = {1, 1};
  const Normalisation n{Scaling::mean_std,
                        Formula::eps_added_f64,
                        0,
                        {{"arm", 0, 2}, {"hand", 0, 1}, {"arm", 2, 2}, {"hand", 1, 1}}};
  EXPECT_EQ(select(s, n, 6).mean, (std::vector<double>{0, 1, 10, 2, 3, 11}));
  const Normalisation beyond{Scaling::mean_std, Formula::eps_added_f64, 0, {{"arm", 3, 2}}};
  EXPECT_THROW(select(s, beyond, 2), Error);
}

TEST(Statistics, degenerate_dimensions_are_listed) {
  Contract c = builtin_contract("pick_block");
  json value = openpi({0, 1, 2, 3, 4}, {1, 1, 3, 3.00001, 5});
  const auto found = degenerate_dimensions(statistics_from_json(value, "f"), c);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].vector, "state");
  EXPECT_EQ(found[0].dimension, 1);
  EXPECT_EQ(found[1].dimension, 3);
  EXPECT_EQ(found[2].vector, "actions");
}

}  // namespace
}  // namespace tendon
