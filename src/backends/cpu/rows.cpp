// embed, gather_rows and copy: whole rows, converted where dtypes differ.
#include <cstring>

#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kPiece = 1024;
constexpr std::int64_t kShort = 16;  // a row that is not worth a call

void move(const Kernels& k, DType from, const std::byte* src, DType to, std::byte* dst,
          std::int64_t n) noexcept {
  if (from == to) {
    std::memcpy(dst, src, static_cast<std::size_t>(n) * size_of(to));
    return;
  }
  float x[kPiece];
  for (std::int64_t at = 0; at < n; at += kPiece) {
    const std::int64_t count = std::min(kPiece, n - at);
    k.load(from, src + at * static_cast<std::int64_t>(size_of(from)), count, x);
    k.store(to, x, count, dst + at * static_cast<std::int64_t>(size_of(to)));
  }
}

class MoveRows : public Step {
 public:
  MoveRows(Planner& planner, Value x, Value out, const std::int32_t* index)
      : x_(planner.view(x)), out_(planner.view(out)), index_(index), kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    const std::int64_t n = x_.rows() * x_.width();
    const bool few = out_.rows() < threads_ || out_.width() < kShort;
    if (!index && x_.dense() && out_.dense() && few) {
      const std::int64_t width = n % threads_ == 0 ? n / threads_ : n;
      x_ = View(x_.data(), x_.dtype(), n / width, width);
      out_ = View(out_.data(), out_.dtype(), n / width, width);
    }
  }

  const char* run(const Worker& w) noexcept override {
    const Range mine = share(out_.rows(), w.index(), threads_);
    for (std::int64_t r = mine.begin; index_ && r < mine.end; ++r) {
      if (index_[r] >= x_.rows()) return "index: a row that x does not have";
    }
    for (std::int64_t r = mine.begin; r < mine.end; ++r) {
      const std::int64_t from = index_ ? index_[r] : r;
      if (from < 0) {
        std::memset(out_.row(r), 0, static_cast<std::size_t>(out_.width()) * size_of(out_.dtype()));
      } else {
        move(*kernels_, x_.dtype(), x_.row(from), out_.dtype(), out_.row(r), out_.width());
      }
    }
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    const Range mine = share(out_.rows(), thread, threads_);
    if (index_) {
      f.reads(x_);
      f.reads(index_, static_cast<std::size_t>(mine.end) * sizeof *index_);
    } else {
      f.reads(x_, mine);
    }
    f.writes(out_, mine);
  }

 private:
  View x_, out_;
  const std::int32_t* index_;
  const Kernels* kernels_;
};

class Embed : public Step {
 public:
  Embed(Planner& planner, const ops::Embed& op)
      : ids_(planner.integers(op.ids)),
        out_(planner.view(op.out)),
        table_(planner.weights().table(op.table)),
        scale_(op.scale),
        kernels_(&planner.kernels()) {
    const Weight& w = planner.trace().program().weight(op.table);
    count_ = w.shape[0];
    round_ = w.format == Format::bf16 && table_.dtype != DType::bf16;
    threads_ = planner.threads();
    row_ = planner.own_of<float>(out_.width());
    narrow_ = planner.own_of<std::uint16_t>(out_.width());
  }

  const char* run(const Worker& w) noexcept override {
    const std::int64_t n = out_.width();
    const std::int64_t row_bytes = n * static_cast<std::int64_t>(size_of(table_.dtype));
    const Range mine = share(out_.rows(), w.index(), threads_);
    float* row = row_.of(w.index());
    std::uint16_t* narrow = narrow_.of(w.index());
    for (std::int64_t r = mine.begin; r < mine.end; ++r) {
      if (ids_[r] < 0 || ids_[r] >= count_) return "ids: one is outside the table";
      kernels_->load(table_.dtype, table_.data + ids_[r] * row_bytes, n, row);
      if (round_) {
        kernels_->store(DType::bf16, row, n, narrow);
        kernels_->load(DType::bf16, narrow, n, row);
      }
      if (scale_ != 1.0f) kernels_->scale(row, scale_, n);
      kernels_->store(out_.dtype(), row, n, out_.row(r));
    }
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    const Range mine = share(out_.rows(), thread, threads_);
    f.reads(ids_, static_cast<std::size_t>(mine.end) * sizeof *ids_);
    f.writes(out_, mine);
  }

 private:
  const std::int32_t* ids_;
  View out_;
  RowsOfWeight table_;
  float scale_;
  bool round_;  // the file holds more than the format
  const Kernels* kernels_;
  std::int64_t count_;
  Own<float> row_;
  Own<std::uint16_t> narrow_;
};

}  // namespace

void plan(Planner& planner, const ops::Embed& op) {
  planner.add(std::make_unique<Embed>(planner, op));
}
void plan(Planner& planner, const ops::GatherRows& op) {
  planner.add(std::make_unique<MoveRows>(planner, op.x, op.out, planner.integers(op.index)));
}
void plan(Planner& planner, const ops::Copy& op) {
  planner.add(std::make_unique<MoveRows>(planner, op.x, op.out, nullptr));
}

}  // namespace tendon::cpu
