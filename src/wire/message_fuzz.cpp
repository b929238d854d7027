// Any bytes as a request: an observation, or one sentence.
#include <cstdint>
#include <span>

#include "preprocess/array_collector.h"
#include "preprocess/describe_inputs.h"
#include "wire/reply.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tendon::PolicyInfo info = [] {
    tendon::PolicyInfo all;
    tendon::describe_inputs(tendon::builtin_contract("pi05_libero"), all);
    all.inputs.push_back({.key = "images/cam_high", .slot = "high", .required = false});
    return all;
  }();
  tendon::wire::Request request;
  try {
    tendon::wire::RequestDecoder().decode(std::as_bytes(std::span(data, size)), request);
    tendon::ArrayCollector collector(info);
    tendon::wire::feed(request, collector);
    const tendon::Observation& seen = collector.observation();
    unsigned sum = 0;
    for (const auto& camera : seen.cameras) {
      const tendon::Image& image = camera.image;
      for (int y = 0; y < image.height; ++y) sum += image.data[image.row_bytes * y];
      sum += image.data[image.row_bytes * (image.height - 1) + image.width * 3 - 1];
    }
    return sum == 0xffffffff ? -1 : 0;
  } catch (const tendon::Error& e) {
    tendon::wire::error_text({"bad_encoding", e.what()});
  }
  return 0;
}
