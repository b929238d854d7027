#include "wire/reply.h"

#include <gtest/gtest.h>

namespace tendon::wire {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

Chunk two_rows() {
  Chunk chunk;
  chunk.horizon = chunk.width = 2;
  chunk.actions = {0.5, -0.25, 1, 0};
  return chunk;
}

TEST(Reply, FirstAndLaterAnswersToTheByte) {
  const Chunk chunk = two_rows();
  Timings timings{{"infer_ms", 13.0}};
  Encoder out;
  encode_chunk({.chunk = &chunk, .model_ms = 12.5, .timings = &timings}, out);
  EXPECT_EQ(
      hex(out.str()),
      "83a7616374696f6e7384c40b5f5f6e6461727261795f5fc3c40464617461c4100000003f000080be0000803f00"
      "000000c4056474797065a33c6634c4057368617065920202ad706f6c6963795f74696d696e6781a8696e666572"
      "5f6d73cb4029000000000000ad7365727665725f74696d696e6781a8696e6665725f6d73cb402a00000000000"
      "0");
  timings.emplace_back("prev_total_ms", 14.5);
  out.clear();
  encode_chunk({&chunk, ReplyForm::actions, ArrayType::f64, 12.5, &timings}, out);
  EXPECT_EQ(
      hex(out.str()),
      "83a7616374696f6e7384c40b5f5f6e6461727261795f5fc3c40464617461c420000000000000e03f0000000000"
      "00d0bf000000000000f03f0000000000000000c4056474797065a33c6638c4057368617065920202ad706f6c69"
      "63795f74696d696e6781a8696e6665725f6d73cb4029000000000000ad7365727665725f74696d696e6782a869"
      "6e6665725f6d73cb402a000000000000ad707265765f746f74616c5f6d73cb402d000000000000");
}

TEST(Reply, TheOtherFormSaysActionAndNoPolicyTiming) {
  const Chunk chunk = two_rows();
  const Timings timings{{"infer_ms", 1}};
  Encoder out;
  encode_chunk({&chunk, ReplyForm::action, ArrayType::f32, 0, &timings}, out);
  Message message;
  message.parse(std::as_bytes(std::span(out.str().data(), out.str().size())));
  EXPECT_NE(message.find(message.root(), "action"), nullptr);
  EXPECT_EQ(message.find(message.root(), "policy_timing"), nullptr);
  out.clear();
  encode_reset(ReplyForm::action, timings, out);
  message.parse(std::as_bytes(std::span(out.str().data(), out.str().size())));
  EXPECT_EQ(message.find(message.root(), "action")->kind, Node::Kind::nil);
}

TEST(Reply, ErrorsAreOneLineOfJson) {
  EXPECT_EQ(error_text({"bad_observation", "a \"key\"\nis missing \xff"}),
            "{\"error\":{\"code\":\"bad_observation\",\"message\":\"a \\\"key\\\"\\nis missing "
            "\xef\xbf\xbd\",\"detail\":{}}}");
}

}  // namespace
}  // namespace tendon::wire
