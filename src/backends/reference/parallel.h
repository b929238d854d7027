// Loops over independent pieces of an output.
#pragma once

#include <cstdint>
#include <exception>

namespace tendon::reference {

// body(i) for i in [0, count), on `threads` threads. The first exception is thrown again at the
// end.
template <class Body>
void parallel_for(int threads, std::int64_t count, const Body& body) {
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && count > 1)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      body(i);
    } catch (...) {
#pragma omp critical(tendon_reference_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace tendon::reference
