#include "engine/blank_scene.h"

#include <utility>

namespace tendon {

BlankScene::BlankScene(const PolicyInfo& info, std::string prompt) {
  constexpr int kSide = 224;
  black_.resize(std::size_t{kSide} * kSide * 3);
  for (const PolicyInfo::Input& input : info.inputs) {
    if (input.size == 0) {
      seen_.cameras.push_back(
          {input.key, {.data = black_.data(), .height = kSide, .width = kSide}});
    } else {
      // A rotation of nothing is 0 0 0 1; elsewhere the last number is as good as another.
      std::vector<double> rest(static_cast<std::size_t>(input.size));
      if (input.size == 4) rest.back() = 1;
      seen_.state.push_back({input.key, std::move(rest)});
    }
  }
  seen_.prompt = std::move(prompt);
}

}  // namespace tendon
