#include "server/inference.h"

#include <vector>

namespace tendon::server {
namespace {

// Black pictures and a state of zeros: whatever the policy, an observation that it takes.
class EmptyScene {
 public:
  explicit EmptyScene(const PolicyInfo& info) : pixels_(kSide * kSide * 3) {
    for (const PolicyInfo::Input& input : info.inputs) {
      if (input.size > 0) {
        scene_.state.push_back(
            {input.key, std::vector<double>(static_cast<std::size_t>(input.size))});
      } else if (input.required) {
        scene_.cameras.push_back({input.key, {pixels_.data(), kSide, kSide, 0}});
      }
    }
    scene_.prompt = "stand still";
  }
  const Observation& observation() const { return scene_; }

 private:
  static constexpr int kSide = 8;
  std::vector<std::uint8_t> pixels_;
  Observation scene_;
};

class LoadedPolicy final : public Inference {
 public:
  LoadedPolicy(const std::string& path, const LoadOptions& options)
      : policy_(load(path, options)), on_host_(options.device == "cpu") {}

  const PolicyInfo& info() const override { return policy_.info(); }
  Status infer(const Observation& observation, const InferOptions& options,
               Chunk& chunk) noexcept override {
    return policy_.infer(observation, options, chunk);
  }
  bool healthy() noexcept override {
    if (on_host_) return true;
    try {
      const EmptyScene scene(info());
      Chunk chunk;
      return policy_.infer(scene.observation(), {}, chunk).ok();
    } catch (const std::exception&) {
      return false;
    }
  }

 private:
  Policy policy_;
  bool on_host_;
};

}  // namespace

MakeInference load_policy(std::string path, LoadOptions options) {
  return [path = std::move(path), options = std::move(options)] {
    return std::make_unique<LoadedPolicy>(path, options);
  };
}

}  // namespace tendon::server
