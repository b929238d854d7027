#include <fmt/core.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/npy.h"
#include "cli/command.h"
#include "cli/common.h"
#include "measure/svg.h"
#include "measure/table.h"

namespace tendon::cli {
namespace {

using nlohmann::json;

struct Options {
  LoadFlags load;
  std::vector<std::string> images, states;
  std::string prompt, noise, pinned, plot, out;
  std::optional<std::uint64_t> seed;
  InferOptions how;
  bool as_json = false;
};

// "key=value" or "value", whose key is `fallback`.
std::pair<std::string, std::string> keyed(const std::string& text, std::string_view fallback) {
  const std::size_t at = text.find('=');
  if (at == std::string::npos) return {std::string(fallback), text};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::vector<double> numbers(const std::string& text) {
  if (text.ends_with(".npy")) {
    const std::vector<float> values = read_npy(text).to_f32();
    return {values.begin(), values.end()};
  }
  std::vector<double> values;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    std::size_t used = 0;
    double value = 0;
    try {
      value = std::stod(part, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    require(used > 0 && used == part.size(), "--state: \"{}\" is no number", part);
    values.push_back(value);
    at = comma + 1;
  }
  return values;
}

// Where the noise came from, in words and in JSON.
std::string noise_source(const Options& o) {
  if (!o.noise.empty()) return "noise " + o.noise;
  return o.seed ? fmt::format("seed {}", *o.seed) : "usual noise";
}

json report(const Policy& policy, const Chunk& chunk, const Options& o) {
  json actions = json::array();
  for (int r = 0; r < chunk.horizon; ++r) {
    const auto first = chunk.actions.begin() + r * chunk.width;
    actions.push_back(std::vector<double>(first, first + chunk.width));
  }
  json timing = json::object();
  for (const auto& [stage, seconds] : chunk.timing) timing[std::string(stage)] = seconds;
  json j = describe(policy.info());
  j["actions"] = actions;
  j["seed"] = o.seed ? json(*o.seed) : json();
  j["noise"] = noise_source(o);
  j["seconds"] = chunk.seconds;
  j["seconds_by_stage"] = timing;
  return j;
}

void print_text(const Policy& policy, const Chunk& chunk) {
  std::vector<std::string> header = {"tick"};
  for (int d = 0; d < chunk.width; ++d) header.push_back(fmt::format("a{}", d));
  measure::Table table(header);
  for (int r = 0; r < chunk.horizon; ++r) {
    std::vector<std::string> cells = {std::to_string(r)};
    for (int d = 0; d < chunk.width; ++d) {
      cells.push_back(
          fmt::format("{:.5f}", chunk.actions[static_cast<std::size_t>(r * chunk.width + d)]));
    }
    table.add(std::move(cells));
  }
  fmt::print("{}\n", table.str());
  print_info(policy.info());
  fmt::print("time       {:.2f} ms\n", chunk.seconds * 1e3);
  for (const auto& [stage, seconds] : chunk.timing) {
    fmt::print("  {:<12} {:9.3f} ms\n", stage, seconds * 1e3);
  }
}

void write_plot(const Policy& policy, const Chunk& chunk, const Options& o) {
  measure::Plot plot = measure::chunk_plot({.actions = chunk.actions,
                                            .width = chunk.width,
                                            .control_hz = policy.info().control_hz,
                                            .names = {}});
  plot.title = fmt::format("{}: {}", policy.info().contract, o.prompt);
  plot.subtitle = fmt::format("{} on {}, {}, {:.1f} ms", policy.info().dtype, policy.info().device,
                              noise_source(o), chunk.seconds * 1e3);
  write_file(o.plot, measure::svg(plot));
}

void run(const Options& o) {
  Observation seen;
  std::vector<OwnedImage> pictures;
  pictures.reserve(o.images.size());
  for (const std::string& text : o.images) {
    const auto [key, file] = keyed(text, "");
    require(!key.empty(), "--image {}: NAME=FILE is wanted", text);
    pictures.push_back(load_image(file));
    seen.cameras.push_back({key, pictures.back().view()});
  }
  for (const std::string& text : o.states) {
    const auto [key, values] = keyed(text, "state");
    seen.state.push_back({key, numbers(values)});
  }
  seen.prompt = o.prompt;
  Policy policy = load_with_progress(o.load);
  std::vector<float> noise, pinned;
  if (!o.noise.empty()) noise = read_npy(o.noise).to_f32();
  if (!o.pinned.empty()) pinned = read_npy(o.pinned).to_f32();
  InferOptions how = o.how;
  how.noise = noise, how.pinned = pinned, how.seed = o.seed;
  const Chunk chunk = policy.infer(seen, how);
  if (!o.plot.empty()) write_plot(policy, chunk, o);
  if (!o.out.empty()) {
    auto* data = const_cast<double*>(chunk.actions.data());
    write_npy(o.out, Tensor(data, DType::f64, {chunk.horizon, chunk.width}));
  }
  if (o.as_json) {
    fmt::print("{}\n", report(policy, chunk, o).dump(1));
  } else {
    print_text(policy, chunk);
    if (!o.plot.empty()) fmt::print("plot       {}\n", o.plot);
    if (!o.out.empty()) fmt::print("actions    {}\n", o.out);
  }
}

}  // namespace

void add_run(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "one observation in, one chunk of actions out");
  add_load_flags(*command, o->load);
  // One value each: what follows may be the model.
  command->add_option("--image", o->images, "NAME=FILE, a PNG or JPEG for a camera; repeat")
      ->allow_extra_args(false);
  command->add_option("--state", o->states, "[KEY=]x,y,... or [KEY=]FILE.npy; repeat")
      ->allow_extra_args(false);
  command->add_option("--prompt", o->prompt, "what to do");
  command->add_option("--noise", o->noise, "starting noise, a .npy of [horizon, model width]");
  command->add_option("--seed", o->seed,
                      "of the noise where none is given; absent: what the checkpoint's evaluation "
                      "draws, or 0");
  command->add_option("--steps", o->how.steps, "denoising steps; 0: the contract's");
  command->add_option("--shift", o->how.shift, "of the time schedule; 0: the contract's");
  command->add_option("--pinned", o->pinned,
                      "rows that are decided already, a .npy of [rows, model width]");
  command
      ->add_option("--pin-rule", o->how.pin_rule,
                   "how they take part: family, conditioned, renoised or clamped")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, PinRule>{{"family", PinRule::family},
                                         {"conditioned", PinRule::conditioned},
                                         {"renoised", PinRule::renoised},
                                         {"clamped", PinRule::clamped}}));
  command->add_option("--plot", o->plot, "draw the chunk into this SVG file");
  command->add_option("--out", o->out, "write the actions into this .npy file");
  command->add_flag("--json", o->as_json, "print JSON");
  command->footer(
      "Example: tendon run build/demo --image base=base.png --image left_wrist=wrist.jpg \\\n"
      "         --prompt \"pick up the red block\" --state 0,0,0,0,0,0,0,0 --plot chunk.svg");
  command->callback([o] { run(*o); });
}

}  // namespace tendon::cli
