// An executable that does what another does: a test changes or watches one call of it.
#pragma once

#include <memory>
#include <utility>

#include "ops/backend.h"

namespace tendon::support {

class Forwarding : public Executable {
 public:
  explicit Forwarding(std::unique_ptr<Executable> inner) : inner_(std::move(inner)) {}
  const Program& program() const override { return inner_->program(); }
  MemoryReport memory() const override { return inner_->memory(); }
  Status write(BufferRef b, std::span<const std::byte> data, std::size_t at) noexcept override {
    return inner_->write(b, data, at);
  }
  Status read(BufferRef b, std::span<std::byte> data, std::size_t at) noexcept override {
    return inner_->read(b, data, at);
  }
  Status run(std::size_t trace, int first, int count) noexcept override {
    return inner_->run(trace, first, count);
  }
  Status wait() noexcept override { return inner_->wait(); }
  std::vector<float> fetch(std::size_t trace, Value v) override { return inner_->fetch(trace, v); }
  std::vector<StepTime> profile(std::size_t trace, int repetitions) override {
    return inner_->profile(trace, repetitions);
  }

 private:
  std::unique_ptr<Executable> inner_;
};

}  // namespace tendon::support
