// Stands in for rollout.cpp in a build without the simulated robot.
#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "tendon/error.h"

namespace tendon::cli {

void add_rollout(CLI::App& app, Context&) {
  CLI::App* command =
      app.add_subcommand("rollout", "drive the simulated robot (not in this build)");
  command->allow_extras();
  command->callback([] {
    throw Error(
        "rollout: this build has no simulated robot, MuJoCo 3.3.7 was missing; get it with "
        "`tools/install_deps.sh sim` (or -DMUJOCO_ROOT=...) and build again");
  });
}

}  // namespace tendon::cli
