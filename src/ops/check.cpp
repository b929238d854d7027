// What each op demands of its operands.
#include "base/error.h"
#include "base/frame_table.h"
#include "ops/trace.h"

namespace tendon {
namespace {

bool floating(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

class Checker {
 public:
  explicit Checker(const Trace& trace) : t_(trace) {}

  void operator()(const ops::Linear& o) const {
    reals({o.x, o.out});
    product(o.x, o.weight, o.bias, o.out);
    table(o.gate, o.out, t_.shape(o.out)[-1]);
    if (o.residual) same(o.residual, o.out, "residual");
  }
  void operator()(const ops::GatedLinear& o) const {
    reals({o.x, o.out});
    product(o.x, o.gate, o.gate_bias, o.out);
    product(o.x, o.up, o.up_bias, o.out);
  }
  void operator()(const ops::Conv2d& o) const {
    reals({o.x, o.out});
    const Shape &x = t_.shape(o.x), &y = t_.shape(o.out), &w = weight(o.weight).shape;
    require(x.rank() == 4 && y.rank() == 4 && w.rank() == 4 && w[3] == x[3] && w[0] == y[3],
            "conv2d: [B,Y,X,C], [O,kh,kw,C] and [B,Y',X',O] are wanted, {} {} {} came", x.str(),
            w.str(), y.str());
    const std::int64_t rows = (x[1] + o.pad[0] + o.pad[2] - w[1]) / o.stride + 1;
    const std::int64_t columns = (x[2] + o.pad[1] + o.pad[3] - w[2]) / o.stride + 1;
    require(y[0] == x[0] && y[1] == rows && y[2] == columns,
            "conv2d: {} gives [{},{},{},{}], {} came", x.str(), x[0], rows, columns, w[0], y.str());
    vector(o.bias, w[0]);
    if (o.residual) same(o.residual, o.out, "residual");
  }
  void operator()(const ops::Attention& o) const {
    const Shape& q = t_.shape(o.q);
    reals({o.q, o.out});
    require(q.rank() == 4, "attention: q [B,S,H,Dh] is wanted, {} came", q.str());
    same(o.out, o.q, "out");
    require(static_cast<bool>(o.keys[0].k), "attention: keys are wanted");
    std::int64_t last = 0;
    for (const auto& piece : o.keys) {
      if (!piece.k) continue;
      const Shape& k = t_.shape(piece.k);
      reals({piece.k, piece.v});
      same(piece.v, piece.k, "v");
      require(k.rank() == 4 && k[0] == q[0] && k[3] == q[3] && k[2] > 0 && q[2] % k[2] == 0,
              "attention: k [B,Sk,Hk,Dh] for q {} is wanted, {} came", q.str(), k.str());
      if (piece.length) integers(piece.length, q[0], "length");
      if (piece.bias) shaped(piece.bias, {k[0], k[1]}, "bias");
      last = k[1];
    }
    if (o.score_bias) shaped(o.score_bias, {q[2], q[1], t_.shape(o.keys[0].k)[1]}, "score_bias");
    require(o.visible.empty() || static_cast<std::int64_t>(o.visible.size()) == q[1],
            "attention: visible has one entry for each of {} queries, {} came", q[1],
            o.visible.size());
    for (std::int32_t n : o.visible) {
      require(n >= 0 && n <= last, "attention: visible {} of {} keys", n, last);
    }
  }
  void operator()(const ops::RmsNorm& o) const {
    reals({o.x, o.out});
    same(o.out, o.x, "out");
    const std::int64_t width = t_.shape(o.x)[-1];
    vector(o.weight, width);
    table(o.scale, o.out, width);
    table(o.shift, o.out, width);
  }
  void operator()(const ops::LayerNorm& o) const {
    reals({o.x, o.out});
    same(o.out, o.x, "out");
    const std::int64_t width = t_.shape(o.x)[-1];
    vector(o.weight, width);
    vector(o.bias, width);
    table(o.scale, o.out, width);
    table(o.shift, o.out, width);
  }
  void operator()(const ops::Rope& o) const {
    reals({o.x, o.out});
    same(o.out, o.x, "out");
    rotation(o.cos, o.sin, o.positions, t_.shape(o.x));
  }
  void operator()(const ops::QkvRope& o) const {
    reals({o.x, o.k, o.v});
    const Shape &x = t_.shape(o.x), &k = t_.shape(o.k), &w = weight(o.weight).shape;
    same(o.v, o.k, "v");
    require(x.rank() == 3 && k.rank() == 4 && k[0] == x[0] && k[1] == x[1],
            "qkv_rope: x [B,S,K] and k [B,S,Hk,Dh] are wanted, {} and {} came", x.str(), k.str());
    std::int64_t heads = 0;
    if (o.q) {
      reals({o.q});
      const Shape& q = t_.shape(o.q);
      require(q.rank() == 4 && q[0] == x[0] && q[1] == x[1] && q[3] == k[3],
              "qkv_rope: q [B,S,H,Dh] for k {} is wanted, {} came", k.str(), q.str());
      heads = q[2];
    }
    require(w.rank() == 2 && w[1] == x[2] && w[0] == (heads + 2 * k[2]) * k[3],
            "qkv_rope: weight [{},{}] is wanted, {} came", (heads + 2 * k[2]) * k[3], x[2],
            w.str());
    vector(o.bias, w[0]);
    if (o.q) vector(o.norm_q, heads * k[3]);
    vector(o.norm_k, k[2] * k[3]);
    if (o.cos) rotation(o.cos, o.sin, o.positions, k);
  }
  void operator()(const ops::Embed& o) const {
    reals({o.out});
    const Shape &ids = t_.shape(o.ids), &out = t_.shape(o.out), &w = weight(o.table).shape;
    require(t_.dtype(o.ids) == DType::i32, "embed: ids i32 are wanted");
    require(w.rank() == 2 && out[-1] == w[1] && out.numel() == ids.numel() * w[1],
            "embed: out [..,{}] for ids {} is wanted, {} came", w[1], ids.str(), out.str());
  }
  void operator()(const ops::Activation& o) const {
    reals({o.x, o.out});
    same(o.out, o.x, "out");
  }
  void operator()(const ops::GatedAct& o) const {
    reals({o.gate, o.up, o.out});
    same(o.up, o.gate, "up");
    same(o.out, o.gate, "out");
  }
  void operator()(const ops::Add& o) const { broadcast(o.a, o.b, o.out); }
  void operator()(const ops::Mul& o) const { broadcast(o.a, o.b, o.out); }
  void operator()(const ops::Axpy& o) const {
    reals({o.x, o.v, o.out});
    same(o.v, o.x, "v");
    same(o.out, o.x, "out");
    table(o.scale, o.out, 1);
  }
  void operator()(const ops::Select& o) const {
    reals({o.a, o.b, o.out});
    same(o.b, o.a, "b");
    same(o.out, o.a, "out");
    integers(o.mask, t_.shape(o.out).numel() / t_.shape(o.out)[-1], "mask");
  }
  void operator()(const ops::GatherRows& o) const {
    const Shape &x = t_.shape(o.x), &out = t_.shape(o.out);
    require(x[-1] == out[-1], "gather_rows: rows of {} into rows of {}", x[-1], out[-1]);
    converts(o.x, o.out);
    integers(o.index, out.numel() / out[-1], "index");
  }
  void operator()(const ops::Copy& o) const {
    same(o.out, o.x, "out");
    converts(o.x, o.out);
  }
  void operator()(const ops::SpaceToDepth& o) const {
    reals({o.x, o.out});
    const Shape &x = t_.shape(o.x), &y = t_.shape(o.out);
    const std::int64_t b = o.block;
    require(x.rank() == 4 && b > 0 && x[1] % b == 0 && x[2] % b == 0 &&
                y == Shape({x[0], x[1] / b, x[2] / b, x[3] * b * b}),
            "space_to_depth: blocks of {} of {} into {}", b, x.str(), y.str());
  }
  void operator()(const ops::AveragePool& o) const {
    reals({o.x, o.out});
    const Shape &x = t_.shape(o.x), &y = t_.shape(o.out);
    require(x.rank() == 4 && y.rank() == 4 && x[1] % 2 == 0 && x[2] % 2 == 0 && y[0] == x[0] &&
                y[1] * 2 == x[1] && y[2] * 2 == x[2] && o.channel_step > 0 &&
                (x[3] - 1) * o.channel_step + o.channel_offset < y[3],
            "average_pool: {} into {} with channels at {}c + {}", x.str(), y.str(), o.channel_step,
            o.channel_offset);
    if (o.residual) same(o.residual, o.out, "residual");
  }
  void operator()(const ops::Resize& o) const {
    reals({o.out});
    const Shape &f = t_.shape(o.frames), &w = t_.shape(o.weights), &y = t_.shape(o.out);
    require(f.rank() == 3 && t_.dtype(o.frames) == DType::u8 && y.rank() == 4 && y[3] == 3 &&
                y[0] == f[0],
            "resize: frames u8 [V,K,F] into [V,Y,X,3] are wanted, {} into {} came", f.str(),
            y.str());
    const int size = frame_table::size(static_cast<int>(y[1]), static_cast<int>(y[2]));
    integers(o.tables, f[0] * f[1] * size, "resize: tables");
    require(w.rank() == 3 && t_.dtype(o.weights) == DType::f32 && w[0] == f[0] && w[1] == f[1] &&
                w[2] > frame_table::kTaps,
            "resize: weights f32 [V,K,W] are wanted, {} came", w.str());
    for (Value v : {o.frames, o.tables, o.weights}) {
      require(t_.info(v).strides == dense_strides(t_.shape(v)), "resize: dense inputs are wanted");
    }
  }

 private:
  const Weight& weight(WeightRef w) const {
    require(static_cast<bool>(w), "a weight is wanted");
    return t_.program().weight(w);
  }
  void reals(std::initializer_list<Value> values) const {
    for (Value v : values) {
      require(static_cast<bool>(v), "an operand is missing");
      require(floating(t_.dtype(v)), "a floating point operand is wanted, {} came",
              name(t_.dtype(v)));
    }
  }
  void converts(Value from, Value to) const {
    const DType a = t_.dtype(from), b = t_.dtype(to);
    require(a == b || (floating(a) && floating(b)), "{} does not become {}", name(a), name(b));
  }
  void same(Value v, Value as, std::string_view what) const {
    require(static_cast<bool>(v) && t_.shape(v) == t_.shape(as), "{} {} is wanted, {} came", what,
            t_.shape(as).str(), v ? t_.shape(v).str() : "nothing");
  }
  void shaped(Value v, const Shape& shape, std::string_view what) const {
    require(t_.shape(v) == shape && t_.dtype(v) == DType::f32, "{} f32 {} is wanted, {} came", what,
            shape.str(), t_.shape(v).str());
  }
  void vector(WeightRef w, std::int64_t width) const {
    if (!w) return;
    require(weight(w).shape == Shape({width}), "{}: [{}] is wanted, {} came", weight(w).name, width,
            weight(w).shape.str());
  }
  void integers(Value v, std::int64_t count, std::string_view what) const {
    require(static_cast<bool>(v) && t_.dtype(v) == DType::i32 && t_.shape(v).numel() == count,
            "{}: {} i32 are wanted", what, count);
  }
  void product(Value x, WeightRef w, WeightRef bias, Value out) const {
    const Shape &in = t_.shape(x), &to = t_.shape(out), &matrix = weight(w).shape;
    require(matrix.rank() == 2 && matrix[1] == in[-1] && matrix[0] == to[-1] &&
                in.numel() / in[-1] == to.numel() / to[-1],
            "{}: x {} W {} out {} do not fit", weight(w).name, in.str(), matrix.str(), to.str());
    vector(bias, matrix[0]);
  }
  void table(const RowTable& table, Value out, std::int64_t width) const {
    if (!table) return;
    const Shape& shape = t_.shape(table.table);
    require(shape.rank() == 2 && t_.dtype(table.table) == DType::f32 &&
                table.column + width <= shape[1],
            "table f32 [T,W] with columns [{}, {}) is wanted, {} came", table.column,
            table.column + width, shape.str());
    if (!table.rows) return;
    const std::int64_t rows = t_.shape(out).numel() / t_.shape(out)[-1];
    const std::int64_t given = t_.shape(table.rows).numel();
    require(t_.dtype(table.rows) == DType::i32 && given > 0 && rows % given == 0,
            "table rows: i32, a divisor of {} of them, {} came", rows, given);
  }
  void rotation(Value cos, Value sin, Value positions, const Shape& x) const {
    const Shape& c = t_.shape(cos);
    require(x.rank() == 4 && x[3] % 2 == 0 && c.rank() == 2 && c[1] * 2 == x[3] &&
                t_.shape(sin) == c && t_.dtype(cos) == DType::f32 && t_.dtype(sin) == DType::f32,
            "rope: tables f32 [P,{}] are wanted, {} came", x[3] / 2, c.str());
    const std::int64_t n = t_.shape(positions).numel();
    require(t_.dtype(positions) == DType::i32 && (n == x[1] || n == x[0] * x[1]),
            "rope: positions i32 [S] or [B,S] are wanted, {} came", t_.shape(positions).str());
  }
  void broadcast(Value a, Value b, Value out) const {
    reals({a, b, out});
    same(out, a, "out");
    const Shape &sa = t_.shape(a), &sb = t_.shape(b);
    bool fits = sa.rank() == sb.rank();
    for (int i = 0; fits && i < sa.rank(); ++i) fits = sb[i] == sa[i] || sb[i] == 1;
    require(fits, "b {} does not broadcast to {}", sb.str(), sa.str());
  }

  const Trace& t_;
};

}  // namespace

void check(const Op& op, const Trace& trace) { std::visit(Checker(trace), op); }

}  // namespace tendon
