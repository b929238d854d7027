// What this processor can do, asked at run time.
#pragma once

#include <cstdint>
#include <string_view>

namespace tendon::cpu {

// In ascending order; each has its own build of the kernels.
enum class Isa : std::uint8_t { baseline, avx2, avx512 };

std::string_view name(Isa isa);

// The widest of them, up to `widest`, that processor and operating system offer.
Isa detect(Isa widest = Isa::avx512);

// Whether bf16 operands multiply natively (AVX-512 bf16 or AMX).
bool multiplies_bf16();
bool has_amx();

// "AMD EPYC", as the processor names itself; empty where it does not.
std::string_view processor();

}  // namespace tendon::cpu
