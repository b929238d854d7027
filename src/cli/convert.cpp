#include "engine/convert.h"

#include <fmt/core.h>
#include <signal.h>

#include <CLI/App.hpp>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/common.h"
#include "measure/table.h"
#include "measure/units.h"

namespace tendon::cli {
namespace {

// Ctrl-C and SIGTERM wait for check(), so that a folder half-written is taken away.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~Interrupts() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Throws Error where one came.
  void check() const {
    const timespec now{};
    require(sigtimedwait(&set_, nullptr, &now) < 0, "interrupted; nothing was written");
  }

 private:
  sigset_t set_, before_;
};

void run(ConvertOptions options, double shard_gigabytes) {
  options.shard_bytes = static_cast<std::uint64_t>(shard_gigabytes * 1e9);
  const Interrupts interrupts;
  options.progress = [&interrupts, show = progress()](double done) {
    interrupts.check();
    if (show) show("converting", done);
  };
  const ConvertReport report = convert(options);
  measure::Table table({"file", "tensors", "bytes"});
  for (const auto& file : report.files) {
    table.add({file.name, std::to_string(file.tensors),
               measure::format_bytes(static_cast<double>(file.bytes))});
  }
  fmt::print("{}family     {}\nfolder     {}\n", table.str(), report.family,
             options.folder.string());
  if (!report.left_out.empty()) {
    fmt::print("left out   {} tensors that the policy does not have: {}\n", report.left_out.size(),
               list_some(report.left_out, 3));
  }
}

}  // namespace

void add_convert(CLI::App& app, Context&) {
  struct Flags {
    ConvertOptions options;
    double shard = 5;
  };
  auto o = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "convert", "rewrite a checkpoint published as PyTorch .pt files as safetensors");
  command
      ->add_option("FILE", o->options.sources,
                   ".pt or .pth, one for each part of one policy; tensors are read, nothing runs")
      ->required();
  command->add_option("--out", o->options.folder, "the folder to be made")->required();
  command->add_option("--contract", o->options.contract,
                      "built-in contract, written into tendon.json");
  command
      ->add_option("--with", o->options.companions,
                   "statistics or tokenizer file to copy into the folder; repeat")
      ->allow_extra_args(false);
  command->add_option("--layout", o->options.layout,
                      "of the policy's names: mixtures (published) or layers");
  command->add_option("--shard", o->shard, "GB of a part from which it becomes several files")
      ->check(CLI::PositiveNumber);
  command->footer(
      "Example: tendon convert libero_uncond_2cam224.pt Wan2.2_VAE.pth \\\n"
      "         models_t5_umt5-xxl-enc-bf16.pth --contract fastwam_libero \\\n"
      "         --with libero_uncond_2cam224_dataset_stats.json --with tokenizer.json \\\n"
      "         --out models/fastwam_libero");
  command->callback([o] { run(o->options, o->shard); });
}

}  // namespace tendon::cli
