// Quantities as people read them: three significant digits and a unit.
#pragma once

#include <string>

namespace tendon::measure {

std::string format_seconds(double seconds);           // "1.23 ms"
std::string format_bytes(double bytes);               // "4.56 GB", powers of 1000
std::string format_count(double n);                   // "3.62 G"
std::string format_rate(double n, const char* unit);  // "795 TFLOP/s" of n in unit/s, unit "FLOP"
std::string format_share(double fraction);            // "85.3%"

}  // namespace tendon::measure
