#include "cli/common.h"

#include <fmt/core.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace tendon::cli {

void add_load_flags(CLI::App& command, LoadFlags& flags) {
  command.add_option("MODEL", flags.model, "checkpoint folder or .safetensors file")->required();
  add_load_options(command, flags.options);
}

void add_load_options(CLI::App& command, LoadOptions& o) {
  command.add_option("--device", o.device, "cpu, cuda, cuda:N or reference");
  command.add_option("--dtype", o.dtype, "f32 or bf16; absent: the checkpoint's")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command.add_option("--contract", o.contract, "built-in name or JSON file; absent: the folder's");
  command.add_option("--tokenizer", o.tokenizer, "tokenizer file; absent: the folder's");
  command.add_option("--statistics", o.statistics, "statistics file; absent: the folder's");
  command
      .add_option("--schedule", o.schedule,
                  "time steps, exact, bf16 or divided; absent: the contract's")
      ->check(CLI::IsMember({"exact", "bf16", "divided"}));
  command.add_option("--default-prompt", o.default_prompt, "where an observation has none");
  command.add_option("--context", o.context,
                     "file of text rows for every prompt (.npy, .safetensors)");
  command.add_option("--text-cache", o.text_cache, "folder for text rows of encoded prompts");
  command.add_flag("--truncate-prompt", o.truncate_prompt, "cut a prompt over capacity");
  command.add_option("--max-steps", o.max_steps, "most denoising steps of a call");
  command.add_option("--frame-pixels", o.frame_pixels,
                     "the device resizes frames of up to so many pixels; 0: the host does");
  command.add_option("--threads", o.threads, "CPU threads; 0: all");
}

std::function<void(std::string_view, double)> progress() {
  if (!isatty(STDERR_FILENO)) return {};
  return [](std::string_view what, double done) {
    fmt::print(stderr, "\r{:<24} {:3.0f} %", what, done * 100);
    if (done >= 1) fmt::print(stderr, "\r{:<32}\r", "");
    std::fflush(stderr);
  };
}

Policy load_with_progress(const LoadFlags& flags) {
  LoadOptions options = flags.options;
  options.progress = progress();
  return load(flags.model, options);
}

nlohmann::json describe(const PolicyInfo& info) {
  return {{"family", info.family},
          {"contract", info.contract},
          {"device", info.device},
          {"dtype", info.dtype},
          {"schedule", info.schedule},
          {"weights_fingerprint", info.weights_fingerprint},
          {"statistics_sha256", info.statistics_sha256},
          {"tokenizer_sha256", info.tokenizer_sha256},
          {"horizon", info.horizon},
          {"width", info.width},
          {"default_steps", info.default_steps},
          {"weight_bytes", info.weight_bytes},
          {"buffer_bytes", info.buffer_bytes},
          {"arena_bytes", info.arena_bytes}};
}

void print_info(const PolicyInfo& info) {
  fmt::print("contract   {} ({}, {} times)\n", info.contract, info.family, info.schedule);
  fmt::print("device     {}, {}\n", info.device, info.dtype);
  fmt::print("weights    {}\n", info.weights_fingerprint);
  fmt::print("statistics sha256:{}\n", info.statistics_sha256);
  fmt::print("tokenizer  sha256:{}\n", info.tokenizer_sha256);
  fmt::print("memory     weights {:.1f} MB, buffers {:.1f} MB, arena {:.1f} MB\n",
             static_cast<double>(info.weight_bytes) * 1e-6,
             static_cast<double>(info.buffer_bytes) * 1e-6,
             static_cast<double>(info.arena_bytes) * 1e-6);
}

}  // namespace tendon::cli
