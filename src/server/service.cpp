#include "server/service.h"

#include <nlohmann/json.hpp>

#include "wire/encoder.h"

namespace tendon::server {
namespace {

using nlohmann::ordered_json;

ordered_json inputs_json(const PolicyInfo& info) {
  ordered_json inputs = ordered_json::object();
  for (const PolicyInfo::Input& input : info.inputs) {
    ordered_json shape = {input.size};
    if (input.size == 0) {
      shape = input.channels == PolicyInfo::Channels::first ? ordered_json{3, -1, -1}
                                                            : ordered_json{-1, -1, 3};
    }
    inputs[input.key] = {
        {"dtype", input.size == 0 ? "|u1" : "<f8"}, {"shape", shape}, {"required", input.required}};
  }
  return inputs;
}

}  // namespace

std::string metadata(const Service& service) {
  const PolicyInfo& info = service.worker.info();
  ordered_json all = ordered_json::parse(info.metadata_json.empty() ? "{}" : info.metadata_json);
  ordered_json server = {{"engine", "tendon " + std::string(version())},
                         {"protocol", 1},
                         {"policy", service.name},
                         {"contract", info.contract},
                         {"model", info.family},
                         {"action_horizon", info.horizon},
                         {"action_dim", info.width}};
  if (info.control_hz > 0) server["control_hz"] = info.control_hz;
  server["precision"] = info.dtype;
  server["device"] = info.device;
  server["weights_fingerprint"] = info.weights_fingerprint;
  server["norm_stats_sha256"] = info.statistics_sha256;
  server["tokenizer_sha256"] = info.tokenizer_sha256;
  server["inputs"] = inputs_json(info);
  server["async"] = {"sync", "naive"};
  all["server"] = server;
  wire::Encoder out;
  return out.json(all).str();
}

}  // namespace tendon::server
