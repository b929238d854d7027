// Answers to a client.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tendon/tendon.h"
#include "wire/encoder.h"
#include "wire/request.h"

namespace tendon::wire {

// Milliseconds under their keys ("infer_ms"), in order.
using Timings = std::vector<std::pair<std::string, double>>;

struct ChunkReply {
  const Chunk* chunk = nullptr;
  ReplyForm form = ReplyForm::actions;
  ArrayType type = ArrayType::f32;   // f32 or f64
  double model_ms = 0;               // policy_timing
  const Timings* timings = nullptr;  // server_timing
};
void encode_chunk(const ChunkReply& reply, Encoder& out);

void encode_reset(ReplyForm form, const Timings& timings, Encoder& out);

// A client's mistake, or ours: a word for programs and a sentence for people.
struct Fault {
  std::string_view code;  // "bad_encoding", "bad_observation", "busy", "engine_failed", ...
  std::string message;
};
std::string error_text(const Fault& fault);  // one line of JSON
void encode_error(const Fault& fault, Encoder& out);

}  // namespace tendon::wire
