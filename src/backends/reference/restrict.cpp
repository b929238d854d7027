#include "backends/reference/restrict.h"

#include <algorithm>

#include "backends/reference/view.h"
#include "base/error.h"

namespace tendon::reference {
namespace {

class Builder {
 public:
  Builder(const Op& op, const Source& source) : source_(source) {
    made_.program = std::make_unique<Program>();
    // The op's weights under their own numbers; whoever packed them has released them already.
    std::vector<Weight>& weights = made_.program->weights;
    weights.resize(source.trace.program().weights.size());
    for (WeightRef w : operands(op).weights) {
      Weight& weight = weights[static_cast<std::size_t>(w.id)] = source.trace.program().weight(w);
      weight.release = nullptr;
    }
    made_.program->traces.emplace_back("sample", *made_.program);
  }

  const Trace& from() const { return source_.trace; }
  Trace& to() { return made_.program->traces[0]; }
  const Shape& shape(Value v) const { return from().shape(v); }
  std::span<const std::int64_t> places() const { return source_.places; }
  std::int64_t count() const { return static_cast<std::int64_t>(places().size()); }
  Restricted take() { return std::move(made_); }

  std::vector<float> content(Value v) const {
    std::vector<float> all = source_.operand(v);
    require(static_cast<std::int64_t>(all.size()) == shape(v).numel(),
            "evaluate_sample: {} elements of {} are wanted, {} came", shape(v).numel(),
            shape(v).str(), all.size());
    return all;
  }
  Value reals(const Shape& shape, const std::vector<float>& values) {
    return to().buffer(made_.program->constant("operand", DType::f32, shape, values));
  }
  Value integers(const std::vector<float>& values) {
    const std::vector<std::int32_t> whole(values.begin(), values.end());
    const Shape shape{static_cast<std::int64_t>(whole.size())};
    return to().buffer(made_.program->constant("operand", DType::i32, shape, whole));
  }
  Value output(Value like, const Shape& shape) {
    const Value v = to().buffer(made_.program->add(BufferSpec{"out", from().dtype(like), shape}));
    made_.outputs.push_back(v);
    return v;
  }
  void output(Value v) { made_.outputs.push_back(v); }
  // The buffer starts with v's content.
  void fill(BufferRef buffer, Value v) {
    const BufferSpec& spec = made_.program->buffer(buffer);
    const std::vector<float> values = content(v);
    std::vector<std::byte> bytes(values.size() * size_of(spec.dtype));
    const View all{Tensor(bytes.data(), spec.dtype, {static_cast<std::int64_t>(values.size())})};
    all.store(0, 0, all.width(), values.data());
    made_.program->initial.emplace_back(buffer, std::move(bytes));
  }

  Value whole(Value v) { return v ? reals(shape(v), content(v)) : Value{}; }
  // The chosen rows of v taken as [R, width].
  std::vector<float> chosen(Value v, std::int64_t width) const {
    const std::vector<float> all = content(v);
    std::vector<float> some;
    for (std::int64_t p : places()) {
      some.insert(some.end(), all.begin() + p * width, all.begin() + (p + 1) * width);
    }
    return some;
  }
  Value rows(Value v, const Shape& as) { return v ? reals(as, chosen(v, shape(v)[-1])) : Value{}; }
  // The same table for the chosen rows of `all`.
  RowTable table(const RowTable& table, std::int64_t all) {
    if (!table) return {};
    RowTable some{whole(table.table), Value{}, table.column};
    if (table.rows) {
      const std::vector<float> index = content(table.rows);
      std::vector<float> picked;
      for (std::int64_t p : places()) {
        picked.push_back(
            index[static_cast<std::size_t>(p * static_cast<std::int64_t>(index.size()) / all)]);
      }
      some.rows = integers(picked);
    }
    return some;
  }

 private:
  const Source& source_;
  Restricted made_;
};

std::int64_t row_count(const Trace& t, Value v) { return t.shape(v).numel() / t.shape(v)[-1]; }

struct Places {
  const Trace& t;
  std::int64_t operator()(const ops::Linear& o) const { return row_count(t, o.out); }
  std::int64_t operator()(const ops::GatedLinear& o) const { return row_count(t, o.out); }
  std::int64_t operator()(const ops::QkvRope& o) const { return row_count(t, o.x); }
  std::int64_t operator()(const ops::Attention& o) const { return row_count(t, o.q); }
  std::int64_t operator()(const ops::Conv2d& o) const { return row_count(t, o.out); }
  template <class T>
  std::int64_t operator()(const T&) const {
    return 0;
  }
};

void record(Builder& b, ops::Linear op) {
  const std::int64_t outputs = b.shape(op.out)[-1], all = row_count(b.from(), op.out);
  op.x = b.rows(op.x, {b.count(), b.shape(op.x)[-1]});
  op.gate = b.table(op.gate, all);
  op.residual = b.rows(op.residual, {b.count(), outputs});
  op.out = b.output(op.out, {b.count(), outputs});
  b.to().add(op);
}

void record(Builder& b, ops::GatedLinear op) {
  op.x = b.rows(op.x, {b.count(), b.shape(op.x)[-1]});
  op.out = b.output(op.out, {b.count(), b.shape(op.out)[-1]});
  b.to().add(op);
}

void record(Builder& b, ops::QkvRope op) {
  const auto heads = [&](Value v) {
    return b.output(v, {1, b.count(), b.shape(v)[2], b.shape(v)[3]});
  };
  op.x = b.rows(op.x, {1, b.count(), b.shape(op.x)[-1]});
  if (op.cos) {
    const std::vector<float> all = b.content(op.positions);
    std::vector<float> some;
    for (std::int64_t p : b.places()) some.push_back(all[static_cast<std::size_t>(p) % all.size()]);
    op.positions = b.integers(some);
    op.cos = b.whole(op.cos);
    op.sin = b.whole(op.sin);
  }
  if (op.q) op.q = heads(op.q);
  op.k = heads(op.k);
  op.v = heads(op.v);
  b.to().add(op);
}

void record(Builder& b, ops::Conv2d op) {
  const Shape x = b.shape(op.x), y = b.shape(op.out);
  const Shape& kernel = b.from().program().weight(op.weight).shape;
  const std::vector<float> picture = b.content(op.x);
  const std::int64_t taps = kernel[1] * kernel[2];
  std::vector<float> patches(static_cast<std::size_t>(b.count() * taps * x[3]), 0.0f);
  for (std::int64_t i = 0; i < b.count(); ++i) {
    const std::int64_t p = b.places()[static_cast<std::size_t>(i)];
    const std::int64_t top = p / y[2] % y[1] * op.stride - op.pad[0];
    const std::int64_t left = p % y[2] * op.stride - op.pad[1];
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      const std::int64_t row = top + tap / kernel[2], column = left + tap % kernel[2];
      if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
      const std::int64_t at = (p / (y[1] * y[2]) * x[1] + row) * x[2] + column;
      std::copy_n(picture.begin() + at * x[3], x[3], patches.begin() + (i * taps + tap) * x[3]);
    }
  }
  op.x = b.reals({b.count(), kernel[1], kernel[2], x[3]}, patches);
  op.stride = 1;
  op.pad = {};
  op.residual = b.rows(op.residual, {b.count(), 1, 1, y[3]});
  op.out = b.output(op.out, {b.count(), 1, 1, y[3]});
  b.to().add(op);
}

// What attention reads, fetched once for all places.
struct AttentionContent {
  struct Piece {
    std::vector<float> k, v, length, bias;
  };
  std::array<Piece, 2> pieces;
  std::vector<float> q, score_bias;
};

// Rows [0, Sk) of one sample and key head of [B, Sk, Hk, Dh].
std::vector<float> one_head(const std::vector<float>& all, const Shape& shape, std::int64_t sample,
                            std::int64_t head) {
  std::vector<float> rows;
  for (std::int64_t j = 0; j < shape[1]; ++j) {
    const auto at = all.begin() + ((sample * shape[1] + j) * shape[2] + head) * shape[3];
    rows.insert(rows.end(), at, at + shape[3]);
  }
  return rows;
}

void record_pair(Builder& b, const ops::Attention& op, const AttentionContent& content,
                 std::int64_t place, Value out) {
  const Shape& q = b.shape(op.q);
  const std::int64_t head = place % q[2], s = place / q[2] % q[1], sample = place / (q[2] * q[1]);
  ops::Attention one{.scale = op.scale, .out = out};
  const auto row = content.q.begin() + place * q[3];
  one.q = b.reals({1, 1, 1, q[3]}, std::vector<float>(row, row + q[3]));
  for (std::size_t i = 0; i < 2; ++i) {
    if (!op.keys[i].k) continue;
    const AttentionContent::Piece& piece = content.pieces[i];
    const Shape& k = b.shape(op.keys[i].k);
    const std::int64_t key_head = head / (q[2] / k[2]);
    const Shape alone{1, k[1], 1, k[3]};
    one.keys[i].k = b.reals(alone, one_head(piece.k, k, sample, key_head));
    one.keys[i].v = b.reals(alone, one_head(piece.v, k, sample, key_head));
    if (op.keys[i].length) {
      one.keys[i].length = b.integers({piece.length[static_cast<std::size_t>(sample)]});
    }
    if (op.keys[i].bias) {
      const auto bias = piece.bias.begin() + sample * k[1];
      one.keys[i].bias = b.reals({1, k[1]}, std::vector<float>(bias, bias + k[1]));
    }
  }
  if (op.score_bias) {
    const std::int64_t width = b.shape(op.keys[0].k)[1];
    const auto bias = content.score_bias.begin() + (head * q[1] + s) * width;
    one.score_bias = b.reals({1, 1, width}, std::vector<float>(bias, bias + width));
  }
  if (!op.visible.empty()) one.visible = {op.visible[static_cast<std::size_t>(s)]};
  b.to().add(std::move(one));
}

void record(Builder& b, const ops::Attention& op) {
  AttentionContent content;
  const auto read = [&](Value v) { return v ? b.content(v) : std::vector<float>{}; };
  content.q = read(op.q);
  content.score_bias = read(op.score_bias);
  for (std::size_t i = 0; i < 2; ++i) {
    const ops::Attention::Keys& keys = op.keys[i];
    content.pieces[i] = {read(keys.k), read(keys.v), read(keys.length), read(keys.bias)};
  }
  const Value out = b.output(op.out, {1, b.count(), 1, b.shape(op.q)[3]});
  for (std::int64_t i = 0; i < b.count(); ++i) {
    record_pair(b, op, content, b.places()[static_cast<std::size_t>(i)],
                b.to().slice(out, 1, i, 1));
  }
}

}  // namespace

std::int64_t places(const Op& op, const Trace& trace) { return std::visit(Places{trace}, op); }

Restricted restricted(const Op& op, const Source& source) {
  Builder b(op, source);
  std::visit(
      [&](const auto& x) {
        if constexpr (requires { record(b, x); }) record(b, x);
      },
      op);
  return b.take();
}

// Values keep their numbers, so the op is recorded as it is: every value of the trace is made anew,
// operands as dense buffers, the rest as intermediates that take no memory.
Restricted alone(const Op& op, const Source& source) {
  Builder b(op, source);
  const Operands all = operands(op);
  const auto among = [](const std::vector<Value>& values, Value v) {
    return std::find(values.begin(), values.end(), v) != values.end();
  };
  for (std::size_t i = 0; i < source.trace.values().size(); ++i) {
    const Value v{static_cast<std::int32_t>(i)};
    const ValueInfo& info = source.trace.values()[i];
    const bool read = among(all.inputs, v), written = among(all.outputs, v);
    if (!read && !written) {
      b.to().make(info.dtype, info.shape);
      continue;
    }
    Program& program = b.to().program();
    const bool integer = info.dtype == DType::i32 || info.dtype == DType::u8;
    const DType dtype = written || integer ? info.dtype : DType::f32;
    const BufferRef buffer = program.add(BufferSpec{"operand", dtype, info.shape});
    b.to().buffer(buffer);
    if (read) b.fill(buffer, v);
  }
  for (Value v : all.outputs) b.output(v);
  b.to().add(op);
  return b.take();
}

}  // namespace tendon::reference
