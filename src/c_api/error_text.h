// The sentence of the latest failure on this thread.
#pragma once

#include <string_view>

namespace tendon::c_api {

void set_error(std::string_view sentence) noexcept;  // longer ones are cut
const char* error_text() noexcept;

}  // namespace tendon::c_api
