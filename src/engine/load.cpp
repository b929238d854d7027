#include "tendon/tendon.h"

namespace tendon {

std::string_view version() { return "0.1.0"; }

}  // namespace tendon
