// What several commands share: the flags that say which policy to load, and how one is described.
#pragma once

#include <CLI/App.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tendon/tendon.h"

namespace tendon::cli {

struct LoadFlags {
  std::string model;
  LoadOptions options;
};

// The positional MODEL and --device, --dtype, --contract, --tokenizer, --statistics, ...
void add_load_flags(CLI::App& command, LoadFlags& flags);
// The same without MODEL.
void add_load_options(CLI::App& command, LoadOptions& options);

// Shows progress on standard error where that is a terminal.
Policy load_with_progress(const LoadFlags& flags);
// The callback alone.
std::function<void(std::string_view, double)> progress();

nlohmann::json describe(const PolicyInfo& info);
void print_info(const PolicyInfo& info);

}  // namespace tendon::cli
