#include "preprocess/statistics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_file.h"
#include "base/text.h"

namespace tendon {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxWidth = 65536;

std::vector<double> numbers(const json& value, const std::string& where) {
  std::vector<double> out;
  if (value.is_null()) return out;
  require(value.is_array() && value.size() <= kMaxWidth, "{}: wanted a list of numbers or null",
          where);
  out.reserve(value.size());
  for (const json& item : value) {
    require(item.is_number(), "{}: entry {} is no number (NaN and infinity are not allowed)", where,
            out.size());
    out.push_back(item.get<double>());
    require(std::isfinite(out.back()), "{}: entry {} is not finite", where, out.size() - 1);
  }
  return out;
}

struct Member {
  std::string_view name;
  std::vector<double> FeatureStatistics::*field;
};
constexpr Member kMembers[] = {
    {"mean", &FeatureStatistics::mean}, {"std", &FeatureStatistics::std},
    {"min", &FeatureStatistics::min},   {"max", &FeatureStatistics::max},
    {"q01", &FeatureStatistics::q01},   {"q99", &FeatureStatistics::q99}};

void check_lengths(const FeatureStatistics& f, const std::string& where) {
  std::size_t width = 0;
  for (const Member& m : kMembers) {
    const std::size_t size = (f.*m.field).size();
    if (size == 0) continue;
    require(width == 0 || size == width, "{}: {} has {} numbers where another list has {}", where,
            m.name, size, width);
    width = size;
  }
  require(width != 0, "{}: none of mean, std, min, max, q01, q99 is there", where);
  for (const double s : f.std) require(s >= 0, "{}: a standard deviation of {}", where, s);
}

FeatureStatistics read_feature(const json& object, const std::string& where,
                               std::string_view prefix) {
  require(object.is_object(), "{}: wanted a JSON object of lists", where);
  FeatureStatistics f;
  for (const Member& m : kMembers) {
    const std::string key = std::string(prefix) + std::string(m.name);
    if (const auto at = object.find(key); at != object.end()) {
      f.*m.field = numbers(*at, fmt::format("{}.{}", where, key));
    }
  }
  check_lengths(f, where);
  return f;
}

}  // namespace

Statistics statistics_from_json(const json& value, std::string_view origin) {
  Statistics out{std::string(origin), {}};
  require(value.is_object(), "{}: no statistics: wanted a JSON object", origin);
  if (const auto at = value.find("norm_stats"); at != value.end()) {
    require(at->is_object(), "{}: norm_stats is no JSON object", origin);
    for (const auto& [name, feature] : at->items()) {
      if (!feature.is_object()) continue;  // counts and the like
      out.features[name] =
          read_feature(feature, fmt::format("{}: {}", origin, printable(name)), "");
    }
  } else {
    for (const char* name : {"state", "action"}) {
      const auto vector = value.find(name);
      if (vector == value.end() || !vector->is_object()) continue;
      const auto at_default = vector->find("default");
      if (at_default == vector->end()) continue;
      out.features[name] =
          read_feature(*at_default, fmt::format("{}: {}.default", origin, name), "global_");
    }
  }
  require(!out.features.empty(),
          "{}: no statistics in it; wanted {{\"norm_stats\": {{..}}}} or {{\"state\": "
          "{{\"default\": {{..}}}}, "
          "\"action\": ..}}",
          origin);
  return out;
}

Statistics read_statistics(const std::filesystem::path& file) {
  return statistics_from_json(read_json_file(file), file.string());
}

Statistics statistics_from_arrays(const std::vector<NamedArray>& arrays, std::string_view origin) {
  Statistics out{std::string(origin), {}};
  for (const NamedArray& array : arrays) {
    const std::size_t dot = array.name.rfind('.');
    if (dot == std::string::npos) continue;
    for (const Member& m : kMembers) {
      if (std::string_view(array.name).substr(dot + 1) != m.name) continue;
      require(array.values.size() <= kMaxWidth, "{}: {} has {} numbers", origin,
              printable(array.name), array.values.size());
      for (const float v : array.values) {
        require(std::isfinite(v), "{}: {} is not finite", origin, printable(array.name));
      }
      out.features[array.name.substr(0, dot)].*m.field = {array.values.begin(), array.values.end()};
    }
  }
  // Images have statistics too, per channel in other shapes; only vectors are checked.
  for (const auto& [name, feature] : out.features) {
    if (name == "action" || name == "observation.state") {
      check_lengths(feature, fmt::format("{}: {}", origin, name));
    }
  }
  return out;
}

namespace {

std::vector<Member> needed(Scaling scaling) {
  switch (scaling) {
    case Scaling::identity:
      return {};
    case Scaling::mean_std:
      return {kMembers[0], kMembers[1]};
    case Scaling::std_only:
      return {kMembers[1]};
    case Scaling::min_max:
      return {kMembers[2], kMembers[3]};
    case Scaling::quantile:
      return {kMembers[4], kMembers[5]};
  }
  return {};
}

void append_slice(const Statistics& statistics, const StatisticsSlice& slice, const Member& member,
                  std::vector<double>& out) {
  const auto at = statistics.features.find(slice.feature);
  if (at == statistics.features.end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : statistics.features) names.push_back(name);
    fail(
        "{}: no statistics for {}; there are {}. Pass the file of this checkpoint with "
        "--statistics",
        statistics.origin.empty() ? "statistics" : statistics.origin, slice.feature,
        list_some(names, 8));
  }
  const std::vector<double>& values = at->second.*member.field;
  require(!values.empty(),
          "{}: {} has no {}, which this normalisation needs; pass statistics that have it",
          statistics.origin, slice.feature, member.name);
  const std::size_t count = slice.count > 0
                                ? slice.count
                                : values.size() - std::min<std::size_t>(slice.begin, values.size());
  require(slice.begin + count <= values.size(),
          "{}: {}.{} has {} numbers, entries {} to {} are wanted", statistics.origin, slice.feature,
          member.name, values.size(), slice.begin, slice.begin + count);
  out.insert(out.end(), values.begin() + slice.begin, values.begin() + slice.begin + count);
}

}  // namespace

FeatureStatistics select(const Statistics& statistics, const Normalisation& normalisation,
                         int width) {
  FeatureStatistics out;
  for (const Member& member : needed(normalisation.scaling)) {
    std::vector<double>& values = out.*member.field;
    for (const StatisticsSlice& slice : normalisation.features) {
      append_slice(statistics, slice, member, values);
    }
    require(static_cast<int>(values.size()) >= width,
            "{}: {} of {} has {} numbers, {} are wanted; these are the statistics of another robot",
            statistics.origin, member.name,
            normalisation.features.empty() ? "?" : normalisation.features[0].feature, values.size(),
            width);
  }
  return out;
}

std::vector<Degenerate> degenerate_dimensions(const Statistics& statistics,
                                              const Contract& contract) {
  std::vector<Degenerate> out;
  const auto look = [&](const char* vector, const Normalisation& normalisation, int width) {
    if (width == 0) return;
    const FeatureStatistics f = select(statistics, normalisation, width);
    for (int i = 0; i < width; ++i) {
      double range = 1;
      switch (normalisation.scaling) {
        case Scaling::identity:
          break;
        case Scaling::mean_std:
        case Scaling::std_only:
          range = f.std[i];
          break;
        case Scaling::min_max:
          range = f.max[i] - f.min[i];
          break;
        case Scaling::quantile:
          range = f.q99[i] - f.q01[i];
          break;
      }
      // Below this, one unit of noise in the sensor's last digits fills the whole normalised range.
      if (range < 1e-4) out.push_back({vector, i, range});
    }
  };
  look("state", contract.state, contract.state_dim);
  look("actions", contract.actions, contract.returned_dims);
  return out;
}

}  // namespace tendon
