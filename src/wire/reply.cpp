#include "wire/reply.h"

#include <nlohmann/json.hpp>

namespace tendon::wire {
namespace {

void encode_timings(const Timings& timings, Encoder& out) {
  out.text("server_timing").map(static_cast<std::uint32_t>(timings.size()));
  for (const auto& [key, ms] : timings) out.text(key).real(ms);
}

nlohmann::ordered_json error_json(const Fault& fault) {
  return {{"error",
           {{"code", fault.code},
            {"message", fault.message},
            {"detail", nlohmann::ordered_json::object()}}}};
}

}  // namespace

void encode_chunk(const ChunkReply& reply, Encoder& out) {
  const Chunk& chunk = *reply.chunk;
  const std::int64_t shape[] = {chunk.horizon, chunk.width};
  const bool plural = reply.form == ReplyForm::actions;
  out.map(plural ? 3 : 2).text(plural ? "actions" : "action");
  if (reply.type == ArrayType::f64) {
    out.ndarray(ArrayType::f64, shape, chunk.actions.data());
  } else {
    const std::vector<float> actions(chunk.actions.begin(), chunk.actions.end());
    out.ndarray(ArrayType::f32, shape, actions.data());
  }
  if (plural) out.text("policy_timing").map(1).text("infer_ms").real(reply.model_ms);
  encode_timings(*reply.timings, out);
}

void encode_reset(ReplyForm form, const Timings& timings, Encoder& out) {
  out.map(2);
  if (form == ReplyForm::action) {
    out.text("action").nil();
  } else {
    out.text("reset").boolean(true);
  }
  encode_timings(timings, out);
}

std::string error_text(const Fault& fault) {
  return error_json(fault).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void encode_error(const Fault& fault, Encoder& out) { out.json(error_json(fault)); }

}  // namespace tendon::wire
