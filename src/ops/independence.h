// Which traces may run side by side.
#pragma once

#include "ops/trace.h"

namespace tendon {

// Whether either trace writes a buffer that the other reads or writes.
bool clash(const Trace& a, const Trace& b);
// Whether the trace reads or writes a buffer.
bool touches(const Trace& trace, BufferRef buffer);

}  // namespace tendon
