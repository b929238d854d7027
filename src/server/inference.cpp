#include "server/inference.h"

#include "engine/blank_scene.h"

namespace tendon::server {
namespace {

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
      const BlankScene scene(info(), "stand still");
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
