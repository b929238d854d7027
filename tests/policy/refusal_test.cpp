// Bad input to the command: one sentence that names the thing, exit code 2, no output file.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>

#include "base/file.h"
#include "tests/policy/folder.h"
#include "weights/safetensors.h"

namespace tendon::testing {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string message;
};

class Refusal : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    good_ = new TemporaryFolder("good");
    write_miniature("pi05", good_->path);
  }
  static void TearDownTestSuite() {
    delete good_;
    good_ = nullptr;
  }
  Refusal() : work_("refusal") {
    fs::create_directories(out_);
    fs::copy(good_->path, model_);
  }

  Outcome run(const std::string& arguments) const {
    const fs::path log = work_.path / "stderr";
    const std::string line = std::string("'") + TENDON_COMMAND + "' " + arguments + " > '" +
                             (work_.path / "stdout").string() + "' 2> '" + log.string() + "'";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(log)};
  }
  // `tendon run` on the folder; what a good call takes, with parts replaced.
  std::string call(const std::map<std::string, std::string>& other = {}) const {
    const std::string picture = TENDON_GOLDEN_DIR "/ray_caster/base.png";
    std::map<std::string, std::string> parts = {
        {"model", model_.string()},
        {"base", "--image observation/image=" + picture},
        {"wrist", "--image observation/wrist_image=" + picture},
        {"state", "--state 0,0,0,0,0,0,0,0"},
        {"prompt", "--prompt 'pick up the block'"},
        {"out", "--out '" + (out_ / "chunk.npy").string() + "' --plot '" +
                    (out_ / "chunk.svg").string() + "'"},
        {"more", "--device cpu --threads 1 --steps 2"}};
    for (const auto& [key, value] : other) parts[key] = value;
    std::string line = "run";
    for (const auto& [key, value] : parts) line += " " + value;
    return line;
  }
  void refused(const std::string& arguments, const std::string& word) const {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_TRUE(outcome.message.starts_with("tendon: ")) << outcome.message;
    EXPECT_NE(outcome.message.find(word), std::string::npos) << word << ": " << outcome.message;
    EXPECT_EQ(std::count(outcome.message.begin(), outcome.message.end(), '\n'), 1)
        << outcome.message;
    EXPECT_TRUE(fs::is_empty(out_)) << fs::directory_iterator(out_)->path();
  }
  fs::path weights() const { return model_ / "model.safetensors"; }
  // The weights written anew after a change of the list.
  void rewrite(const std::function<void(std::vector<StoredTensor>&)>& change) const {
    const Safetensors files = Safetensors::open(good_->path);
    std::vector<StoredTensor> tensors = files.tensors();
    change(tensors);
    fs::remove(weights());
    write_safetensors(weights(), tensors, files.metadata());
  }

  static TemporaryFolder* good_;
  TemporaryFolder work_;
  const fs::path model_ = work_.path / "model", out_ = work_.path / "out";
};
TemporaryFolder* Refusal::good_ = nullptr;

TEST_F(Refusal, GoodInputRuns) {
  const Outcome outcome = run(call());
  EXPECT_EQ(outcome.code, 0) << outcome.message;
  EXPECT_TRUE(fs::exists(out_ / "chunk.npy"));
  EXPECT_TRUE(fs::exists(out_ / "chunk.svg"));
}

TEST_F(Refusal, Observation) {
  refused(call({{"base", ""}}), "observation/image");
  refused(call({{"state", "--state 0,0,0"}}), "3 numbers");
  refused(call({{"state", "--state 0,0,nan,0,0,0,0,0"}}), "finite");
  refused(call({{"state", "--state 0,zero"}}), "zero");
  std::ofstream(work_.path / "note.png") << "not a picture";
  refused(call({{"base", "--image observation/image=" + (work_.path / "note.png").string()}}),
          "note.png");
  refused(call({{"base", "--image observation/image=" + (work_.path / "none.png").string()}}),
          "none.png");
  const std::string words(1000, 'z');
  refused(call({{"prompt", "--prompt " + words}}), "tokens where the model takes");
  EXPECT_EQ(run(call({{"prompt", "--truncate-prompt --prompt " + words}})).code, 0);
}

TEST_F(Refusal, Checkpoint) {
  refused(call({{"model", (work_.path / "nowhere").string()}}), "nowhere");
  refused(call({{"more", "--contract nonsense"}}), "nonsense");
  refused(call({{"more", "--device abacus"}}), "abacus");
  fs::remove(model_ / "norm_stats.json");
  refused(call(), "--statistics");
  fs::copy(good_->path / "norm_stats.json", model_);
  fs::remove(model_ / "tokenizer.model");
  refused(call(), "tokenizer");
}

TEST_F(Refusal, Weights) {
  const auto size = fs::file_size(weights());
  fs::resize_file(weights(), size - 100);
  refused(call(), "model.safetensors");
  fs::resize_file(weights(), 5);
  refused(call(), "model.safetensors");
  fs::remove(weights());
  refused(call(), "model");
  std::ofstream(weights()) << std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
  refused(call(), "model.safetensors");

  rewrite([](auto& tensors) {
    std::erase_if(tensors, [](const auto& t) { return t.name == "time_mlp_out.weight"; });
  });
  refused(call(), "time_mlp_out.weight");
  rewrite([](auto& tensors) {
    for (StoredTensor& t : tensors) {
      if (t.name == "time_mlp_out.bias") t.shape = Shape{24, 2};
    }
  });
  refused(call(), "time_mlp_out.bias");
  std::vector<std::byte> bytes;
  for (const char* name :
       {"action_out_proj.bias", "paligemma_with_expert.paligemma.lm_head.weight"}) {
    rewrite([&](auto& tensors) {
      for (StoredTensor& t : tensors) {
        if (t.name != name) continue;
        bytes.assign(t.bytes.begin(), t.bytes.end());
        const float nan = std::nanf("");
        std::memcpy(bytes.data() + bytes.size() / 8 * 4, &nan, 4);
        t.bytes = bytes;
      }
    });
    refused(call(), name);
  }
}

TEST_F(Refusal, Output) {
  refused(call({{"out", "--out '" + (work_.path / "nowhere/chunk.npy").string() + "'"}}),
          "nowhere/chunk.npy");
  EXPECT_EQ(run("run").code, 2);
  EXPECT_EQ(run(call({{"more", "--nonsense"}})).code, 2);
  EXPECT_EQ(run("synth nonsense --out '" + out_.string() + "'").code, 2);
  EXPECT_TRUE(fs::is_empty(out_));
}

}  // namespace
}  // namespace tendon::testing
