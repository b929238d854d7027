#include "backends/cpu/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace tendon::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

TEST(Memory, IsZeroAndAllOfItIsThere) {
  for (const std::size_t bytes : {std::size_t{1}, kHugePage - 1, kHugePage, 3 * kHugePage + 4097}) {
    Memory memory(bytes);
    EXPECT_EQ(memory.bytes(), bytes);
    std::byte* const end = memory.data() + bytes;
    EXPECT_TRUE(std::all_of(memory.data(), end, [](std::byte b) { return b == std::byte{0}; }));
    std::fill(memory.data(), end, std::byte{1});
  }
}

TEST(Memory, BeginsAtAHugePageWhereItIsLarge) {
  std::array<Memory, 4> all;  // one beside the other, so that no two begin alike by chance
  for (Memory& memory : all) {
    memory = Memory(kHugePage + 4096);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % kHugePage, 0u);
  }
}

}  // namespace
}  // namespace tendon::cpu
