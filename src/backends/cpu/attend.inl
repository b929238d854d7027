// One tile of attention. Scores are kept transposed, [key][query], so that a query is a lane:
// maxima, sums and masks need no horizontal step, and both products are those of product.inl with
// keys and values read as they lie. Included after product.inl.

constexpr float kNoScore = -__builtin_inff();

// c[rows, kColumns] = (or +=) a b, `rows` split into blocks of kTileRows; `next` moves a to row r.
template <class A>
TENDON_INLINE void multiply_column(const float* a, std::int64_t a_next, A at_a,
                                   PanelProduct<float> p, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; r += kTileRows) {
    const int n = static_cast<int>(rows - r < kTileRows ? rows - r : kTileRows);
    multiply_rows<kTileRows>(n, a + r * a_next, at_a, p);
    p.c += kTileRows * p.c_row;
  }
}

void bias_scores(const AttentionTile& t, std::int64_t panel) {
  for (std::int64_t key = 0; key < t.keys; ++key) {
    float* row = t.scores + key * kColumns;
    if (t.key_bias) {
      store(row, load(row) + t.key_bias[key]);
      store(row + W, load(row + W) + t.key_bias[key]);
    }
    if (!t.lane_bias) continue;
    for (int j = 0; j < kColumns; ++j) {
      const float* bias = t.lane_bias[panel * kColumns + j];
      if (bias) row[j] += bias[key];
    }
  }
}

void limit_scores(const AttentionTile& t, std::int64_t panel) {
  I seen[kVectors];
  __builtin_memcpy(seen, t.limit + panel * kColumns, sizeof seen);
  for (std::int64_t key = 0; key < t.keys; ++key) {
    float* row = t.scores + key * kColumns;
    for (int j = 0; j < kVectors; ++j) {
      const F s = load(row + j * W);
      store(row + j * W, I{} + static_cast<std::int32_t>(key) < seen[j] ? s : splat(kNoScore));
    }
  }
}

// What was summed before is to be multiplied by this, for the W lanes of each vector.
struct Factors {
  F v[kVectors];
};

// Scores to weights, 1 for the greatest so far, 1.8e-35 for those that are not seen; peak and total
// of a panel's lanes move on. Its vectors go side by side: each alone waits for its own sums.
TENDON_INLINE Factors weigh(float* scores, std::int64_t keys, float* peak, float* total) {
  F top[kVectors], base[kVectors], sum[kVectors];
  Factors factors;
  for (int j = 0; j < kVectors; ++j) top[j] = load(peak + j * W);
  for (std::int64_t key = 0; key < keys; ++key) {
    for (int j = 0; j < kVectors; ++j) {
      top[j] = larger(load(scores + key * kColumns + j * W), top[j]);
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    base[j] = top[j] == splat(kNoScore) ? F{} : top[j];  // -inf - -inf is no number
    factors.v[j] = exponential_below_zero(load(peak + j * W) - base[j]);
    sum[j] = load(total + j * W) * factors.v[j];
    store(peak + j * W, top[j]);
  }
  for (std::int64_t key = 0; key < keys; ++key) {
    for (int j = 0; j < kVectors; ++j) {
      float* at = scores + key * kColumns + j * W;
      const F e = exponential_below_zero(load(at) - base[j]);
      store(at, e);
      sum[j] += e;
    }
  }
  for (int j = 0; j < kVectors; ++j) store(total + j * W, sum[j]);
  return factors;
}

// Scores of a panel, biased and limited, to weights; what its lanes summed before follows.
void weigh_panel(const AttentionTile& t, std::int64_t panel) {
  const std::int64_t area = t.head_width * kColumns, lane = panel * kColumns;
  if (t.key_bias || t.lane_bias) bias_scores(t, panel);
  if (t.limit) limit_scores(t, panel);
  const Factors factors = weigh(t.scores, t.keys, t.peak + lane, t.total + lane);
  float* sum_panel = t.sum + panel * area;
  for (std::int64_t d = 0; d < area; d += kColumns) {
    for (int j = 0; j < kVectors; ++j) {
      store(sum_panel + d + j * W, load(sum_panel + d + j * W) * factors.v[j]);
    }
  }
}

void attend(const AttentionTile& t) {
  const std::int64_t area = t.head_width * kColumns;
  for (std::int64_t panel = 0; panel * kColumns < t.lanes; ++panel) {
    multiply_column(t.k, t.k_row, RowMajor{t.k_row},
                    {t.q + panel * area, t.scores, kColumns, t.head_width, true}, t.keys);
    weigh_panel(t, panel);
    float* sum_panel = t.sum + panel * area;
    multiply_column(t.v, 1, Grouped{t.v_row}, {t.scores, sum_panel, kColumns, t.keys, false},
                    t.head_width);
  }
}

// Parts 1 .. count - 1 into part 0, all of them states of the same panel of queries.
void merge_parts(const AttentionPart* parts, std::int64_t count, std::int64_t head_width) {
  for (int j = 0; j < kColumns; j += W) {
    F top = load(parts[0].peak + j);
    for (std::int64_t p = 1; p < count; ++p) top = larger(load(parts[p].peak + j), top);
    const F base = top == splat(kNoScore) ? F{} : top;
    F total{};
    for (std::int64_t p = 0; p < count; ++p) {
      const F factor = exponential_below_zero(load(parts[p].peak + j) - base);
      total += load(parts[p].total + j) * factor;
      float* to = parts[0].sum + j;
      const float* from = parts[p].sum + j;
      for (std::int64_t d = 0; d < head_width * kColumns; d += kColumns) {
        const F scaled = load(from + d) * factor;
        store(to + d, p == 0 ? scaled : load(to + d) + scaled);
      }
    }
    store(parts[0].total + j, total);
  }
}

// Sums of a panel by what the weights of their lanes add up to: 1 for the greatest and more, or
// next to nothing where a lane saw no key, which becomes 0.
void divide_sums(float* sum, const float* total, std::int64_t width) {
  F factor[kVectors];
  for (int j = 0; j < kVectors; ++j) {
    const F t = load(total + j * W);
    factor[j] = t > splat(0.5f) ? 1.0f / t : F{};
  }
  for (std::int64_t d = 0; d < width; ++d, sum += kColumns) {
    for (int j = 0; j < kVectors; ++j) store(sum + j * W, load(sum + j * W) * factor[j]);
  }
}

// bf16 of row 2i in the lower half of a lane, of row 2i + 1 in the upper.
void to_pairs(const float* rows, std::int64_t count, std::int64_t total, std::byte* out) {
  const std::int64_t both = count / 2 * 2;
  for (std::int64_t r = 0; r < total; r += 2, rows += 2 * kColumns) {
    for (int j = 0; j < kColumns; j += W, out += W * 4) {
      U pair{};
      if (r < both) {
        pair = bf16_above(load(rows + j)) >> 16 | bf16_above(load(rows + kColumns + j));
      } else if (r < count) {
        pair = bf16_above(load(rows + j)) >> 16;
      }
      *reinterpret_cast<LooseU*>(out) = pair;
    }
  }
}

void to_lanes(const float* rows, std::int64_t pitch, std::int64_t width, float* panel) {
  for (int half = 0; half < kVectors; ++half, rows += W * pitch, panel += W) {
    for (std::int64_t d = 0; d < width; d += W) {
      F m[W];
      for (int r = 0; r < W; ++r) m[r] = load(rows + r * pitch + d);
      transpose(m);
      for (int j = 0; j < W && d + j < width; ++j) store(panel + (d + j) * kColumns, m[j]);
    }
  }
}

void from_lanes(const float* panel, std::int64_t width, std::int64_t pitch, float* rows) {
  for (int half = 0; half < kVectors; ++half, rows += W * pitch, panel += W) {
    for (std::int64_t d = 0; d < width; d += W) {
      F m[W] = {};
      for (int j = 0; j < W && d + j < width; ++j) m[j] = load(panel + (d + j) * kColumns);
      transpose(m);
      for (int r = 0; r < W; ++r) store(rows + r * pitch + d, m[r]);
    }
  }
}
