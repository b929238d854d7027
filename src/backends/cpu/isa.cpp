#include "backends/cpu/isa.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

#if defined(__x86_64__)
// AMX is no name that this compiler's __builtin_cpu_supports knows: leaf 7, EDX bits 22 (bf16) and
// 24 (tiles).
bool amx_bits() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d >> 22 & 1u) != 0 && (d >> 24 & 1u) != 0;
}

bool avx512_bf16_bit() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return false;
  return (a >> 5 & 1u) != 0;
}

Isa widest_here() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  return avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::baseline;
}

struct Brand {
  std::array<char, 49> text{};
  Brand() {
    for (unsigned i = 0; i < 3; ++i) {
      unsigned r[4] = {};
      if (__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3]) == 0) return;
      std::memcpy(text.data() + 16 * i, r, 16);
    }
  }
};
#endif

}  // namespace

std::string_view name(Isa isa) {
  static constexpr std::string_view kNames[] = {"baseline", "avx2", "avx512"};
  return kNames[static_cast<int>(isa)];
}

#if defined(__x86_64__)
Isa detect(Isa widest) { return std::min(widest, widest_here()); }
bool has_amx() { return detect() == Isa::avx512 && amx_bits(); }
bool multiplies_bf16() { return detect() == Isa::avx512 && (avx512_bf16_bit() || has_amx()); }
bool tiles_available() noexcept {
  constexpr long kAskFor = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = has_amx() && syscall(SYS_arch_prctl, kAskFor, kTileData) == 0;
  return granted;
}
std::string_view processor() {
  static const Brand brand;
  std::string_view text(brand.text.data());
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}
#else
Isa detect(Isa) { return Isa::baseline; }
bool has_amx() { return false; }
bool multiplies_bf16() { return false; }
bool tiles_available() noexcept { return false; }
std::string_view processor() { return {}; }
#endif

}  // namespace tendon::cpu
