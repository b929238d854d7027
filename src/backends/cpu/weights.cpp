#include "backends/cpu/weights.h"

#include <algorithm>

namespace tendon::cpu {
namespace {

std::int64_t row_width(const Weight& w) { return w.shape.numel() / w.shape[0]; }

}  // namespace

Weights::Weights(const Program& program, const Kernels& kernels, Team& team)
    : program_(program), kernels_(kernels), team_(team), entries_(program.weights.size()) {}

PackedMatrix Weights::shape_of(const Weight& weight) const {
  PackedMatrix m;
  m.type = weight.format == Format::bf16 ? PanelType::bf16 : PanelType::f32;
  m.n = weight.shape[0];
  m.k = row_width(weight);
  m.panels = (m.n + kernels_.panel_columns - 1) / kernels_.panel_columns;
  const std::int64_t lanes = m.type == PanelType::bf16 ? (m.k + 1) / 2 : m.k;
  m.panel_bytes = lanes * kernels_.panel_columns * 4;
  return m;
}

PackedMatrix Weights::matrix(WeightRef ref) {
  Entry& e = entry(ref);
  e.matrix = true;
  PackedMatrix m = shape_of(program_.weight(ref));
  m.data = e.panels.data();
  return m;
}

RowsOfWeight Weights::table(WeightRef ref) {
  const Weight& w = program_.weight(ref);
  Entry& e = entry(ref);
  e.in_place = w.raw != nullptr;
  if (w.raw) return {w.raw_dtype, static_cast<const std::byte*>(w.raw)};
  e.table = true;
  return {w.format == Format::bf16 ? DType::bf16 : DType::f32, e.rows.data()};
}

const float* Weights::vector(WeightRef ref) {
  if (!ref) return nullptr;
  Entry& e = entry(ref);
  e.vector = true;
  return reinterpret_cast<const float*>(e.values.data());
}

const onednn::Matrix* Weights::library_matrix(WeightRef ref, std::int64_t rows) {
  Entry& e = entry(ref);
  std::vector<std::int64_t>& all = e.library_rows;
  const auto at = std::lower_bound(all.begin(), all.end(), rows, std::greater<>());
  if (at == all.end() || *at != rows) all.insert(at, rows);
  return &e.library;
}

void Weights::pack(const std::function<void(std::string_view, double)>& progress) {
  double total = 0, done = 0;
  for (const Weight& w : program_.weights) total += static_cast<double>(w.shape.numel());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Weight& w = program_.weights[i];
    if (progress) progress(w.name, done / total);
    pack_one(w, entries_[i]);
    if (w.release && !entries_[i].in_place) w.release();
    done += static_cast<double>(w.shape.numel());
  }
  if (progress) progress("weights packed", 1.0);
  packed_ = true;
}

void Weights::pack_one(const Weight& w, Entry& e) {
  if (e.matrix) {
    pack_panels(w, e.panels);
    bytes_ += e.panels.bytes();
  }
  if (e.vector) {
    const auto n = static_cast<std::size_t>(w.shape.numel());
    e.values = Memory(n * 4);
    auto* values = reinterpret_cast<float*>(e.values.data());
    w.read(0, w.shape[0], values);
    if (w.format == Format::bf16) {
      std::vector<std::uint16_t> narrow(n);
      kernels_.store(DType::bf16, values, w.shape.numel(), narrow.data());
      kernels_.load(DType::bf16, narrow.data(), w.shape.numel(), values);
    }
    bytes_ += e.values.bytes();
  }
  if (e.table) {
    const DType dtype = w.format == Format::bf16 ? DType::bf16 : DType::f32;
    e.rows = Memory(static_cast<std::size_t>(w.shape.numel()) * size_of(dtype));
    pack_rows(w, dtype, e.rows.data());
    bytes_ += e.rows.bytes();
  }
  if (!e.library_rows.empty()) {
    const DType dtype = w.format == Format::bf16 ? DType::bf16 : DType::f32;
    Memory plain(static_cast<std::size_t>(w.shape.numel()) * size_of(dtype));
    pack_rows(w, dtype, plain.data());
    e.library =
        onednn::pack({dtype, e.library_rows, w.shape[0], row_width(w)}, plain.data(), team_);
    bytes_ += e.library.bytes();
  }
}

void Weights::pack_panels(const Weight& w, Memory& to) const {
  const PackedMatrix m = shape_of(w);
  to = Memory(static_cast<std::size_t>(m.panels * m.panel_bytes));
  spread(team_, m.panels, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t columns = kernels_.panel_columns;
    std::vector<float> rows(static_cast<std::size_t>(columns * m.k));
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t count = std::min(columns, m.n - p * columns);
      w.read(p * columns, count, rows.data());
      kernels_.pack_panel(m.type, rows.data(), count, m.k, to.data() + p * m.panel_bytes);
    }
  });
}

void Weights::pack_rows(const Weight& w, DType dtype, std::byte* to) const {
  const std::int64_t width = row_width(w);
  const auto bytes = width * static_cast<std::int64_t>(size_of(dtype));
  spread(team_, w.shape[0], [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t r = begin; r < end; ++r) {
      w.read(r, 1, row.data());
      kernels_.store(dtype, row.data(), width, to + r * bytes);
    }
  });
}

}  // namespace tendon::cpu
