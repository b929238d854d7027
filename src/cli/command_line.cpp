#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/command.h"
#include "tendon/tendon.h"

namespace tendon::cli {
namespace {

constexpr AddCommand kCommands[] = {add_run,   add_synth,  add_convert,   add_inspect, add_check,
                                    add_bench, add_models, add_contracts, add_rollout, add_serve};

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  CLI::App app("tendon runs robot policies in real time");
  app.set_version_flag("--version", std::string(version()));
  app.require_subcommand(1);
  Context context;
  for (AddCommand add : kCommands) add(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tendon: %s\n", e.what());
    return 2;
  }
  return context.exit_code;
}

}  // namespace tendon::cli
