// A subcommand: one file, one line of command_line.cpp's table.
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace tendon::cli {

// Adds itself to `app` with its options, help and example. Its callback does the work, prints to
// standard output, throws Error (exit code 2) on bad input and sets `exit_code` where the answer
// itself is a no.
struct Context {
  int exit_code = 0;
};
using AddCommand = void (*)(CLI::App& app, Context& context);

void add_run(CLI::App& app, Context& context);
void add_synth(CLI::App& app, Context& context);
void add_convert(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_models(CLI::App& app, Context& context);
void add_contracts(CLI::App& app, Context& context);
void add_bench(CLI::App& app, Context& context);
void add_check(CLI::App& app, Context& context);
void add_rollout(CLI::App& app, Context& context);
void add_serve(CLI::App& app, Context& context);

}  // namespace tendon::cli
