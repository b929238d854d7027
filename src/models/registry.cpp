#include "base/error.h"
#include "models/family.h"
#include "models/fastwam/fastwam.h"
#include "models/lingbot_vla/lingbot_vla.h"
#include "models/pi05/pi05.h"

namespace tendon {

std::span<const Family> families() {
  static const std::vector<Family> all = {pi05::pi05_family(), pi05::pi0_family(),
                                          lingbot_vla::lingbot_vla_family(),
                                          fastwam::fastwam_family()};
  return all;
}

const Family& family(std::string_view name) {
  std::string known;
  for (const Family& f : families()) {
    if (f.name == name) return f;
    known += (known.empty() ? "" : ", ") + std::string(f.name);
  }
  fail("model family \"{}\" is unknown; families are {}", name, known);
}

}  // namespace tendon
