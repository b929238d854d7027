#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/command.h"
#include "tendon/tendon.h"

namespace {

using namespace tendon::cli;

constexpr AddCommand kCommands[] = {add_run,   add_synth,  add_inspect,   add_check,
                                    add_bench, add_models, add_contracts, add_rollout};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("tendon runs robot policies in real time");
  app.set_version_flag("--version", std::string(tendon::version()));
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
