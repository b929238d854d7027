// space_to_depth and average_pool.
#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

// Pixel (y, x) of the picture that row `r` of [B, Y, X, C] belongs to.
struct Pixel {
  std::int64_t b, y, x;
  Pixel(const View& v, std::int64_t r)
      : b(r / (v.shape()[1] * v.shape()[2])),
        y(r / v.shape()[2] % v.shape()[1]),
        x(r % v.shape()[2]) {}
};

std::int64_t row_of(const View& v, std::int64_t b, std::int64_t y, std::int64_t x) {
  return (b * v.shape()[1] + y) * v.shape()[2] + x;
}

class SpaceToDepth : public Step {
 public:
  SpaceToDepth(Planner& planner, const ops::SpaceToDepth& op)
      : x_(planner.view(op.x)),
        out_(planner.view(op.out)),
        block_(op.block),
        channel_major_(op.channel_major),
        kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    buffer_ = planner.own_of<float>(2 * out_.width());
  }

  const char* run(const Worker& w) noexcept override {
    split(w, threads_, out_.rows(), [&](std::int64_t begin, std::int64_t end) {
      float* row = buffer_.of(w.index());
      for (std::int64_t r = begin; r < end; ++r) {
        gather(Pixel(out_, r), row, row + out_.width());
        kernels_->store(out_.dtype(), row, out_.width(), out_.row(r));
      }
    });
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    f.reads(x_);
    f.writes(out_, share(out_.rows(), thread, threads_));
  }

 private:
  void gather(const Pixel& p, float* row, float* pixel) const noexcept {
    const std::int64_t channels = x_.width();
    if (!channel_major_ && x_.dense()) {  // the pixels of a block's row lie side by side
      for (std::int64_t dy = 0; dy < block_; ++dy) {
        const std::byte* from = x_.row(row_of(x_, p.b, p.y * block_ + dy, p.x * block_));
        kernels_->load(x_.dtype(), from, block_ * channels, row + dy * block_ * channels);
      }
      return;
    }
    for (std::int64_t dy = 0; dy < block_; ++dy) {
      for (std::int64_t dx = 0; dx < block_; ++dx) {
        const std::byte* from = x_.row(row_of(x_, p.b, p.y * block_ + dy, p.x * block_ + dx));
        if (!channel_major_) {
          kernels_->load(x_.dtype(), from, channels, row + (dy * block_ + dx) * channels);
          continue;
        }
        kernels_->load(x_.dtype(), from, channels, pixel);
        for (std::int64_t c = 0; c < channels; ++c) row[(c * block_ + dx) * block_ + dy] = pixel[c];
      }
    }
  }

  View x_, out_;
  std::int64_t block_;
  bool channel_major_;
  const Kernels* kernels_;
  Own<float> buffer_;
};

class AveragePool : public Step {
 public:
  AveragePool(Planner& planner, const ops::AveragePool& op)
      : x_(planner.view(op.x)),
        residual_(planner.view(op.residual)),
        out_(planner.view(op.out)),
        step_(op.channel_step),
        offset_(op.channel_offset),
        kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    buffer_ = planner.own_of<float>(out_.width() + 2 * x_.width());
  }

  const char* run(const Worker& w) noexcept override {
    split(w, threads_, out_.rows(), [&](std::int64_t begin, std::int64_t end) {
      float* row = buffer_.of(w.index());
      for (std::int64_t r = begin; r < end; ++r) {
        pool(r, row, row + out_.width());
        kernels_->store(out_.dtype(), row, out_.width(), out_.row(r));
      }
    });
    return nullptr;
  }

 private:
  void pool(std::int64_t r, float* row, float* sum) const noexcept {
    const Pixel p(out_, r);
    const std::int64_t channels = x_.width();
    float* pixel = sum + channels;
    std::fill_n(sum, channels, 0.0f);
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t at = row_of(x_, p.b, 2 * p.y + i / 2, 2 * p.x + i % 2);
      kernels_->load(x_.dtype(), x_.row(at), channels, pixel);
      kernels_->add(sum, pixel, channels);
    }
    if (residual_) {
      kernels_->load(residual_.dtype(), residual_.row(r), out_.width(), row);
    } else {
      std::fill_n(row, out_.width(), 0.0f);
    }
    for (std::int64_t c = 0; c < channels; ++c) row[c * step_ + offset_] += sum[c] * 0.25f;
  }

  View x_, residual_, out_;
  std::int64_t step_, offset_;
  const Kernels* kernels_;
  Own<float> buffer_;
};

}  // namespace

void plan(Planner& planner, const ops::SpaceToDepth& op) {
  planner.add(std::make_unique<SpaceToDepth>(planner, op));
}
void plan(Planner& planner, const ops::AveragePool& op) {
  planner.add(std::make_unique<AveragePool>(planner, op));
}

}  // namespace tendon::cpu
