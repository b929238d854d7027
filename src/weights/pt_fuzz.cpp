// Any bytes taken as a zip archive or as a pickle are refused with an Error or read; nothing else.
#include <span>
#include <string_view>

#include "tendon/error.h"
#include "weights/pickle.h"
#include "weights/zip_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kAllowed[] = {"collections.OrderedDict", "t.f"};
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    tendon::read_zip_directory(bytes, "fuzz.zip");
  } catch (const tendon::Error&) {
  }
  try {
    tendon::read_pickle(bytes, kAllowed, "fuzz.pkl");
  } catch (const tendon::Error&) {
  }
  return 0;
}
