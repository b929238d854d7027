// Data-set statistics: what the normalisation of state and actions is made from.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "preprocess/contract.h"

namespace tendon {

// The vectors of one feature; empty where the file has none.
struct FeatureStatistics {
  std::vector<double> mean, std, min, max, q01, q99;
};

struct Statistics {
  std::string origin;  // the file, for messages
  std::map<std::string, FeatureStatistics> features;
};

// Tensors of a small file, widened to f32. Given by the caller so that this layer needs no tensor
// reader.
struct NamedArray {
  std::string name;
  std::vector<float> values;
};
using ArrayReader = std::function<std::vector<NamedArray>(const std::filesystem::path&)>;

// JSON in the form {"norm_stats": {feature: {mean, std, q01, q99}}} or
// {"state": {"default": {"global_min", ..}}, "action": ..}. Throws Error for anything else, NaN
// included.
Statistics statistics_from_json(const nlohmann::json& json, std::string_view origin);
Statistics read_statistics(const std::filesystem::path& file);

// LeRobot's flat arrays "observation.state.mean", "action.q99", ...
Statistics statistics_from_arrays(const std::vector<NamedArray>& arrays, std::string_view origin);

// The numbers that `normalisation` uses, in the order of the robot's vector. Throws Error naming
// the feature and what to pass where they are absent or shorter than `width`.
FeatureStatistics select(const Statistics& statistics, const Normalisation& normalisation,
                         int width);

// Dimensions of one vector whose range is too small to divide by without blowing up.
struct Degenerate {
  std::string vector;  // "state" or "actions"
  int dimension = 0;
  double range = 0;  // or the standard deviation
};
std::vector<Degenerate> degenerate_dimensions(const Statistics& statistics,
                                              const Contract& contract);

}  // namespace tendon
