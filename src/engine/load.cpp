// The public API.
#include "base/rng.h"
#include "engine/loader.h"
#include "preprocess/image_io.h"

namespace tendon {

Policy::Policy(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

const PolicyInfo& Policy::info() const { return impl_->info; }

Chunk Policy::infer(const Observation& observation, const InferOptions& options) {
  Chunk chunk;
  if (const Status status = infer(observation, options, chunk); !status.ok()) {
    throw Error(std::string(status.message()));
  }
  return chunk;
}

Status Policy::infer(const Observation& observation, const InferOptions& options,
                     Chunk& chunk) noexcept {
  return impl_->core().infer({&observation, 1}, options, {&chunk, 1});
}

Status Policy::infer(std::span<const Observation> observations, const InferOptions& options,
                     std::span<Chunk> chunks) noexcept {
  return impl_->core().infer(observations, options, chunks);
}

Policy load(const std::string& path, const LoadOptions& options) {
  return Policy(std::make_unique<Policy::Impl>(open_source(path, options), options));
}

OwnedImage load_image(const std::string& path) {
  const ImageBuffer image = read_image(path);
  OwnedImage owned{image.height(), image.width(), {}};
  owned.pixels.assign(image.data(), image.data() + static_cast<std::size_t>(image.height()) *
                                                       static_cast<std::size_t>(image.width()) * 3);
  return owned;
}

std::uint64_t request_seed(std::uint64_t seed, std::uint64_t number) noexcept {
  return number == 0 ? seed : synthetic_bits(mix64(seed), number);
}

std::string_view version() { return "0.1.0"; }

}  // namespace tendon
