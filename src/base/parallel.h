// Work spread over threads while loading; not for the warm path.
#pragma once

#include <cstdint>
#include <functional>

namespace tendon {

// Processors this process may use.
int machine_threads();

// Calls job(0) .. job(count - 1), each once, on up to `threads` threads (0: all the machine
// offers), the caller's among them. After a job has thrown no new one starts, and the first
// exception is thrown here.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& job);

}  // namespace tendon
