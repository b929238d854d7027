#include "backends/cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/half.h"

namespace tendon::cpu {
namespace {

// Every instruction set of this machine.
class KernelsTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (detect(GetParam()) != GetParam()) GTEST_SKIP() << "not on this machine";
  }
  const Kernels& k() const { return kernels(GetParam()); }
  std::vector<float> uniform(std::int64_t n, float low, float high) {
    std::uniform_real_distribution<float> values(low, high);
    std::vector<float> v(static_cast<std::size_t>(n));
    for (float& x : v) x = values(random_);
    return v;
  }

 private:
  std::mt19937 random_{7};
};

INSTANTIATE_TEST_SUITE_P(Isas, KernelsTest, testing::Values(Isa::baseline, Isa::avx2, Isa::avx512),
                         [](const auto& isa) { return std::string(name(isa.param)); });

double exact(Act act, double x) {
  switch (act) {
    case Act::silu:
      return x / (1 + std::exp(-x));
    case Act::gelu_erf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Act::gelu_tanh: {
      const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
      return x / (1 + std::exp(-2 * u));
    }
    case Act::none:
      return x;
  }
  return 0;
}

TEST_P(KernelsTest, ActivationsKeepTheirRelativeAccuracy) {
  for (Act act : {Act::silu, Act::gelu_tanh, Act::gelu_erf}) {
    std::vector<float> x = uniform(20001, -9, 9);
    x.insert(x.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 30.0f, 200.0f, 1e30f});
    std::vector<float> y = x;
    k().activate(act, y.data(), static_cast<std::int64_t>(y.size()));
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = exact(act, x[i]);
      // The exponent -x^2 itself carries an error of |x|^2 / 2^24 far out.
      const double unit = std::ldexp(1.0, -24) * (4 + x[i] * x[i]) * std::abs(want) + 1e-37;
      worst = std::max(worst, std::abs(y[i] - want) / unit);
    }
    EXPECT_LT(worst, 3.0) << static_cast<int>(act);
  }
}

TEST_P(KernelsTest, ActivationsEndWhereTheirLimitsAre) {
  for (Act act : {Act::silu, Act::gelu_tanh, Act::gelu_erf}) {
    float x[] = {-200.0f, -1e30f, 1e30f};
    k().activate(act, x, 3);
    EXPECT_NEAR(x[0], 0, 1e-30);
    EXPECT_NEAR(x[1], 0, 1e-7);
    EXPECT_EQ(x[2], 1e30f);
  }
}

TEST_P(KernelsTest, HalvesRoundAsTheBaseDoes) {
  std::vector<float> x = uniform(1003, -70000, 70000);
  for (float s : {1e-8f, 1e-5f, 1e-40f, 3e38f}) {
    for (float f : uniform(301, -s, s)) x.push_back(f);
  }
  x.insert(x.end(), {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.00390625f, 1.01171875f});
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::uint16_t> h(x.size());
  std::vector<float> back(x.size());
  k().store(DType::bf16, x.data(), n, h.data());
  k().load(DType::bf16, h.data(), n, back.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(h[i], f32_to_bf16(x[i])) << x[i];
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::uint32_t{h[i]} << 16);
  }
  k().store(DType::f16, x.data(), n, h.data());
  k().load(DType::f16, h.data(), n, back.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      EXPECT_TRUE(std::isnan(back[i]));
      continue;
    }
    EXPECT_EQ(h[i], f32_to_f16(x[i])) << x[i];
    EXPECT_EQ(back[i], f16_to_f32(h[i]));
  }
}

TEST_P(KernelsTest, RowsAreStoredAndTurned) {
  const std::int64_t rows = 21, pitch = 80, filled = 32;
  const std::vector<float> x = uniform(rows * pitch, -2, 2);
  for (std::int64_t width : {1, 7, 16, 32, 33, 64, 72}) {
    const auto bytes = width * 2 + 6;
    std::vector<std::byte> stored(static_cast<std::size_t>(rows * bytes));
    k().store_rows({DType::bf16, x.data(), pitch, rows, width, bytes, stored.data()});
    std::vector<std::uint16_t> turned(static_cast<std::size_t>((width + 1) * (filled + 3)), 7);
    k().turn_rows({.x = stored.data(),
                   .row_bytes = bytes,
                   .rows = rows,
                   .width = width,
                   .filled = filled,
                   .out = turned.data(),
                   .out_bytes = (filled + 3) * 2});
    for (std::int64_t d = 0; d <= width; ++d) {
      for (std::int64_t r = 0; r < filled + 3; ++r) {
        const bool written = d < width && r < filled;
        const int want = !written    ? 7
                         : r >= rows ? 0
                                     : f32_to_bf16(x[static_cast<std::size_t>(r * pitch + d)]);
        ASSERT_EQ(turned[static_cast<std::size_t>(d * (filled + 3) + r)], want)
            << width << ": " << r << " " << d;
      }
    }
  }
}

struct ProductShape {
  std::int64_t rows, n, k;
};

// Products with packed weights against the sum as it reads, at the edges of every block.
TEST_P(KernelsTest, ProductsOfEveryEdge) {
  const ProductShape shapes[] = {{1, 1, 1},   {1, 33, 7},    {5, 16, 2},    {6, 17, 513},
                                 {7, 31, 64}, {12, 8, 1025}, {13, 65, 511}, {2, 64, 3}};
  for (PanelType type : {PanelType::f32, PanelType::bf16}) {
    for (const ProductShape& s : shapes) {
      const std::vector<float> x = uniform(s.rows * s.k, -1, 1);
      std::vector<float> w = uniform(s.n * s.k, -1, 1);
      const std::int64_t columns = k().panel_columns, panels = (s.n + columns - 1) / columns;
      const std::int64_t lanes = type == PanelType::f32 ? s.k : (s.k + 1) / 2;
      std::vector<std::byte> packed(static_cast<std::size_t>(panels * lanes * columns * 4));
      for (std::int64_t p = 0; p < panels; ++p) {
        k().pack_panel(type, w.data() + p * columns * s.k, std::min(columns, s.n - p * columns),
                       s.k, packed.data() + p * lanes * columns * 4);
      }
      if (type == PanelType::bf16) {
        for (float& f : w) f = round_bf16(f);
      }
      const std::int64_t group = std::min<std::int64_t>(k().rows(type), s.rows);
      const std::int64_t groups = (s.rows + group - 1) / group;
      std::vector<float> a(static_cast<std::size_t>(groups * group * s.k));
      for (std::int64_t g = 0; g < groups; ++g) {
        k().pack_group({DType::f32, x.data() + g * group * s.k, s.k * 4,
                        std::min(group, s.rows - g * group), s.k, group,
                        a.data() + g * group * s.k});
      }
      std::vector<float> c(static_cast<std::size_t>(s.rows * panels * columns), NAN), d = c;
      ProductTile tile{.a = a.data(),
                       .group = group,
                       .rows = s.rows,
                       .k = s.k,
                       .b = packed.data(),
                       .panels = panels,
                       .panel_bytes = lanes * columns * 4,
                       .type = type,
                       .c = c.data(),
                       .c_row = panels * columns};
      k().multiply_tile(tile);
      tile.a = x.data();
      tile.a_row = s.k;
      tile.c = d.data();
      k().multiply_tile(tile);
      for (std::int64_t r = 0; r < s.rows; ++r) {
        for (std::int64_t j = 0; j < s.n; ++j) {
          double want = 0;
          for (std::int64_t i = 0; i < s.k; ++i) want += double{x[r * s.k + i]} * w[j * s.k + i];
          const double bound = 2e-7 * (2 + std::sqrt(static_cast<double>(s.k)) * 4);
          ASSERT_NEAR(c[r * panels * columns + j], want, bound)
              << s.rows << " " << s.n << " " << s.k;
          ASSERT_EQ(c[r * panels * columns + j], d[r * panels * columns + j]);
        }
      }
    }
  }
}

TEST_P(KernelsTest, NormsOfEveryWidth) {
  for (std::int64_t width : {1, 3, 8, 15, 16, 17, 33, 64, 257}) {
    const std::vector<float> x = uniform(width, -2, 3), w = uniform(width, 0, 1);
    for (bool centred : {false, true}) {
      std::vector<float> y = x;
      k().normalise({.x = y.data(),
                     .width = width,
                     .weight = w.data(),
                     .scale = w.data(),
                     .weight_offset = 1,
                     .eps = 1e-6f,
                     .centred = centred});
      double mean = 0, square = 0;
      for (float v : x) mean += centred ? v / static_cast<double>(width) : 0;
      for (float v : x) square += (v - mean) * (v - mean) / static_cast<double>(width);
      for (std::int64_t i = 0; i < width; ++i) {
        const double n = (x[i] - mean) / std::sqrt(square + 1e-6) * (1.0 + w[i]) * (1.0 + w[i]);
        EXPECT_NEAR(y[i], n, 3e-6 * (1 + std::abs(n))) << width;
      }
    }
  }
}

}  // namespace
}  // namespace tendon::cpu
