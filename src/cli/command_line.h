// The whole `tendon` command as a function, for the program and for other languages' packages.
#pragma once

namespace tendon::cli {

// argv[0] is the program's name. Prints; returns the exit code: 0, 1 where the answer is a no, 2 on
// bad input.
int run_command_line(int argc, const char* const* argv);

}  // namespace tendon::cli
