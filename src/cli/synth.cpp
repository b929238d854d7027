#include <fmt/core.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "engine/synth.h"

namespace tendon::cli {
namespace {

struct Options {
  SynthOptions synth;
  std::string size = "mini", dtype = "f32", dims;
};

nlohmann::json parse_dims(const std::string& text) {
  nlohmann::json dims = nlohmann::json::object();
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    const std::size_t equal = part.find('=');
    require(equal != std::string::npos &&
                part.find_first_not_of("0123456789", equal + 1) == std::string::npos &&
                equal + 1 < part.size(),
            "--dims {}: NAME=NUMBER,... is wanted", part);
    dims[part.substr(0, equal)] = std::stoll(part.substr(equal + 1));
    at = comma + 1;
  }
  return dims;
}

void run(Options o) {
  require(o.size == "mini" || o.synth.rule != "tiny", "--rule tiny is for --size mini");
  o.synth.size = o.size == "full" ? SynthOptions::Size::full : SynthOptions::Size::mini;
  o.synth.dtype = o.dtype == "bf16" ? DType::bf16 : DType::f32;
  if (const auto show = progress()) {
    o.synth.progress = [show](double done) { show("generating weights", done); };
  }
  synthesise(o.synth, parse_dims(o.dims));
  for (const auto& entry : std::filesystem::directory_iterator(o.synth.folder)) {
    fmt::print("{:<32} {:12} bytes\n", entry.path().string(), entry.file_size());
  }
}

}  // namespace

void add_synth(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("synth", "write a complete checkpoint folder with generated weights");
  command->add_option("FAMILY", o->synth.family, "see `tendon models`")->required();
  command->add_option("--out", o->synth.folder, "the folder")->required();
  command->add_option("--size", o->size, "mini or full")->check(CLI::IsMember({"mini", "full"}));
  command->add_option("--rule", o->synth.rule, "unit or tiny")
      ->check(CLI::IsMember({"unit", "tiny"}));
  command->add_option("--dims", o->dims, "NAME=NUMBER,... in the family's words");
  command->add_option("--dtype", o->dtype, "stored type, f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--prefix", o->synth.prefix, "before every name when hashing: a seed");
  command->add_option("--contract", o->synth.contract, "a built-in contract of the family");
  command->add_option("--threads", o->synth.threads, "CPU threads; 0: all");
  command->footer("Example: tendon synth pi05 --size mini --dtype bf16 --out build/mini_pi05");
  command->callback([o] { run(*o); });
}

}  // namespace tendon::cli
