#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/common.h"
#include "engine/inspect.h"
#include "measure/table.h"
#include "measure/units.h"

namespace tendon::cli {
namespace {

struct Options {
  LoadFlags load;
  bool as_json = false, tensors = false;
};

void print_json(const Inspection& i) {
  nlohmann::json tensors = nlohmann::json::array(), traces = nlohmann::json::array(), inputs;
  for (const auto& input : i.inputs) {
    inputs.push_back({{"key", input.key},
                      {"slot", input.slot},
                      {"size", input.size},
                      {"required", input.required},
                      {"aliases", input.aliases}});
  }
  for (const auto& t : i.tensors) {
    tensors.push_back({{"name", t.name},
                       {"dtype", t.dtype},
                       {"shape", t.shape},
                       {"bytes", t.bytes},
                       {"used", t.used}});
  }
  for (const auto& t : i.traces) {
    traces.push_back({{"name", t.name}, {"ops", t.ops}, {"arena", t.arena}, {"flops", t.flops}});
  }
  const nlohmann::json all = {
      {"family", i.family},
      {"contract", nlohmann::json::parse(i.contract_json)},
      {"dims", nlohmann::json::parse(i.dims_json)},
      {"inputs", inputs},
      {"dtype", i.dtype},
      {"weights_fingerprint", i.fingerprint},
      {"tensors", tensors},
      {"traces", traces},
      {"bytes", {{"weights", i.weights}, {"buffers", i.buffers}, {"arena", i.arena}}},
      {"degenerate_statistics", i.degenerate}};
  fmt::print("{}\n", all.dump(1));
}

// "8 numbers", "picture as [3, h, w] of slot base_0_rgb, may be absent; also base, cam_high".
std::string describe(const PolicyInfo::Input& input) {
  const bool first = input.channels == PolicyInfo::Channels::first;
  std::string text = input.size > 0 ? fmt::format("{} numbers", input.size)
                                    : fmt::format("picture{} of slot {}",
                                                  first ? " as [3, h, w]" : "", input.slot);
  if (!input.required) text += ", may be absent";
  const char* before = "; also ";
  for (const std::string& alias : input.aliases) {
    text += before + alias;
    before = ", ";
  }
  return text;
}

void print_text(const Inspection& i, bool tensors) {
  std::size_t unused = 0, unused_bytes = 0, bytes = 0;
  for (const auto& t : i.tensors) {
    bytes += t.bytes;
    if (!t.used) ++unused, unused_bytes += t.bytes;
  }
  fmt::print("family      {}\ncontract    {}\ndimensions  {}\nweights     {}\n", i.family,
             i.contract, i.dims_json, i.fingerprint);
  fmt::print("tensors     {} of {}, {} of them ({}) unused by inference\n", i.tensors.size(),
             measure::format_bytes(static_cast<double>(bytes)), unused,
             measure::format_bytes(static_cast<double>(unused_bytes)));
  fmt::print("memory      weights {} as {}, buffers {}, arena {}\n",
             measure::format_bytes(static_cast<double>(i.weights)), i.dtype,
             measure::format_bytes(static_cast<double>(i.buffers)),
             measure::format_bytes(static_cast<double>(i.arena)));
  for (const auto& input : i.inputs) {
    fmt::print("{:<12}{}: {}\n", &input == i.inputs.data() ? "inputs" : "", input.key,
               describe(input));
  }
  fmt::print("statistics  {}\n", i.degenerate.empty() ? "no degenerate range" : "DEGENERATE:");
  for (const std::string& d : i.degenerate) fmt::print("            {}\n", d);
  measure::Table plans({"trace", "ops", "work", "arena"});
  for (const auto& t : i.traces) {
    plans.add({t.name, std::to_string(t.ops), measure::format_count(t.flops) + "FLOP",
               measure::format_bytes(static_cast<double>(t.arena))});
  }
  fmt::print("\n{}", plans.str());
  measure::Table table({"tensor", "dtype", "shape", "bytes", "used"});
  for (const auto& t : i.tensors) {
    if (tensors || !t.used) {
      table.add({t.name, t.dtype, t.shape, std::to_string(t.bytes), t.used ? "yes" : "no"});
    }
  }
  fmt::print("\n{}:\n{}", tensors ? "tensors" : "unused tensors", table.str());
}

}  // namespace

void add_inspect(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "inspect", "tensors, sizes, what is unused, memory plan, contract, statistics");
  add_load_flags(*command, o->load);
  command->add_flag("--tensors", o->tensors, "list every tensor, not only the unused");
  command->add_flag("--json", o->as_json, "print JSON, the whole contract included");
  command->footer("Example: tendon inspect /models/pi05_libero --tensors");
  command->callback([o] {
    const Inspection i = inspect(o->load.model, o->load.options);
    if (o->as_json)
      print_json(i);
    else
      print_text(i, o->tensors);
  });
}

void add_models(CLI::App& app, Context&) {
  CLI::App* command = app.add_subcommand("models", "families, their stages, what options mean");
  command->footer("Example: tendon models");
  command->callback([] {
    for (const FamilyRow& f : list_families()) {
      fmt::print("{}: {}\n  stages   {}\n", f.name, f.summary, f.stages);
      for (const auto& [option, meaning] : f.options) fmt::print("  {:<8} {}\n", option, meaning);
      fmt::print("\n");
    }
  });
}

void add_contracts(CLI::App& app, Context&) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("contracts", "the built-in contracts");
  command->add_option("NAME", *name, "print this one as JSON, ready to be edited");
  command->footer("Example: tendon contracts pi05_libero > my_contract.json");
  command->callback([name] {
    if (!name->empty()) {
      fmt::print("{}\n", contract_text(*name));
      return;
    }
    measure::Table table({"contract", "family", "robot", "horizon", "tokens", "prompt", "state",
                          "actions", "normalisation"});
    for (const ContractRow& c : list_contracts()) {
      table.add({c.name, c.family, c.robot, std::to_string(c.horizon), std::to_string(c.capacity),
                 c.prompt, std::to_string(c.state), std::to_string(c.returned), c.normalisation});
    }
    fmt::print("{}", table.str());
  });
}

}  // namespace tendon::cli
