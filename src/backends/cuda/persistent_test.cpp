#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {
namespace {

constexpr int kCtas = 120, kSlot = 20 * 1024;

ProductPhase product(int m, int n, int k, int share_log) {
  ProductPhase p;
  p.m = m, p.n = n, p.k = k;
  p.blocks = (k + kBlock - 1) / kBlock, p.units = (n + kColumns - 1) / kColumns;
  p.share_log = static_cast<std::uint8_t>(share_log);
  const int groups = kCtas >> share_log;
  p.most_units = (p.units + groups - 1) / groups;
  p.by_columns = p.most_units > kFewUnits;
  return p;
}

TEST(PersistentPhase, ThreadsOfANormTakeEveryChunkOnce) {
  for (int m = 1; m <= kMostRows; ++m) {
    for (int blocks = 1; blocks <= kNormBlocks; ++blocks) {
      const int chunks = blocks * kBlock / 8;
      std::vector<int> taken(static_cast<std::size_t>(m * chunks));
      for (int thread = 0; thread < kThreads; ++thread) {
        const RowPart t(m, thread);
        for (int i = 0; i < t.turns(blocks); ++i) {
          const int c = t.chunk(i);
          if (t.row < m && c < chunks) ++taken[static_cast<std::size_t>(t.row * chunks + c)];
        }
      }
      EXPECT_EQ(taken, std::vector<int>(taken.size(), 1)) << m << " rows, " << blocks << " blocks";
    }
  }
}

// How often each unit of columns meets each block of inputs, over all pieces of all CTAs.
std::vector<int> meetings(const ProductPhase& p) {
  std::vector<int> met(static_cast<std::size_t>(p.units * p.blocks));
  for (int cta = 0; cta < kCtas; ++cta) {
    const Work w = work_of(p, cta, kCtas, kSlot);
    for (int number = 0; number < w.side[0].pieces + w.side[1].pieces; ++number) {
      const Piece piece = piece_of(w, number);
      const Side& s = w.side[piece.side];
      const int block = w.first_block + s.first_block + piece.first_block;
      for (int i = 0; i < piece.blocks * s.units; ++i) {
        const int unit = w.first_unit + s.first_unit + i / piece.blocks;
        ++met[static_cast<std::size_t>(unit * p.blocks + block + i % piece.blocks)];
      }
    }
  }
  return met;
}

TEST(PersistentPhase, PiecesOfAllCtasMakeUpAProduct) {
  for (const auto& [m, n, k] : {std::array{7, 48, 48}, {50, 8192, 1024}, {51, 5504, 768}}) {
    for (int log = 1; log <= 2; ++log) {
      const ProductPhase p = product(m, n, k, log);
      const std::vector<int> met = meetings(p);
      EXPECT_EQ(met, std::vector<int>(met.size(), 1)) << m << " x " << n << " x " << k;
      int rows = 0;
      for (int cta = 0; cta < kCtas; ++cta) rows += work_of(p, cta, kCtas, kSlot).rows;
      EXPECT_EQ(rows, m * (kCtas >> log)) << "rows are finished once in each group";
    }
  }
}

TEST(PersistentPhase, EightRowsOfPartialSumsLieInAllBanks) {
  constexpr int kLine = 128, kPart = kColumns * 4;  // bytes of all banks; of a row's unit
  for (int units = 1; units <= 2 * kMostColumns / kColumns; ++units) {
    EXPECT_GE(sums_pitch(units), units * kColumns);
    std::array<int, kLine / kPart> taken{};
    for (int row = 0; row < 8; ++row) {
      ++taken.at(static_cast<std::size_t>(row * sums_pitch(units) * 4 % kLine / kPart));
    }
    for (int rows : taken) EXPECT_EQ(rows, 8 / static_cast<int>(taken.size())) << units;
  }
}

TEST(PersistentPhase, RidersLeaveRoomForAllRows) {
  for (int riders = 0; riders <= 2; ++riders) {
    for (int m = 1; m <= kMostRows / kWarpRows * (kWarpRows - riders); ++m) {
      ProductPhase p = product(m, 1024, 1024, 2);
      p.riders = static_cast<std::uint8_t>(riders);
      const int kept = kept_rows(p), last = (m - 1) / kept * kWarpRows + (m - 1) % kept;
      EXPECT_LT(last, kMostRows);
      EXPECT_LE((last + 1) * kRowBytes, row_tile_bytes(p));
    }
  }
}

}  // namespace
}  // namespace tendon::cuda::persistent
