#include "wire/request.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace tendon::wire {
namespace {

constexpr std::size_t kLongestKey = 256;
constexpr std::string_view kOptions[] = {"reset",     "endpoint",  "seed",
                                         "num_steps", "noise",     "rtc",
                                         "ext",       "robo_name", "path_to_pi_model"};

bool is_option(std::string_view key) {
  for (std::string_view option : kOptions) {
    if (option == key) return true;
  }
  return false;
}

bool is_number(const Node& node) {
  return node.kind == Node::Kind::integer || node.kind == Node::Kind::real ||
         node.kind == Node::Kind::boolean;
}

double number(const Node& node) {
  return node.kind == Node::Kind::real ? node.real : static_cast<double>(node.integer);
}

bool is_true(const Node& node, std::string_view key) {
  require(node.kind == Node::Kind::boolean || node.kind == Node::Kind::nil,
          "{}: true or false is wanted", key);
  return node.integer != 0;
}

// A text node or a numpy text scalar.
std::string text_of(const Message& message, const Node& node, std::string_view key) {
  if (node.kind == Node::Kind::text || node.kind == Node::Kind::bytes)
    return std::string(node.view);
  if (const auto array = as_ndarray(message, node)) {
    if (auto text = as_text(*array)) return *text;
  }
  fail("{}: a text is wanted", key);
}

std::int64_t integer_of(const Message& message, const Node& node, std::string_view key) {
  const Node* scalar = as_generic(message, node);
  const Node& value = scalar ? *scalar : node;
  require(value.kind == Node::Kind::integer && value.integer >= 0, "{}: a whole number is wanted",
          key);
  return value.integer;
}

void read_noise(const Message& message, const Node& node, std::vector<float>& noise) {
  const auto array = as_ndarray(message, node);
  require(array && array->element.kind == Element::Kind::number &&
              array->element.type == ArrayType::f32 && array->element.order == ByteOrder::little,
          "noise: an ndarray of float32 is wanted");
  noise.resize(array->data.size() / sizeof(float));
  if (!noise.empty()) std::memcpy(noise.data(), array->data.data(), array->data.size());
}

// Elements of a list of scalars, or nothing where it holds anything else.
std::optional<std::vector<double>> list_of(const Message& message, const Node& list) {
  std::vector<double> values;
  for (std::uint32_t i = message.index(list) + 1; i < list.end; i = message.nodes()[i].end) {
    if (!is_number(message.nodes()[i])) return std::nullopt;
    values.push_back(number(message.nodes()[i]));
  }
  return values;
}

void fill_scalar(const Node& value, Entry& entry) {
  if (is_number(value)) {
    entry.kind = Entry::Kind::numbers;
    entry.numbers = {number(value)};
  } else if (value.kind == Node::Kind::text || value.kind == Node::Kind::bytes) {
    entry.kind = Entry::Kind::text;
    entry.text = value.view;
  }
}

}  // namespace

void RequestDecoder::add_option(std::string_view key, const Node& value, Request& r) {
  if (key == "reset") {
    r.reset = is_true(value, key);
  } else if (key == "endpoint") {
    const std::string endpoint = text_of(message_, value, key);
    require(endpoint == "infer" || endpoint == "reset", "endpoint {}: infer or reset is wanted",
            printable(endpoint));
    r.reset = r.reset || endpoint == "reset";
  } else if (key == "seed") {
    if (value.kind != Node::Kind::nil) {
      r.seed = static_cast<std::uint64_t>(integer_of(message_, value, key));
    }
  } else if (key == "num_steps") {
    const std::int64_t steps = integer_of(message_, value, key);
    require(steps >= 1 && steps <= 1000, "num_steps: 1 to 1000 is wanted, {} came", steps);
    r.steps = static_cast<int>(steps);
  } else if (key == "noise") {
    read_noise(message_, value, r.noise);
  } else if (key == "path_to_pi_model") {
    r.weights = text_of(message_, value, key);
  } else if (value.kind == Node::Kind::map && key == "rtc") {
    const Node* mode = message_.find(value, "mode");
    r.realtime = mode == nullptr || mode->view != "none";
  } else if (value.kind == Node::Kind::map && key == "ext") {
    const Node* errors = message_.find(value, "errors");
    r.error_maps = errors != nullptr && is_true(*errors, "ext/errors");
  }
}

void RequestDecoder::add_entry(std::string key, const Node& value, Request& request) {
  if (value.kind == Node::Kind::map && !as_ndarray(message_, value) &&
      as_generic(message_, value) == nullptr) {
    return add_map(key + "/", value, request);
  }
  Entry entry{.key = std::move(key)};
  if (auto array = as_ndarray(message_, value)) {
    if (auto text = as_text(*array)) {
      entry.kind = Entry::Kind::text;
      entry.text = std::move(*text);
    } else if (array->element.kind == Element::Kind::number) {
      entry.kind = Entry::Kind::array;
      entry.array = *array;
    }
  } else if (const Node* scalar = as_generic(message_, value)) {
    fill_scalar(*scalar, entry);
  } else if (value.kind == Node::Kind::array) {
    if (auto values = list_of(message_, value)) {
      entry.kind = Entry::Kind::numbers;
      entry.numbers = std::move(*values);
    }
  } else {
    fill_scalar(value, entry);
  }
  request.entries.push_back(std::move(entry));
}

void RequestDecoder::add_map(const std::string& prefix, const Node& map, Request& request) {
  const auto nodes = message_.nodes();
  for (std::uint32_t i = message_.index(map) + 1; i < map.end; i = nodes[nodes[i].end].end) {
    const Node& value = nodes[nodes[i].end];
    if (prefix.size() + nodes[i].view.size() > kLongestKey) {
      throw EncodingError("a key is longer than 256 bytes");
    }
    if (prefix.empty() && is_option(nodes[i].view)) {
      add_option(nodes[i].view, value, request);
    } else {
      add_entry(prefix + std::string(nodes[i].view), value, request);
    }
  }
}

void RequestDecoder::decode(std::span<const std::byte> bytes, Request& request) {
  request = {};
  message_.parse(bytes);
  if (message_.root().kind != Node::Kind::map) throw EncodingError("a request is a map");
  add_map("", message_.root(), request);
  for (const Entry& entry : request.entries) {
    if (entry.key == "task") request.form = ReplyForm::action;
    if (entry.key == "prompt") request.form = ReplyForm::actions;
  }
  if (message_.find(message_.root(), "robo_name") != nullptr && request.reset) {
    request.form = ReplyForm::action;
  }
  request.overrides =
      !request.reset && (request.seed || request.steps > 0 || !request.noise.empty());
}

}  // namespace tendon::wire
