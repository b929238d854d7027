// Stands in for serve.cpp in a build without the server.
#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "tendon/error.h"

namespace tendon::cli {

void add_serve(CLI::App& app, Context&) {
  CLI::App* command = app.add_subcommand("serve", "serve policies (not in this build)");
  command->allow_extras();
  command->callback(
      [] { throw Error("serve: this build has no server; configure it with -DTENDON_SERVER=ON"); });
}

}  // namespace tendon::cli
