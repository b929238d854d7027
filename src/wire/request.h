// A client's request: an observation under its keys, and what it asks besides.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wire/ndarray.h"

namespace tendon::wire {

// One value of the observation under its key; keys of nested maps are joined by '/'.
struct Entry {
  enum class Kind : std::uint8_t { array, numbers, text, other };
  std::string key;
  Kind kind = Kind::other;
  Ndarray array;                // array: points into the request's bytes
  std::vector<double> numbers;  // numbers: a scalar or a list of scalars
  std::string text;
};

// How the reply names the chunk: "actions", or "action" for clients that call the prompt "task".
enum class ReplyForm : std::uint8_t { actions, action };

struct Request {
  std::vector<Entry> entries;
  ReplyForm form = ReplyForm::actions;
  bool reset = false;       // {"reset": true} or {"endpoint": "reset"}
  bool error_maps = false;  // {"ext": {"errors": true}}
  bool realtime = false;    // an "rtc" map that asks for more than mode "none"
  bool overrides = false;   // seed, num_steps or noise beside an observation
  std::optional<std::uint64_t> seed;
  int steps = 0;  // 0: not asked
  std::vector<float> noise;
  std::string weights;  // a path that the client wants loaded; never followed
};

// Decodes `bytes`, which must outlive the request. Throws EncodingError where they are no message
// of the protocol, Error where an option is wrong.
class RequestDecoder {
 public:
  void decode(std::span<const std::byte> bytes, Request& request);

 private:
  void add_option(std::string_view key, const Node& value, Request& request);
  void add_entry(std::string key, const Node& value, Request& request);
  void add_map(const std::string& prefix, const Node& map, Request& request);

  Message message_;
};

// Hands the observation to anything with add, add_text and add_other: ObservationBuilder.
template <class Builder>
void feed(const Request& request, Builder& builder) {
  for (const Entry& entry : request.entries) {
    if (entry.kind == Entry::Kind::array) {
      builder.add(entry.key, entry.array.view());
    } else if (entry.kind == Entry::Kind::numbers) {
      const std::int64_t shape[] = {static_cast<std::int64_t>(entry.numbers.size())};
      builder.add(entry.key,
                  {.data = entry.numbers.data(), .type = ArrayType::f64, .shape = shape});
    } else if (entry.kind == Entry::Kind::text) {
      builder.add_text(entry.key, entry.text);
    } else {
      builder.add_other(entry.key);
    }
  }
}

}  // namespace tendon::wire
