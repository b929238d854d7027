// Any bytes as a statistics file or a contract: read or refused, nothing else.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "preprocess/contract.h"
#include "preprocess/normalise.h"
#include "preprocess/statistics.h"

namespace {

void normalise(const tendon::Statistics& statistics) {
  const tendon::Contract& contract = tendon::builtin_contract("pi05_libero");
  const tendon::Normaliser n(statistics, contract.state, contract.state_dim);
  double row[8] = {0, 1, -1, 2, 1e9, -1e9, 0.5, 3};
  n.forward(row, row);
  (void)tendon::degenerate_dimensions(statistics, contract);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) return 0;
  try {
    normalise(tendon::statistics_from_json(value, "fuzz"));
  } catch (const tendon::Error&) {
  }
  try {
    (void)tendon::to_json(tendon::contract_from_json(value, "fuzz"));
  } catch (const tendon::Error&) {
  }
  return 0;
}
