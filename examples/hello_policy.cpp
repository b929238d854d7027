// Loads a checkpoint, shows it a grey scene and prints the actions it answers with.
//   hello_policy MODEL
#include <cstdint>
#include <cstdio>
#include <vector>

#include "tendon/tendon.h"

namespace {

constexpr int kHeight = 480, kWidth = 640;

// Everything the policy asks for: grey pictures and a state of zeros.
tendon::Observation grey_scene(const tendon::PolicyInfo& info,
                               const std::vector<std::uint8_t>& pixels) {
  tendon::Observation seen;
  seen.prompt = "put the red block into the box";
  for (const tendon::PolicyInfo::Input& input : info.inputs) {
    if (input.size > 0) {
      const auto size = static_cast<std::size_t>(input.size);
      seen.state.push_back({input.key, std::vector<double>(size, 0.0)});
    } else if (input.required) {
      const tendon::Image image{.data = pixels.data(), .height = kHeight, .width = kWidth};
      seen.cameras.push_back({input.key, image});
    }
  }
  return seen;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: hello_policy MODEL\n");
    return 2;
  }
  try {
    tendon::Policy policy = tendon::load(argv[1], {});
    const std::vector<std::uint8_t> pixels(kHeight * kWidth * 3, 128);
    const tendon::Chunk chunk = policy.infer(grey_scene(policy.info(), pixels));
    std::printf("%s, %d actions of %d numbers in %.1f ms\n", policy.info().contract.c_str(),
                chunk.horizon, chunk.width, chunk.seconds * 1e3);
    for (int tick = 0; tick < chunk.horizon; ++tick) {
      for (int i = 0; i < chunk.width; ++i) {
        std::printf("%9.4f", chunk.actions[static_cast<std::size_t>(tick * chunk.width + i)]);
      }
      std::printf("\n");
    }
  } catch (const tendon::Error& error) {
    std::fprintf(stderr, "hello_policy: %s\n", error.what());
    return 2;
  }
  return 0;
}
