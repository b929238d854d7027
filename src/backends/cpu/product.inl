// Products of an fp32 tile of activations with packed panels of weights. Included after simd.inl.

constexpr int kVectors = 2;  // a panel's columns in vectors
constexpr int kColumns = kVectors * W;
constexpr int kTileRows = W == 16 ? 12 : W == 8 ? 6 : 4;  // fills the registers with accumulators
// Widening pairs takes registers too: with 6 rows AVX2 spills (67 GFLOP/s instead of 100, Zen 3
// core).
constexpr int kPairRows = W == 16 ? 12 : W == 8 ? 5 : 3;
constexpr std::int64_t kDepth = 512;  // of K at once: a 12 KB slice of a, 16-32 KB of a panel

// How a tile of a is addressed: element (r, k) at a[r * row + k * step].
struct RowMajor {
  std::int64_t row;
  TENDON_INLINE float operator()(const float* a, int r, std::int64_t k) const {
    return a[r * row + k];
  }
};
struct Grouped {
  std::int64_t step;
  TENDON_INLINE float operator()(const float* a, int r, std::int64_t k) const {
    return a[k * step + r];
  }
};

template <int R>
struct Accumulators {
  F v[R][kVectors];
};

template <int R, class A>
TENDON_INLINE void multiply_add(Accumulators<R>& acc, const float* a, std::int64_t k, A at_a, F b0,
                                F b1) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const F x = splat(at_a(a, r, k));
    acc.v[r][0] += x * b0;
    acc.v[r][1] += x * b1;
  }
}

constexpr std::int64_t kAskedParts = 4;

// What is asked for while step `step` of a panel is multiplied: a little further on in it, or the
// panel after it, at four places in turns, of each of which the processor then fetches ahead by
// itself: one row by weights from memory 15 to 30% faster on Zen 3.
template <class Element>
struct Ahead {
  TENDON_INLINE void operator()(const Element* b, std::int64_t) const {
    __builtin_prefetch(b + 16 * kColumns);
  }
};
template <class Element>
struct NextPanel {
  const Element* next;
  std::int64_t part;  // elements
  TENDON_INLINE void operator()(const Element*, std::int64_t step) const {
    const Element* at = next + step % kAskedParts * part + step / kAskedParts * kColumns;
    for (int i = 0; i < kColumns; i += 64 / static_cast<int>(sizeof(Element))) {
      __builtin_prefetch(at + i, 0, 2);
    }
  }
};

// bf16 pairs: the even element of a lane is its low half, the odd one its high half.
template <int R, class A, class Ask>
TENDON_INLINE void run_panel(Accumulators<R>& acc, const float* a, A at_a, const std::uint32_t* b,
                             std::int64_t k, Ask ask) {
  const auto word = [](const std::uint32_t* p) { return *reinterpret_cast<const LooseU*>(p); };
  std::int64_t i = 0;
  for (; i + 1 < k; i += 2, b += kColumns) {
    const U u0 = word(b), u1 = word(b + W);
    ask(b, i / 2);
    multiply_add(acc, a, i, at_a, bits(u0 << 16), bits(u1 << 16));
    multiply_add(acc, a, i + 1, at_a, bits(u0 & 0xffff0000u), bits(u1 & 0xffff0000u));
  }
  if (i < k) multiply_add(acc, a, i, at_a, bits(word(b) << 16), bits(word(b + W) << 16));
}

template <int R, class A, class Ask>
TENDON_INLINE void run_panel(Accumulators<R>& acc, const float* a, A at_a, const float* b,
                             std::int64_t k, Ask ask) {
  for (std::int64_t i = 0; i < k; ++i, b += kColumns) {
    ask(b, i);
    multiply_add(acc, a, i, at_a, load(b), load(b + W));
  }
}

template <class Element>
struct PanelProduct {
  const Element* b;
  float* c;
  std::int64_t c_row, k;
  bool first;                     // start from zero, not from c
  const Element* next = nullptr;  // where memory is the limit: the panel after it, or past the last
};

template <int R, class A, class Element>
void multiply_block(const float* a, A at_a, PanelProduct<Element> p) {
  Accumulators<R> acc{};
  if (!p.first) {
    for (int r = 0; r < R; ++r) {
      for (int j = 0; j < kVectors; ++j) acc.v[r][j] = load(p.c + r * p.c_row + j * W);
    }
  }
  const std::int64_t steps = std::is_same_v<Element, float> ? p.k : p.k / 2;
  if (R == 1 && p.next) {
    const std::int64_t part = (steps + kAskedParts - 1) / kAskedParts * kColumns;
    run_panel(acc, a, at_a, p.b, p.k, NextPanel<Element>{p.next, part});
  } else {
    run_panel(acc, a, at_a, p.b, p.k, Ahead<Element>{});
  }
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < kVectors; ++j) store(p.c + r * p.c_row + j * W, acc.v[r][j]);
  }
}

// R rows, R known when running.
template <int R, class A, class Element>
TENDON_INLINE void multiply_rows(int rows, const float* a, A at_a, PanelProduct<Element> p) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_block<R>(a, at_a, p);
    multiply_rows<R - 1>(rows, a, at_a, p);
  }
}

template <class Element>
const Element* panel_at(const ProductTile& t, std::int64_t panel, std::int64_t k) {
  const auto* b = reinterpret_cast<const Element*>(t.b + panel * t.panel_bytes);
  return b + (std::is_same_v<Element, float> ? k : k / 2) * kColumns;
}

template <class Element, class A>
void multiply_slice(const ProductTile& t, A at_a, std::int64_t from, std::int64_t depth) {
  for (std::int64_t row = 0; row < t.rows; row += t.group) {
    const int rows = static_cast<int>(t.rows - row < t.group ? t.rows - row : t.group);
    const float* a = t.a_row ? t.a + row * t.a_row + from : t.a + row * t.k + from * t.group;
    PanelProduct<Element> p{nullptr, t.c + row * t.c_row, t.c_row, depth, from == 0};
    for (std::int64_t panel = 0; panel < t.panels; ++panel, p.c += kColumns) {
      p.b = panel_at<Element>(t, panel, from);
      if (t.rows == 1) p.next = panel_at<Element>(t, panel + 1, from);
      multiply_rows<kTileRows>(rows, a, at_a, p);
    }
  }
}

template <class Element>
void multiply_as(const ProductTile& t) {
  const std::int64_t most = t.rows == 1 ? t.k : kDepth;  // slices pay where rows share them
  for (std::int64_t from = 0; from < t.k; from += most) {
    const std::int64_t depth = t.k - from < most ? t.k - from : most;
    if (t.a_row) {
      multiply_slice<Element>(t, RowMajor{t.a_row}, from, depth);
    } else {
      multiply_slice<Element>(t, Grouped{t.group}, from, depth);
    }
  }
}

void multiply_tile(const ProductTile& t) {
  if (t.type == PanelType::bf16) {
    multiply_as<std::uint32_t>(t);
  } else {
    multiply_as<float>(t);
  }
}

// [rows, n] -> [n][group], group <= W. A store spills W - group lanes into the next k, which comes
// after it; the last ones stop at the end.
TENDON_INLINE void interleave(const float* wide, std::int64_t pitch, const PackGroup& g,
                              std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += W) {
    F m[W] = {};
    for (int r = 0; r < W; ++r) {
      if (r < g.rows) m[r] = load(wide + r * pitch + i);
    }
    transpose(m);
    for (int j = 0; j < W && i + j < n; ++j) {
      float* to = out + (i + j) * g.group;
      if (i + j + W <= n) {
        store(to, m[j]);
      } else {
        store_part(to, m[j], g.group);
      }
    }
  }
}

void pack_group(const PackGroup& g) {
  constexpr std::int64_t kRun = 128;
  const std::int64_t size = g.from == DType::f32 ? 4 : 2;
  const auto* bytes = static_cast<const std::byte*>(g.x);
  float wide[(W > kTileRows ? W : kTileRows) * kRun];
  for (std::int64_t at = 0; at < g.k; at += kRun) {
    const std::int64_t n = g.k - at < kRun ? g.k - at : kRun;
    for (std::int64_t r = 0; r < g.rows; ++r) {
      load_row(g.from, bytes + r * g.row_bytes + at * size, n, wide + r * kRun);
    }
    float* to = g.out + at * g.group;
    if (g.rows > 1 || g.group == 1) {
      interleave(wide, kRun, g, n, to);
    } else {  // one row into a group of several: its neighbours stay
      for (std::int64_t i = 0; i < n; ++i) to[i * g.group] = wide[i];
    }
  }
}

void pack_wide_panel(const float* w, std::int64_t rows, std::int64_t k, float* panel) {
  for (std::int64_t i = 0; i < k; ++i, panel += kColumns) {
    for (std::int64_t r = 0; r < kColumns; ++r) panel[r] = r < rows ? w[r * k + i] : 0.0f;
  }
}

void pack_pairs_panel(const float* w, std::int64_t rows, std::int64_t k, std::uint32_t* panel) {
  constexpr std::int64_t kRun = 256;
  std::uint16_t narrow[kRun + 1] = {};
  for (std::int64_t at = 0; at < k; at += kRun) {
    const std::int64_t n = k - at < kRun ? k - at : kRun;
    for (std::int64_t r = 0; r < kColumns; ++r) {
      if (r < rows) {
        store_row(DType::bf16, w + r * k + at, n, narrow);
      } else {
        __builtin_memset(narrow, 0, sizeof narrow);
      }
      narrow[n] = 0;
      std::uint32_t* lane = panel + at / 2 * kColumns + r;
      for (std::int64_t p = 0; p < (n + 1) / 2; ++p) {
        __builtin_memcpy(lane + p * kColumns, narrow + 2 * p, 4);
      }
    }
  }
}

void pack_panel(PanelType type, const float* w, std::int64_t rows, std::int64_t k,
                std::byte* panel) {
  if (type == PanelType::f32) {
    pack_wide_panel(w, rows, k, reinterpret_cast<float*>(panel));
  } else {
    pack_pairs_panel(w, rows, k, reinterpret_cast<std::uint32_t*>(panel));
  }
}
