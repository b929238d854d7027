// Published files: their names and shapes by fingerprint, and the layouts that are renamed to them.
#include <openssl/evp.h>

#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "models/fastwam/replay_test.h"
#include "weights/safetensors.h"

namespace tendon::fastwam::testing {
namespace {

using Layout = std::vector<std::pair<std::string, Shape>>;

std::string md5(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_md5(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string joined(std::vector<std::string> parts, const char* between) {
  std::sort(parts.begin(), parts.end());
  std::string all;
  for (const std::string& p : parts) all += (all.empty() ? "" : between) + p;
  return all;
}

std::string extents(const Shape& shape, const char* between) {
  std::string all;
  for (std::int64_t n : shape) all += (all.empty() ? "" : between) + std::to_string(n);
  return all;
}

// Sorted lines "name d0xd1".
std::string fingerprint(const Layout& layout) {
  std::vector<std::string> lines;
  for (const auto& [name, shape] : layout) lines.push_back(name + " " + extents(shape, "x"));
  return md5(joined(lines, "\n"));
}

// As the original tells Wan's files apart: "name:d0_d1" and "name" of each, sorted, with commas.
std::string wan_fingerprint(const Layout& layout) {
  std::vector<std::string> parts;
  for (const auto& [name, shape] : layout) {
    parts.push_back(name + ":" + extents(shape, "_"));
    parts.push_back(name);
  }
  return md5(joined(parts, ","));
}

Config libero() { return config_from(fastwam_family().full_dims()); }
Config robotwin() {
  Config c = libero();
  c.action_dim = c.state_dim = 14;
  return c;
}

// Tensors of one file whose names begin with `start`.
Layout file(const Config& c, const std::string& part, const std::string& start = "") {
  Layout layout;
  for (const TensorSpec& t : published_tensors(c)) {
    if (t.name.starts_with(part + ":" + start)) {
      layout.emplace_back(t.name.substr(part.size() + 1), t.shape);
    }
  }
  return layout;
}

std::string lerobot_name(const std::string& name) {
  return (name.starts_with("mixtures.") ? "model.mot." : "model.") + name;
}

// Layers before experts.
std::string layered_name(const std::string& name) {
  const std::vector<NameRule> rules = {
      {"model.mot.mixtures.*.blocks.*.*", "model.mot.layers.$2.blocks.$1.$3"}};
  return apply_rules(rules, lerobot_name(name));
}

template <class F>
Layout renamed(Layout layout, F rename) {
  for (auto& [name, shape] : layout) name = rename(name);
  return layout;
}

TEST(FastWamLayout, PolicyFingerprints) {
  const Layout a = file(libero(), "policy", "mixtures."),
               b = file(robotwin(), "policy", "mixtures.");
  EXPECT_EQ(a.size(), 1649u);
  EXPECT_EQ(fingerprint(a), "ad912c98484900fa4a7fce4c1c301201");
  EXPECT_EQ(fingerprint(b), "a64646757507ea6008f333f30cdba486");
  const Layout c = file(libero(), "policy"), d = file(robotwin(), "policy");
  EXPECT_EQ(c.size(), 1651u);
  EXPECT_EQ(fingerprint(renamed(c, lerobot_name)), "90d9917082fc18b76ae62630bdaf0b0f");
  EXPECT_EQ(fingerprint(renamed(d, lerobot_name)), "d1f358dfd858b0039dd5925be37314c6");
  EXPECT_EQ(fingerprint(renamed(c, layered_name)), "099ca558f71afce4efe375a6875a3b8d");
  EXPECT_EQ(fingerprint(renamed(d, layered_name)), "63d1f63db1bce70993474f521c61d41d");
}

TEST(FastWamLayout, ParameterCount) {
  std::int64_t policy = 0, vae = 0, text = 0;
  for (const TensorSpec& t : published_tensors(libero())) {
    (t.name.starts_with("policy:") ? policy
     : t.name.starts_with("vae:")  ? vae
                                   : text) += t.shape.numel();
  }
  EXPECT_EQ(policy, 6020710599);
  EXPECT_EQ(vae, 149637088);
  EXPECT_EQ(text, 5680910336);
}

void residual(const std::string& at, std::int64_t in, std::int64_t out, Layout& l) {
  l.insert(l.end(), {{at + "residual.0.gamma", {in, 1, 1, 1}},
                     {at + "residual.2.weight", {out, in, 3, 3, 3}},
                     {at + "residual.2.bias", {out}},
                     {at + "residual.3.gamma", {out, 1, 1, 1}},
                     {at + "residual.6.weight", {out, out, 3, 3, 3}},
                     {at + "residual.6.bias", {out}}});
  if (in == out) return;
  l.emplace_back(at + "shortcut.weight", Shape{out, in, 1, 1, 1});
  l.emplace_back(at + "shortcut.bias", Shape{out});
}

// What the VAE's file holds beside the encoder.
Layout decoder() {
  Layout l = {{"conv2.weight", {48, 48, 1, 1, 1}},
              {"conv2.bias", {48}},
              {"decoder.conv1.weight", {1024, 48, 3, 3, 3}},
              {"decoder.conv1.bias", {1024}},
              {"decoder.middle.1.norm.gamma", {1024, 1, 1}},
              {"decoder.middle.1.to_qkv.weight", {3072, 1024, 1, 1}},
              {"decoder.middle.1.to_qkv.bias", {3072}},
              {"decoder.middle.1.proj.weight", {1024, 1024, 1, 1}},
              {"decoder.middle.1.proj.bias", {1024}},
              {"decoder.head.0.gamma", {256, 1, 1, 1}},
              {"decoder.head.2.weight", {12, 256, 3, 3, 3}},
              {"decoder.head.2.bias", {12}}};
  residual("decoder.middle.0.", 1024, 1024, l);
  residual("decoder.middle.2.", 1024, 1024, l);
  std::int64_t in = 1024;
  for (int i = 0; i < 4; ++i) {
    const std::int64_t out = std::array{1024, 1024, 512, 256}[static_cast<std::size_t>(i)];
    const std::string at = "decoder.upsamples." + std::to_string(i) + ".upsamples.";
    for (int j = 0; j < 3; ++j) residual(at + std::to_string(j) + ".", j == 0 ? in : out, out, l);
    if (i < 3) {
      l.emplace_back(at + "3.resample.1.weight", Shape{out, out, 3, 3});
      l.emplace_back(at + "3.resample.1.bias", Shape{out});
    }
    if (i < 2) {
      l.emplace_back(at + "3.time_conv.weight", Shape{2 * out, out, 3, 1, 1});
      l.emplace_back(at + "3.time_conv.bias", Shape{2 * out});
    }
    in = out;
  }
  return l;
}

TEST(FastWamLayout, WanFingerprints) {
  Layout vae = file(libero(), "vae");
  EXPECT_EQ(vae.size(), 86u);
  const Layout rest = decoder();
  vae.insert(vae.end(), rest.begin(), rest.end());
  EXPECT_EQ(vae.size(), 196u);
  EXPECT_EQ(wan_fingerprint(vae), "e1de6c02cdac79f8b739f4d3698cd216");
  EXPECT_EQ(wan_fingerprint(file(libero(), "text")), "9c8818c2cbea55eca56c7b447df170da");
  const Layout video =
      renamed(file(libero(), "policy", "mixtures.video."),
              [](const std::string& n) { return n.substr(std::string("mixtures.video.").size()); });
  EXPECT_EQ(video.size(), 825u);
  EXPECT_EQ(wan_fingerprint(video), "1f5ab7703c6fc803fdded85ff040c316");
}

TEST(FastWamLayout, EveryLayoutGetsTheSameNames) {
  const std::vector<NameRule> rules = fastwam_family().name_rules;
  for (const auto& [name, shape] : file(libero(), "policy")) {
    EXPECT_EQ(apply_rules(rules, name), name);
    EXPECT_EQ(apply_rules(rules, lerobot_name(name)), name);
    EXPECT_EQ(apply_rules(rules, layered_name(name)), name);
    if (name.starts_with("mixtures.")) {
      EXPECT_EQ(apply_rules(rules, "mot." + name), name);
    }
  }
  for (const char* part : {"vae", "text"}) {
    for (const auto& [name, shape] : file(libero(), part))
      EXPECT_EQ(apply_rules(rules, name), name);
  }
  const std::string down = "encoder.downsamples.1.downsamples.";
  const std::vector<std::pair<std::string, std::string>> others = {
      {"model.encoder.conv1.weight", "encoder.conv1.weight"},
      {"model_state.conv1.bias", "conv1.bias"},
      {"encoder.conv_in.weight", "encoder.conv1.weight"},
      {"encoder.down_blocks.1.resnets.0.norm1.gamma", down + "0.residual.0.gamma"},
      {"encoder.down_blocks.1.resnets.0.conv1.weight", down + "0.residual.2.weight"},
      {"encoder.down_blocks.1.resnets.1.norm2.gamma", down + "1.residual.3.gamma"},
      {"encoder.down_blocks.1.resnets.1.conv2.bias", down + "1.residual.6.bias"},
      {"encoder.down_blocks.1.resnets.0.conv_shortcut.weight", down + "0.shortcut.weight"},
      {"encoder.down_blocks.1.downsampler.resample.1.weight", down + "2.resample.1.weight"},
      {"encoder.down_blocks.1.downsampler.time_conv.bias", down + "2.time_conv.bias"},
      {"encoder.mid_block.resnets.1.conv2.weight", "encoder.middle.2.residual.6.weight"},
      {"encoder.mid_block.attentions.0.to_qkv.weight", "encoder.middle.1.to_qkv.weight"},
      {"encoder.norm_out.gamma", "encoder.head.0.gamma"},
      {"encoder.conv_out.bias", "encoder.head.2.bias"},
      {"quant_conv.weight", "conv1.weight"},
      {"post_quant_conv.weight", "conv2.weight"},
      {"shared.weight", "token_embedding.weight"},
      {"encoder.block.3.layer.0.SelfAttention.q.weight", "blocks.3.attn.q.weight"},
      {"encoder.block.3.layer.0.SelfAttention.relative_attention_bias.weight",
       "blocks.3.pos_embedding.embedding.weight"},
      {"encoder.block.3.layer.0.layer_norm.weight", "blocks.3.norm1.weight"},
      {"encoder.block.3.layer.1.layer_norm.weight", "blocks.3.norm2.weight"},
      {"encoder.block.3.layer.1.DenseReluDense.wi_0.weight", "blocks.3.ffn.gate.0.weight"},
      {"encoder.block.3.layer.1.DenseReluDense.wi_1.weight", "blocks.3.ffn.fc1.weight"},
      {"encoder.block.3.layer.1.DenseReluDense.wo.weight", "blocks.3.ffn.fc2.weight"},
      {"encoder.final_layer_norm.weight", "norm.weight"}};
  for (const auto& [stored, name] : others) EXPECT_EQ(apply_rules(rules, stored), name) << stored;
}

// Files on disk, the policy's in a published layout, give the chunk of the generated weights.
TEST(FastWamLayout, F36_both_published_layouts_load) {
  const Recorded recorded;
  const Config config = config_from(recorded.dims());
  const std::vector<NameRule> rules = fastwam_family().name_rules;
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("fastwam_{}", ::getpid());
  std::filesystem::create_directories(folder);
  for (auto rename : {lerobot_name, layered_name}) {
    std::map<std::string, SyntheticFile> files;
    for (TensorSpec t : published_tensors(config)) {
      const std::string part = t.name.substr(0, t.name.find(':'));
      t.name = part == "policy" ? rename(t.rule_name) : t.rule_name;
      t.dtype = DType::f32;
      files[part].tensors.push_back(t);
    }
    Checkpoint all;
    for (const auto& [part, content] : files) {
      write_synthetic(folder / (part + ".safetensors"), content, recorded.rule());
      all.merge(Checkpoint(Safetensors::open(folder / (part + ".safetensors")), rules), part + ":");
    }
    const nlohmann::json known = {
        {"image_height", 96}, {"image_width", 192}, {"horizon", 32}, {"context_len", 24}};
    const nlohmann::json dims = fastwam_family().dims_of(all, known);
    nlohmann::json wanted = fastwam_family().mini_dims();
    wanted["vocab"] = 300, wanted["context_len"] = 24;
    EXPECT_EQ(dims, wanted);
    Session session(recorded.plan(), std::move(all));
    const RecordedCall call = recorded.call("n4");
    EXPECT_LE(largest_difference(session.run(call.input), recorded.numbers("chunk.n4")), 5e-5);
  }
  std::filesystem::remove_all(folder);
}

TEST(FastWamLayout, DimensionsThatNoShapeTells) {
  const Recorded recorded;
  const Checkpoint all = Session::weights(recorded.plan());
  for (const char* key : {"image_height", "image_width", "horizon", "context_len"}) {
    nlohmann::json known = {
        {"image_height", 96}, {"image_width", 192}, {"horizon", 32}, {"context_len", 24}};
    known.erase(key);
    EXPECT_THROW(fastwam_family().dims_of(all, known), Error) << key;
  }
}

}  // namespace
}  // namespace tendon::fastwam::testing
