#include "backends/cuda/persistent_builder.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"

namespace tendon::cuda::persistent {
namespace {

constexpr std::int64_t kMostPlainWeights = 8 << 20;
constexpr int kMostNormed = 2 * kNormBlocks * kBlock;  // on the way in: pairs share its columns

// Memory as the hazards between phases see it.
struct Place {
  int buffer, root;
  auto operator<=>(const Place&) const = default;
};

Place place(const Trace& t, Value v) {
  const ValueInfo& info = t.info(v);
  if (info.kind == ValueInfo::Kind::buffer) return {info.buffer.id, -1};
  return {-1, info.root};
}

// Whether attention alone reads an intermediate: all of it, as queries or as the last keys.
bool defers_to_attention(const Trace& t, Value v) {
  const ValueInfo& info = t.info(v);
  if (info.kind != ValueInfo::Kind::intermediate) return false;
  if (t.program().record_taps) {
    for (const Trace::Tap& tap : t.taps()) {
      if (place(t, tap.value) == place(t, v)) return false;
    }
  }
  bool any = false;
  for (const Op& op : t.ops()) {
    for (Value read : operands(op).inputs) {
      if (place(t, read) != place(t, v)) continue;
      const auto* a = std::get_if<ops::Attention>(&op);
      if (!a || (read != a->q && read != a->keys[1].k)) return false;
      if (t.shape(read).numel() != info.shape.numel()) return false;
      any = true;
    }
  }
  return any;
}

class Builder {
 public:
  explicit Builder(Planner& planner) : planner_(planner), trace_(planner.trace()) {
    for (const Op& op : trace_.ops()) {
      for (Value v : operands(op).outputs) written_.insert(place(trace_, v));
    }
    if (trace_.program().record_taps) {
      for (const Trace::Tap& tap : trace_.taps()) tapped_.insert(place(trace_, tap.value));
    }
  }

  StepPlan build() {
    const std::vector<Op>& ops = trace_.ops();
    for (at_ = 0; at_ < ops.size(); ++at_) {
      if (skipped_.count(at_)) continue;
      planner_.begin(at_);
      std::visit([&](const auto& op) { add(op); }, ops[at_]);
    }
    require(!plan_.phases.empty(), "nothing to do");
    order();
    return std::move(plan_);
  }

 private:
  struct Norm {
    Value x;
    NormKind kind = NormKind::none;
    WeightRef weight, bias;
    float offset = 0, eps = 0;
    RowTable scale, shift;
  };

  // `early`: what is read before the phase may begin.
  void push(const Phase& phase, std::vector<Value> reads, std::vector<Value> writes,
            std::vector<Value> early = {}) {
    require(phase.items <= std::numeric_limits<std::int32_t>::max(), "{} elements", phase.items);
    plan_.phases.push_back(phase);
    plan_.ops.push_back(at_);
    auto places = [&](const std::vector<Value>& values) {
      std::set<Place> all;
      for (Value v : values) all.insert(place(trace_, v));
      return all;
    };
    for (Value v : writes) makers_.erase(place(trace_, v));
    reads_.push_back(places(reads));
    writes_.push_back(places(writes));
    early_.push_back(places(early));
    residual_.emplace_back();
  }
  void push(const Phase& phase) {
    const Operands all = operands(trace_.ops()[at_]);
    push(phase, all.inputs, all.outputs);
  }

  // A phase waits where it touches what an unfinished phase wrote, or writes what one touches. The
  // first one waits for the end of the step before.
  void order() {
    std::set<Place> read, written;
    auto meets = [](const std::set<Place>& a, const std::set<Place>& b) {
      return std::any_of(a.begin(), a.end(), [&](const Place& p) { return b.count(p) > 0; });
    };
    for (std::size_t i = 0; i < plan_.phases.size(); ++i) {
      const bool waits = i == 0 || meets(reads_[i], written) || meets(writes_[i], written) ||
                         meets(writes_[i], read);
      plan_.phases[i].waits = waits;
      // A cluster's shared memory is read by its CTAs until they arrive: what follows must wait.
      plan_.phases[i].closes = 0;
      if (i > 0) plan_.phases[i - 1].closes = !waits;
      if (plan_.phases[i].kind == Kind::product) {
        plan_.phases[i].product.late =
            i == 0 || meets(residual_[i], written) || recent(i, early_[i]);
      }
      if (waits) read.clear(), written.clear();
      read.insert(reads_[i].begin(), reads_[i].end());
      written.insert(writes_[i].begin(), writes_[i].end());
    }
  }

  // Whether a phase writes what is wanted ahead of phase i: when the phase before i begins.
  bool recent(std::size_t i, const std::set<Place>& wanted) const {
    if (wanted.empty()) return false;
    for (std::size_t k = i; k-- > 0;) {
      for (const Place& p : wanted) {
        if (writes_[k].count(p)) return true;
      }
      if (k + 2 <= i && plan_.phases[k].waits) return false;
    }
    return true;  // the step before may
  }

  bool writes(std::size_t op, const Place& p) const {
    const Operands all = operands(trace_.ops()[op]);
    return std::any_of(all.outputs.begin(), all.outputs.end(),
                       [&](Value v) { return place(trace_, v) == p; });
  }
  std::vector<std::size_t> readers(const Place& p) const {
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < trace_.ops().size(); ++i) {
      const Operands o = operands(trace_.ops()[i]);
      if (std::any_of(o.inputs.begin(), o.inputs.end(),
                      [&](Value v) { return place(trace_, v) == p; })) {
        all.push_back(i);
      }
    }
    return all;
  }
  bool half(WeightRef w) const { return trace_.program().weight(w).format == Format::bf16; }

  // The x of an op that can take a norm on the way in, else an absent value.
  Value normable(const Op& op) const {
    if (const auto* l = std::get_if<ops::Linear>(&op)) return half(l->weight) ? l->x : Value{};
    if (const auto* g = std::get_if<ops::GatedLinear>(&op)) return half(g->gate) ? g->x : Value{};
    if (const auto* q = std::get_if<ops::QkvRope>(&op)) return half(q->weight) ? q->x : Value{};
    return {};
  }

  // Whether all who read the norm's result can compute it themselves.
  bool defers(Value x, Value out) const {
    const ValueInfo& info = trace_.info(out);
    const Place p = place(trace_, out);
    if (info.kind != ValueInfo::Kind::intermediate || info.dtype != DType::bf16 ||
        tapped_.count(p) || trace_.shape(out)[-1] > kMostNormed) {
      return false;
    }
    const std::vector<std::size_t> all = readers(p);
    for (std::size_t reader : all) {
      const Value wanted = normable(trace_.ops()[reader]);
      if (!wanted || place(trace_, wanted) != p || trace_.shape(wanted) != trace_.shape(out)) {
        return false;
      }
      for (std::size_t i = at_ + 1; i < reader; ++i) {
        if (writes(i, place(trace_, x)) || writes(i, p)) return false;
      }
    }
    return !all.empty();
  }

  template <class T>
  void add_norm(const T& op, Norm norm) {
    if (defers(op.x, op.out)) {
      norms_[trace_.info(op.out).root] = norm;
      return;
    }
    Phase phase;
    phase.kind = Kind::norm;
    phase.norm = NormPhase{};
    NormPhase& p = phase.norm;
    p.x = planner_.rows(op.x), p.out = planner_.rows(op.out);
    p.kind = norm.kind, p.offset = norm.offset, p.eps = norm.eps;
    p.weight = planner_.weights().vector(norm.weight);
    p.bias = planner_.weights().vector(norm.bias);
    p.scale = planner_.table(norm.scale, p.out.count);
    p.shift = planner_.table(norm.shift, p.out.count);
    require(p.x.even() && p.out.even(), "rows of several batches that lie apart");
    require(p.x.width <= kThreads * 12, "a norm of {} columns", p.x.width);
    push(phase);
  }
  void add(const ops::RmsNorm& op) {
    add_norm(op,
             {op.x, NormKind::rms, op.weight, {}, op.weight_offset, op.eps, op.scale, op.shift});
  }
  void add(const ops::LayerNorm& op) {
    add_norm(op, {op.x, NormKind::layer, op.weight, op.bias, 0.0f, op.eps, op.scale, op.shift});
  }

  // The value that an op's result is copied to and used from, or `out` itself; the copy is skipped.
  Value through_copy(Value out) {
    const ValueInfo& info = trace_.info(out);
    const Place p = place(trace_, out);
    if (info.kind != ValueInfo::Kind::intermediate || tapped_.count(p)) return out;
    const std::vector<std::size_t> all = readers(p);
    if (all.size() != 1 || all[0] < at_) return out;
    const auto* copy = std::get_if<ops::Copy>(&trace_.ops()[all[0]]);
    if (!copy || trace_.shape(copy->x) != trace_.shape(out) || copy->x != out) return out;
    const Place to = place(trace_, copy->out);
    for (std::size_t i = at_; i < all[0]; ++i) {
      const Operands o = operands(trace_.ops()[i]);
      for (const auto& values : {o.inputs, o.outputs}) {
        for (Value v : values) {
          if (place(trace_, v) == to) return out;
        }
      }
    }
    skipped_.insert(all[0]);
    return copy->out;
  }

  // Fills in what every product has; the values it reads beside its own operands go to `reads`.
  ProductPhase product(Value x, int n, std::vector<Value>& reads, std::vector<Value>& early) {
    ProductPhase p;
    Value from = x;
    const auto norm = norms_.find(trace_.info(x).root);
    if (norm != norms_.end()) {
      const Norm& w = norm->second;
      from = w.x;
      p.norm = w.kind, p.offset = w.offset, p.eps = w.eps;
      p.norm_weight = planner_.weights().vector(w.weight);
      p.norm_bias = planner_.weights().vector(w.bias);
      const std::int64_t rows = trace_.shape(x).numel() / trace_.shape(x)[-1];
      p.scale = planner_.table(w.scale, rows), p.shift = planner_.table(w.shift, rows);
      for (const device::TableView& t : {p.scale, p.shift}) {
        p.rows_differ |= t.index && t.rows < rows;
        require(vector_width(t, 8) == 8, "a norm's table at an odd place");
      }
      for (const RowTable& t : {w.scale, w.shift}) {
        if (t.rows) early.push_back(t.rows);
      }
    }
    reads.push_back(from);
    p.x = planner_.rows(from);
    require(p.x.dtype == DType::bf16, "a product of {} rows in {}", p.x.count, name(p.x.dtype));
    p.m = p.x.count, p.k = p.x.width, p.n = n;
    p.inverse_k = 1.0f / static_cast<float>(p.k);
    require(p.m <= kMostRows, "a product of {} rows, at most {} are wanted", p.m, kMostRows);
    require(vector_width({p.x}) == 8, "{} inputs at an odd place", p.k);
    for (const float* q : {p.norm_weight, p.norm_bias}) {
      require(reinterpret_cast<std::uintptr_t>(q) % 16 == 0, "a norm's weight at an odd place");
    }
    p.blocks = (p.k + kBlock - 1) / kBlock;
    if (p.norm != NormKind::none) link(p, place(trace_, from), norm->second);
    p.units = (n + kColumns - 1) / kColumns;
    p.turn = static_cast<int>(plan_.weights.size()) * 7;
    return p;
  }

  // Where the phase that is about to be pushed norms what a product made.
  void link(const ProductPhase& p, const Place& x, const Norm& norm) {
    const auto found = makers_.find(x);
    if (found == makers_.end()) return;
    const device::RowsView& made = plan_.phases[found->second].product.out;
    if (made.data != p.x.data || made.count != p.m || made.width != p.k) return;
    SumsLink link{found->second, plan_.phases.size(), nullptr, nullptr};
    link.sums = static_cast<float*>(zeros(sizeof(float) * 2 * kMostGroups * kMostRows));
    bool fixed = true;
    for (const RowTable& t : {norm.scale, norm.shift}) {
      fixed &= !t || (!written_.count(place(trace_, t.table)) &&
                      !(t.rows && written_.count(place(trace_, t.rows))));
    }
    if (fixed) link.scaled = zeros(static_cast<std::size_t>(p.m) * p.k * 2);
    plan_.links.push_back(link);
  }

  void push_product(const ProductPhase& p, const PackedWeights& weights, std::vector<Value> reads,
                    std::vector<Value> writes, std::vector<Value> early) {
    for (const device::RowsView& v : {p.x, p.residual, p.out, p.q, p.key, p.value}) {
      require(v.even(), "rows of several batches that lie apart");
    }
    reads.insert(reads.end(), early.begin(), early.end());
    require(!p.gate.data || vector_width(p.gate, 8) == 8, "a gate's table at an odd place");
    for (const float* q :
         {p.bias, p.up_bias, p.after_q, p.after_key, p.rotation.cos, p.rotation.sin}) {
      require(reinterpret_cast<std::uintptr_t>(q) % 16 == 0, "operands of results at an odd place");
    }
    Phase phase;
    phase.kind = Kind::product;
    phase.product = p;
    plan_.weights.push_back({plan_.phases.size(), weights.a, weights.b});
    push(phase, std::move(reads), std::move(writes), std::move(early));
  }

  static void require_pairs(const device::RowsView& v) {
    const bool known = v.dtype == DType::bf16 || v.dtype == DType::f32 || v.dtype == DType::f16;
    const std::size_t two = 2 * size_of(v.dtype);
    require(!v.data || (known && v.row_stride % 2 == 0 && v.width % 2 == 0 &&
                        reinterpret_cast<std::uintptr_t>(v.data) % two == 0),
            "results in {} or at an odd place", name(v.dtype));
  }

  // The place of squares that a norm's readers add up.
  float* squares(int rows) {
    return static_cast<float*>(
        zeros(static_cast<std::size_t>(4 * kMostGroups * rows) * sizeof(float)));
  }
  void* zeros(std::size_t bytes) {
    const std::vector<std::byte> none(bytes);
    return const_cast<void*>(planner_.constant(none.data(), bytes));
  }
  // Parts are known when the number of groups is.
  static RowFactor factor(const float* sums, int rows, int width, float eps) {
    return {sums, 0, 2 * rows, 1.0f / static_cast<float>(width), eps};
  }

  // A norm of the product's result that attention alone reads as its queries: its weights are
  // applied here, its factor there. The value that takes its place, or absent.
  Value query_norm(const ops::Linear& op, Value out, ProductPhase& p) {
    const std::vector<std::size_t> all = readers(place(trace_, out));
    const bool simple = op.act == Act::none && !op.gate && !op.residual && all.size() == 1;
    const auto* norm =
        simple && all[0] > at_ ? std::get_if<ops::RmsNorm>(&trace_.ops()[all[0]]) : nullptr;
    if (!norm || norm->x != out || norm->scale || norm->shift || norm->weight_offset != 0 ||
        !norm->weight || trace_.dtype(norm->out) != trace_.dtype(out) ||
        tapped_.count(place(trace_, out)) || !defers_to_attention(trace_, norm->out)) {
      return {};
    }
    p.after_q = planner_.weights().vector(norm->weight);
    p.squares = squares(p.m);
    factors_[trace_.info(norm->out).root] = factor(p.squares, p.m, p.n, norm->eps);
    skipped_.insert(all[0]);
    return norm->out;
  }

  void add(const ops::Linear& op) {
    const bool deferred = norms_.count(trace_.info(op.x).root) > 0;
    Value out = through_copy(op.out);
    if (!half(op.weight) || (!deferred && trace_.dtype(op.x) != DType::bf16)) {
      add_plain(op, out);
      return;
    }
    std::vector<Value> reads, early;
    if (op.residual) reads.push_back(op.residual);
    if (op.gate.rows) early.push_back(op.gate.rows);
    ProductPhase p = product(op.x, static_cast<int>(trace_.shape(op.out)[-1]), reads, early);
    p.bias = planner_.weights().vector(op.bias);
    p.curve = curve_of(op.act);
    p.gate = planner_.table(op.gate, p.m);
    if (const Value normed = query_norm(op, out, p)) out = normed;
    p.residual = planner_.rows(op.residual), p.out = planner_.rows(out);
    require_pairs(p.out);
    require(vector_width({p.residual, p.out}) == 8, "results of {} columns or at an odd place",
            p.n);
    push_product(p, {0, op.weight, {}}, reads, {out}, early);
    if (op.residual) residual_.back() = {place(trace_, op.residual)};
    makers_[place(trace_, out)] = plan_.phases.size() - 1;
  }

  void add_plain(const ops::Linear& op, Value out) {
    Phase phase;
    phase.kind = Kind::plain_product;
    phase.plain = PlainProductPhase{};
    PlainProductPhase& p = phase.plain;
    p.x = planner_.rows(op.x), p.out = planner_.rows(out), p.residual = planner_.rows(op.residual);
    p.m = p.x.count, p.n = p.out.width, p.k = p.x.width;
    require(std::int64_t{p.n} * p.k <= kMostPlainWeights, "an fp32 product of {} x {} weights", p.n,
            p.k);
    p.weight = static_cast<const float*>(planner_.weights().matrix(op.weight, DType::f32));
    p.bias = planner_.weights().vector(op.bias);
    p.curve = curve_of(op.act);
    p.gate = planner_.table(op.gate, p.m);
    require(p.x.even() && p.out.even() && p.residual.even(),
            "rows of several batches that lie apart");
    p.vectors = p.x.dtype == DType::f32 && vector_width({p.x}) == 8;
    push(phase, operands(trace_.ops()[at_]).inputs, {out});
  }

  void add(const ops::GatedLinear& op) {
    require(half(op.gate) && half(op.up), "a gated product in fp32");
    std::vector<Value> reads, early;
    ProductPhase p = product(op.x, static_cast<int>(trace_.shape(op.out)[-1]), reads, early);
    require(p.n % 4 == 0, "a gated product of {} columns", p.n);
    p.columns = Columns::gated;
    p.units = p.n / 4;
    p.bias = planner_.weights().vector(op.gate_bias);
    p.up_bias = planner_.weights().vector(op.up_bias);
    p.curve = curve_of(op.act);
    p.out = planner_.rows(op.out);
    require_pairs(p.out);
    push_product(p, {0, op.gate, op.up}, reads, {op.out}, early);
  }

  void add(const ops::QkvRope& op) {
    require(half(op.weight), "q, k and v in fp32");
    std::vector<Value> reads, writes = {op.k, op.v}, early;
    ProductPhase p =
        product(op.x, static_cast<int>(trace_.program().weight(op.weight).shape[0]), reads, early);
    const Shape& k = trace_.shape(op.k);
    p.head = static_cast<int>(k[3]);
    p.key_columns = static_cast<int>(k[2] * k[3]);
    p.q_columns = p.n - 2 * p.key_columns;
    require(p.head % 16 == 0, "heads of {}", p.head);
    p.columns = Columns::pairs;
    p.inverse_half = 2.0f / static_cast<float>(p.head);
    p.bias = planner_.weights().vector(op.bias);
    if (op.cos) {
      p.rotation = {planner_.data<const float>(op.cos), planner_.data<const float>(op.sin),
                    planner_.data<const std::int32_t>(op.positions),
                    static_cast<int>(trace_.shape(op.positions).numel()),
                    op.style == ops::RopeStyle::interleaved};
      require(!written_.count(place(trace_, op.positions)), "positions that a step writes");
      require(!plan_.positions || (plan_.positions == p.rotation.positions &&
                                   plan_.position_count == p.rotation.position_count),
              "rotations by several positions");
      plan_.positions = p.rotation.positions, plan_.position_count = p.rotation.position_count;
    }
    if (op.q) p.q = planner_.rows(op.q), writes.push_back(op.q);
    p.key = planner_.rows(op.k), p.value = planner_.rows(op.v);
    for (const device::RowsView& v : {p.q, p.key, p.value}) require_pairs(v);
    if (op.norm_q || op.norm_k) add_head_norms(op, p);
    push_product(p, {0, op.weight, {}}, reads, writes, early);
  }

  void add_head_norms(const ops::QkvRope& op, ProductPhase& p) {
    require(defers_head_norms(trace_, op), "q and k with norms that others read");
    p.after_q = planner_.weights().vector(op.norm_q);
    p.after_key = planner_.weights().vector(op.norm_k);
    p.squares = squares(p.m);
    const float* keys = p.squares + p.m;
    factors_[trace_.info(op.q).root] = factor(p.squares, p.m, p.q_columns, op.eps);
    factors_[trace_.info(op.k).root] = factor(keys, p.m, p.key_columns, op.eps);
  }

  // The factor of a norm that the value's producer left, if any.
  RowFactor factor_of(Value v) const {
    const ValueInfo& info = trace_.info(v);
    const auto found =
        info.kind == ValueInfo::Kind::intermediate ? factors_.find(info.root) : factors_.end();
    return found == factors_.end() ? RowFactor{} : found->second;
  }

  void add(const ops::Attention& op) {
    Phase phase;
    phase.kind = Kind::attention;
    phase.attention = AttentionPhase{};
    phase.attention.args = attention_args(planner_, op);
    const AttentionArgs& a = phase.attention.args;
    const bool fits = suits_tensor_cores(a) && !a.score_bias &&
                      a.width <= (a.piece[0].k_dtype == DType::f16 ? 128 : 256) &&
                      a.q_dtype == a.piece[0].k_dtype && a.out_row % 8 == 0 && a.out_head % 8 == 0;
    require(fits, "attention of head width {} in {}", a.width, name(a.q_dtype));
    require(plan_.heads_width == 0 || plan_.heads == a.q_dtype, "heads of several dtypes");
    plan_.heads = a.q_dtype, plan_.heads_width = std::max(plan_.heads_width, a.width);
    const AttentionUnits units = attention_units(a);
    phase.attention.units = units.count;
    phase.attention.unit_rows = units.rows;
    plan_.unit_rows = std::max(plan_.unit_rows, units.rows);
    phase.attention.cached = !written_.count(place(trace_, op.keys[0].k)) &&
                             !written_.count(place(trace_, op.keys[0].v));
    phase.attention.inverse_rows = 1.0f / static_cast<float>(a.rows);
    phase.attention.q = factor_of(op.q);
    require(!factor_of(op.keys[0].k).sums, "norms of the first piece of keys");
    for (const ops::Attention::Keys& keys : op.keys) {
      require(!keys.length || !written_.count(place(trace_, keys.length)),
              "numbers of keys that a step writes");
    }
    if (op.keys[1].k) phase.attention.own_keys = factor_of(op.keys[1].k);
    push(phase);
  }

  template <class T>
  void add_rows(const T& op) {
    Phase phase;
    phase.kind = Kind::rows;
    phase.rows = rows_args(planner_, op);
    phase.items = std::int64_t{phase.rows.out.count} * phase.rows.out.width;
    push(phase);
  }
  template <class T>
  void add_strided(const T& op) {
    Phase phase;
    phase.kind = Kind::strided;
    phase.strided = strided_args(planner_, op);
    phase.items = trace_.shape(op.out).numel();
    push(phase);
  }
  void add(const ops::Activation& op) { add_rows(op); }
  void add(const ops::GatedAct& op) { add_rows(op); }
  void add(const ops::Axpy& op) { add_rows(op); }
  void add(const ops::Select& op) { add_rows(op); }
  void add(const ops::Copy& op) { add_strided(op); }
  void add(const ops::Add& op) { add_strided(op); }
  void add(const ops::Mul& op) { add_strided(op); }
  void add(const ops::GatherRows& op) {
    Phase phase;
    phase.kind = Kind::gather;
    phase.gather = gather_args(planner_, op);
    phase.items = trace_.shape(op.out).numel();
    push(phase);
  }
  template <class T>
  void add(const T&) {
    fail("{} has no phase", name(trace_.ops()[at_]));
  }

  Planner& planner_;
  const Trace& trace_;
  std::size_t at_ = 0;
  StepPlan plan_;
  std::vector<std::set<Place>> reads_, writes_, early_, residual_;  // by phase
  std::set<Place> written_, tapped_;
  std::set<std::size_t> skipped_;
  std::map<Place, std::size_t> makers_;  // of plain products, the phase that wrote a place last
  std::map<std::int32_t, Norm> norms_;   // by root of the norm's result
  std::map<std::int32_t, RowFactor> factors_;  // by root of what still wants it
};

}  // namespace

bool defers_head_norms(const Trace& trace, const ops::QkvRope& op) {
  return op.norm_q && op.norm_k && op.q && defers_to_attention(trace, op.q) &&
         defers_to_attention(trace, op.k);
}

StepPlan build_step(Planner& planner) { return Builder(planner).build(); }

}  // namespace tendon::cuda::persistent
