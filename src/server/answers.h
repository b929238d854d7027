// Bodies of plain HTTP requests.
#pragma once

#include <string>

#include "server/hub.h"
#include "wire/routes.h"

namespace tendon::server {

struct Answer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  enum class After : std::uint8_t { keep, close } after = After::keep;
};

Answer answer(Hub& hub, const wire::Route& route);

}  // namespace tendon::server
