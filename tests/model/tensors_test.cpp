// A family's list of published tensors is what binding asks for; the originals' own lists were
// recorded. (pi0.5 and pi0: counts and bytes of the published files, jax_layout_test.cpp.)
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "models/family.h"

namespace tendon::testing {
namespace {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

nlohmann::json recorded(const std::string& name) {
  std::ifstream file(std::string(TENDON_GOLDEN_DIR) + "/" + name + ".json");
  return nlohmann::json::parse(file);
}

Shapes listed(const std::string& name, const nlohmann::json& dims) {
  Shapes all;
  for (const TensorSpec& t : family(name).tensors(dims)) {
    std::vector<std::int64_t>& shape = all[t.name];
    for (int i = 0; i < t.shape.rank(); ++i) shape.push_back(t.shape[i]);
  }
  return all;
}

TEST(PublishedTensors, OfLingBotAreTheOriginals) {
  const Family& f = family("lingbot_vla");
  EXPECT_EQ(f.tensors(f.full_dims()).size(), 1555u);
  const nlohmann::json all = recorded("lingbot_vla_tiny");
  EXPECT_EQ(listed("lingbot_vla", all.at("dims")), all.at("weights").get<Shapes>());
}

TEST(PublishedTensors, OfFastWamAreTheOriginals) {
  const nlohmann::json all = recorded("fastwam_tiny");
  Shapes wanted;
  for (const auto& [part, tensors] : all.at("weights").at("tensors").items()) {
    for (const auto& [name, shape] : tensors.get<Shapes>()) wanted[part + ":" + name] = shape;
  }
  EXPECT_EQ(listed("fastwam", all.at("dims")), wanted);
}

}  // namespace
}  // namespace tendon::testing
