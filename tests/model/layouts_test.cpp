// Every published file layout of pi0.5 and pi0, written from generated values, read back, and run:
// the chunk of the original code with the values as that layout stores them.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/json_file.h"
#include "tests/model/session.h"
#include "weights/safetensors.h"

namespace tendon::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Layout {
  const char *file, *name;
};

class Layouts : public ::testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("tendon_layout_") + GetParam().file + "_" + GetParam().name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static TensorSpec spec(const json& row) {
    TensorSpec t{.name = row[0].get<std::string>(),
                 .dtype = row[2] == "BF16" ? DType::bf16 : DType::f32};
    for (const json& n : row[1]) t.shape.push_back(n.get<std::int64_t>());
    if (row.size() > 3) t.rule_name = row[3].get<std::string>();
    return t;
  }

  // Factors are told by published names, layouts put a prefix before them: globs begin with a star.
  void write(const json& layout, const std::vector<std::string>& factors) const {
    for (const auto& [name, rows] : layout.at("files").items()) {
      SyntheticFile file{.threads = 1};
      for (const json& row : rows) file.tensors.push_back(spec(row));
      if (layout.contains("metadata")) {
        file.metadata = layout["metadata"].get<std::map<std::string, std::string>>();
      }
      write_synthetic(folder_ / name, file, {.factors = factors});
    }
    if (!layout.contains("index")) return;
    const json& index = layout["index"];
    write_safetensors_index(folder_,
                            index.at("weight_map").get<std::map<std::string, std::string>>(),
                            index.at("metadata").at("total_size").get<std::uint64_t>());
  }

  fs::path folder_;
};

// T22: the table is under lm_head alone, or under embed_tokens. T23: where both are, lm_head is
// stale.
TEST_P(Layouts, TrapT22_T23_give_the_recorded_chunk) {
  const RecordedCase c(GetParam().file, "a_two_cameras");
  const json all = read_json_file(TENDON_GOLDEN_DIR "/" + std::string(GetParam().file) + ".json");
  const json& layout = all.at("layouts").at(GetParam().name);
  write(layout, c.family().factors);
  Checkpoint checkpoint(Safetensors::open(folder_), c.family().name_rules);
  c.family().define_tensors(checkpoint);
  EXPECT_EQ(checkpoint.tensors().size(), layout.at("tensors").get<std::size_t>());

  const json dims = c.family().dims_of(checkpoint, {{"horizon", c.dims()["horizon"]},
                                                    {"prompt_len", c.dims()["prompt_len"]},
                                                    {"vision_heads", c.dims()["vision_heads"]}});
  for (const auto& [key, value] : c.dims().items()) EXPECT_EQ(dims.value(key, -1), value) << key;

  Session session(c.family(), dims, c.options(), std::move(checkpoint), {Taps::on});
  const std::vector<float> chunk = session.run(c.call);
  const std::string at = std::string("layout/") + GetParam().name;
  EXPECT_LE(largest_difference(chunk, c.recording().tensor(at + "/actions")), 1e-5);
  EXPECT_LE(
      largest_difference(session.stage("step0.v").values, c.recording().tensor(at + "/step0.v")),
      3e-5);
}

std::vector<Layout> all_layouts() {
  std::vector<Layout> all;
  for (const char* file : {"pi05_cases", "pi0_cases"}) {
    for (const char* name : {"openpi_f32", "openpi_bf16", "openpi_mixed", "lerobot_old_f32",
                             "lerobot_current_f32", "lerobot_current_bf16", "openpi_two_shards"}) {
      all.push_back({file, name});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Files, Layouts, ::testing::ValuesIn(all_layouts()), [](const auto& info) {
  return std::string(info.param.file) + "_" + info.param.name;
});

// LeRobot's ports have named the time MLP of one family as the other's, and kept tensors of pi0 in
// files of pi0.5.
TEST(KeyFixUps, OtherNamesOfTheTimeMlpAndLeftOvers) {
  for (const char* file : {"pi05_cases", "pi0_cases"}) {
    const RecordedCase c(file, "a_two_cameras");
    const bool adaptive = c.family().name == "pi05";
    const std::string own = adaptive ? "time_mlp_" : "action_time_mlp_";
    const std::string other = adaptive ? "action_time_mlp_" : "time_mlp_";
    SyntheticFile written{.threads = 1};
    for (TensorSpec t : c.family().tensors(c.dims())) {
      if (t.rule_name.empty()) t.rule_name = t.name;
      if (t.name.starts_with(own)) t.name.replace(0, own.size(), other);
      written.tensors.push_back(std::move(t));
    }
    if (adaptive) {
      const std::string expert = "paligemma_with_expert.gemma_expert.model.";
      written.tensors.push_back({"state_proj.weight", DType::f32, {48, 12}, "stale.a"});
      written.tensors.push_back({"state_proj.bias", DType::f32, {48}, "stale.b"});
      written.tensors.push_back({expert + "norm.weight", DType::f32, {48}, "stale.c"});
      written.tensors.push_back(
          {expert + "layers.1.input_layernorm.weight", DType::f32, {48}, "stale.d"});
    }
    const fs::path path = fs::path(::testing::TempDir()) / "tendon_key_fix_ups.safetensors";
    write_synthetic(path, written, {.factors = c.family().factors});
    const Safetensors stored = Safetensors::open(path);
    for (const Family& f : families()) {  // told apart by the expert's norms
      const bool all = std::all_of(f.marks.begin(), f.marks.end(), [&](const std::string& mark) {
        return std::any_of(stored.tensors().begin(), stored.tensors().end(), [&](const auto& t) {
          return apply_rules(f.name_rules, t.name) == mark;
        });
      });
      EXPECT_EQ(all, f.name == c.family().name || (adaptive && f.name == "pi0")) << f.name;
      if (all) break;  // the first one is taken
    }
    Session session(c.family(), c.dims(), c.options(),
                    Checkpoint(Safetensors::open(path), c.family().name_rules));
    EXPECT_LE(largest_difference(session.run(c.call), c.expected("actions")), 1e-5) << file;
    fs::remove(path);
  }
}

// None of the recorded layouts is left out.
TEST(LayoutList, IsComplete) {
  for (const char* file : {"pi05_cases", "pi0_cases"}) {
    const json all = read_json_file(TENDON_GOLDEN_DIR "/" + std::string(file) + ".json");
    EXPECT_EQ(all.at("layouts").size(), 1 + all_layouts().size() / 2) << file;  // and "about"
  }
}

}  // namespace
}  // namespace tendon::testing
