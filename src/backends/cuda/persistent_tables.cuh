// What the warps beside the team do, except for bringing weights: they look ahead, so that the team
// finds what does not depend on other CTAs in shared memory.
#pragma once

#include "backends/cuda/keys.cuh"
#include "backends/cuda/persistent_inputs.cuh"
#include "backends/cuda/persistent_memory.cuh"
#include "backends/cuda/persistent_results.cuh"

namespace tendon::cuda::persistent {

// Slots by turns; `slot`: of phase number i, given that of the one before.
__device__ inline int next_slot(int slot) { return slot + 1 == kPhaseSlots ? 0 : slot + 1; }
__device__ inline Phase& phase_at(Fixed& f, int slot) {
  return *reinterpret_cast<Phase*>(f.phase[slot]);
}

__device__ __forceinline__ void warp_arrives(std::uint64_t& barrier, int lane) {
  __syncwarp();
  if (lane == 0) arrive_here(device::shared_address(&barrier));
}
// Until the team is about to begin phase `at`.
__device__ __forceinline__ void wait_for_phase(std::uint64_t& begun, int at) {
  device::barrier_wait(&begun, static_cast<std::uint32_t>(at & 1));
}

// Moments of all rows, from sums that the phase before left; by one warp, a row a lane.
__device__ __forceinline__ void find_moments(const ProductPhase& p, int lane, float2* to) {
  const float2* from = reinterpret_cast<const float2*>(p.row_sums);
#pragma unroll 1
  for (int r = lane; r < p.m; r += 32) {
    float2 part[kMostGroups];
#pragma unroll
    for (int g = 0; g < kMostGroups; ++g) part[g] = __ldcg(from + r + g * kMostRows);
    float2 sum[2] = {};
#pragma unroll
    for (int g = 0; g < kMostGroups; ++g) {
      sum[g % 2].x += part[g].x, sum[g % 2].y += part[g].y;
    }
    to[r] = moments_of(p, sum[0].x + sum[1].x, sum[0].y + sum[1].y);
  }
}

// By one warp: tells the team when all CTAs have finished what a phase waits for, then what its
// norm takes of the rows. Nothing but the gate keeps this warp beside the team: a phase's slot is
// read only where the team waits for what comes of it.
__device__ inline void watch_gate(const StepArgs& a, Fixed& f, int lane) {
  const std::uint32_t barrier = device::shared_address(&f.gate);
  const int count = a.repetitions * a.count;
  std::uint32_t target = a.barrier_base;
  bool waits = false, moments = false;
#pragma unroll 1
  for (int at = 0, phase = 0, slot = 0; at < count; ++at, slot = next_slot(slot)) {
    phase = phase + 1 < a.count ? phase + 1 : 0;
    // On its way while this warp waits.
    const bool next_waits = a.phases[phase].waits, next_moments = a.phases[phase].moments;
    if (waits) {
      target += gridDim.x;
      if (lane == 0) {
        device::wait_for(a.barrier, target);
        arrive_here(barrier);
      }
      __syncwarp();
    }
    if (moments) {
      find_moments(phase_at(f, slot).product, lane, f.moments);
      warp_arrives(f.norms, lane);
    }
    waits = next_waits, moments = next_moments;
  }
}

__device__ __forceinline__ float4 four_of(const float* table, int c, float absent) {
  return table ? __ldcg(reinterpret_cast<const float4*>(table + c))
               : make_float4(absent, absent, absent, absent);
}

// What a product's norm does to columns; by one warp.
__device__ __forceinline__ void fetch_columns(const ProductPhase& p, const Work& work,
                                              const Where& w, Affine& to) {
  constexpr int kTurns = 2, kPass = kTurns * 128;
  const int before = work.first_block * kBlock, last = p.k - 4;
  const float offset = p.offset;
  const float* scales = p.scale.data ? table_row(p.scale, 0, w.iteration, w.now) : nullptr;
  const float* shifts = p.shift.data ? table_row(p.shift, 0, w.iteration, w.now) : nullptr;
#pragma unroll 1
  for (int first = 0; first < work.blocks * kBlock; first += kPass) {
    float4 weight[kTurns], bias[kTurns], scale[kTurns], shift[kTurns];
#pragma unroll
    for (int j = 0; j < kTurns; ++j) {  // all at once
      const int c = min(before + first + j * 128 + w.lane() * 4, last);
      weight[j] = four_of(p.norm_weight, c, 1.0f - offset), bias[j] = four_of(p.norm_bias, c, 0);
      scale[j] = four_of(scales, c, 0), shift[j] = four_of(shifts, c, 0);
    }
#pragma unroll
    for (int j = 0; j < kTurns; ++j) {
      const int c = first + j * 128 + w.lane() * 4;
      const float4 s = make_float4(1 + scale[j].x, 1 + scale[j].y, 1 + scale[j].z, 1 + scale[j].w);
      *reinterpret_cast<float4*>(to.factor + c) =
          make_float4((offset + weight[j].x) * s.x, (offset + weight[j].y) * s.y,
                      (offset + weight[j].z) * s.z, (offset + weight[j].w) * s.w);
      *reinterpret_cast<float4*>(to.addend + c) =
          make_float4(fmaf(bias[j].x, s.x, shift[j].x), fmaf(bias[j].y, s.y, shift[j].y),
                      fmaf(bias[j].z, s.z, shift[j].z), fmaf(bias[j].w, s.w, shift[j].w));
    }
  }
}

// Phase `phase` and this CTA's work of it, in the background; by one warp.
__device__ __forceinline__ void fetch_phase(const StepArgs& a, Fixed& f, int slot, int phase,
                                            int lane) {
  constexpr int kPhaseParts = sizeof(Phase) / 16, kWorkParts = sizeof(Work) / 16;
  const std::byte* from = reinterpret_cast<const std::byte*>(a.phases + phase);
  const std::byte* work =
      reinterpret_cast<const std::byte*>(a.work + std::size_t(phase) * gridDim.x + blockIdx.x);
#pragma unroll 1
  for (int i = lane; i < kPhaseParts; i += 32) {
    device::copy_async(f.phase[slot] + i * 16, from + i * 16);
  }
  if (lane < kWorkParts) {
    device::copy_async(reinterpret_cast<std::byte*>(f.work + slot) + lane * 16, work + lane * 16);
  }
  device::copy_async_commit();
}

// Phases read the iteration from shared memory: the counter in memory may lag behind. How many keys
// a sample has is read here, where nothing waits for it.
__device__ inline void localise(Phase& phase, const StepArgs& a, Fixed& f) {
  if (phase.kind == Kind::attention && phase.attention.args.batch == 1) {
    for (int i = 0; i < 2; ++i) {
      KeyPiece& piece = phase.attention.args.piece[i];
      const int count = key_count(phase.attention.args, i, 0);
      if (count > 0) piece.count = count, piece.length = nullptr;  // 0 says: no such piece
    }
  }
  if (phase.kind == Kind::rows && phase.rows.scale.index == a.iteration) {
    phase.rows.scale.index = &f.now;
  }
  if (phase.kind == Kind::gather && phase.gather.index == a.iteration) phase.gather.index = &f.now;
}

// What fetch_phase() asked for is there, for lane 0.
__device__ __forceinline__ void settle_phase(const StepArgs& a, Fixed& f, int slot, int lane) {
  device::copy_async_wait<0>();
  __syncwarp();
  if (lane == 0) localise(phase_at(f, slot), a, f);
}

// By one warp, ahead of the team: while a phase is executed, the columns of the next one and the
// phase after that.
__device__ inline void bring_phases(const StepArgs& a, Fixed& f, Where w) {
  const int lane = w.lane(), count = a.repetitions * a.count;
  fetch_phase(a, f, 0, 0, lane);
  settle_phase(a, f, 0, lane);
  __syncwarp();
  int phase = 0, slot = 0;
#pragma unroll 1
  for (int at = 0; at < count; ++at) {
    if (at > 0) wait_for_phase(f.begun, at - 1);
    const int next = phase + 1 < a.count ? phase + 1 : 0, next_one = next_slot(slot);
    fetch_phase(a, f, next_one, next, lane);
    const Phase& now = phase_at(f, slot);
    if (now.kind == Kind::product && now.product.norm != NormKind::none && !now.product.late) {
      fetch_columns(now.product, f.work[slot], w, f.affine[at % 2]);
    }
    settle_phase(a, f, next_one, lane);
    warp_arrives(f.tables, lane);
    phase = next, slot = next_one;
    if (next == 0) w.now += 1;
  }
}

template <int kBytes>
__device__ __forceinline__ void copy_operand(uint32_t to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(kBytes)
               : "memory");
}
// Two neighbours and two others, as pairs lie.
__device__ __forceinline__ void copy_pairs(uint32_t to, const float* from, int others) {
  copy_operand<8>(to, from), copy_operand<8>(to + 8, from + others);
}

// Operands of a product's results, in the background, to where read_operands() finds them; by one
// warp, a quad a lane. Nothing that a loop over rows needs is read anew from the phase.
struct OperandFetch {
  const ProductPhase& p;
  const Work& work;
  const Where& w;
  uint32_t columns, rows;  // shared addresses

  // Of row 0, quad q.
  __device__ __forceinline__ uint32_t row_place(int q) const {
    const int log = p.row_log;
    return rows + (q >> log) * row_parts(p) * kOperandBytes + (q & (1 << log) - 1) * 16;
  }
  __device__ __forceinline__ void of_pairs(const int32_t* positions) const {
    const int quads = work.units * 2, count = work.rows, part_bytes = column_part_bytes(p);
    const int pitch = 16 << p.row_log, half = p.head / 2;
    const float *cos = p.rotation.cos, *sin = p.rotation.sin;
    positions += work.first_row;
#pragma unroll 1
    for (int q = w.lane(); q < quads; q += 32) {
      const Pairs t(p, work.first_unit + q / 2, q % 2);
      const int c = t.head * p.head + t.first;
      uint32_t to = columns + q * 16;
      if (p.bias) copy_pairs(to, p.bias + t.before + c, t.others()), to += part_bytes;
      if (t.part == 2) continue;
      const float* weights = t.part == 0 ? p.after_q : p.after_key;
      if (weights) copy_pairs(to, weights + c, t.others());
      if (!cos) continue;
      to = row_place(q);
#pragma unroll 2
      for (int r = 0; r < count; ++r, to += pitch) {
        const int at = positions[r] * half + t.i;
        copy_operand<8>(to, cos + at), copy_operand<8>(to + 8, sin + at);
      }
    }
  }
  __device__ __forceinline__ void of_gated() const {
    const float *bias = p.bias, *up_bias = p.up_bias;
#pragma unroll 1
    for (int q = w.lane(); q < work.units * 2; q += 32) {
      const int c = 4 * work.first_unit + 2 * q;
      if (bias) copy_operand<8>(columns + q * 16, bias + c);
      if (up_bias) copy_operand<8>(columns + q * 16 + 8, up_bias + c);
    }
  }
  // Gates and residuals of one quad, of all rows; `gate`: where the lane's own row begins.
  __device__ __forceinline__ void of_rows(int q, int c, bool real, int gate) const {
    const int count = work.rows, pitch = 16 << p.row_log;
    const int size = p.residual.dtype == DType::bf16 ? 2 : 4;
    const int stride = static_cast<int>(p.residual.row_stride) * size;
    const float* gates = p.gate.data ? p.gate.data + c : nullptr;
    const std::byte* residual = static_cast<const std::byte*>(p.residual.data);
    if (residual) residual += work.first_row * stride + c * size;
    uint32_t to = row_place(q);
#pragma unroll 1
    for (int r = 0; r < count; ++r, to += pitch, residual += stride) {
      const int row = __shfl_sync(0xffffffffu, gate, r);
      if (!real) continue;
      uint32_t at = to;
      if (gates) copy_operand<16>(at, gates + row), at += kOperandBytes;
      if (!p.residual.data) continue;
      if (size == 2) {
        copy_operand<8>(at, residual);
      } else {
        copy_operand<16>(at, residual);
      }
    }
  }
  // A later norm's factors of four columns.
  __device__ __forceinline__ void lay_scale(uint32_t to, int c, const float* scale) const {
    const float offset = p.scaled_offset;
    const float4 a = four_of(p.scaled_weight, c, 1.0f - offset), b = four_of(scale, c, 0);
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to),
                 "f"((offset + a.x) * (1 + b.x)), "f"((offset + a.y) * (1 + b.y)),
                 "f"((offset + a.z) * (1 + b.z)), "f"((offset + a.w) * (1 + b.w))
                 : "memory");
  }
  __device__ __forceinline__ void of_plain() const {
    int gate = 0;
    if (p.gate.data && w.lane() < work.rows) {
      gate = static_cast<int>(table_row(p.gate, work.first_row + w.lane(), w.iteration, w.now) -
                              p.gate.data);
    }
    const int part_bytes = column_part_bytes(p);
    const float* scale = nullptr;
    if (p.scaled_scale.data) scale = table_row(p.scaled_scale, 0, w.iteration, w.now);
#pragma unroll 1
    for (int first = 0; first < work.units * 2; first += 32) {
      const int q = first + w.lane(), c = 8 * work.first_unit + 4 * q;
      const bool real = q < work.units * 2 && c < p.n;
      uint32_t to = columns + q * 16;
      if (real && p.bias) copy_operand<16>(to, p.bias + c), to += part_bytes;
      if (real && p.after_q) copy_operand<16>(to, p.after_q + c), to += part_bytes;
      if (row_parts(p)) of_rows(q, c, real, gate);
      if (real && p.scaled) lay_scale(to, c, scale);
    }
  }
};

// By one warp: operands of results, while the team waits for a phase's inputs and multiplies.
__device__ inline void bring_operands(const StepArgs& a, const Memory& m, Where w) {
  Fixed& f = *m.fixed;
  Gate gate{device::shared_address(&f.gate), 1, false, nullptr};
  const std::uint32_t region = device::shared_address(m.region);
  const int lane = w.lane(), count = a.repetitions * a.count;
  int phase = 0, slot = 0;
#pragma unroll 1
  for (int at = 0; at < count; ++at) {
    wait_for_phase(f.begun, at);
    const Phase& now = phase_at(f, slot);
    if (at > 0) next_gate(gate, now.waits);
    if (now.kind == Kind::product) {
      const ProductPhase& p = now.product;
      const Work& work = f.work[slot];
      if (p.late) {
        gate.wait();
        if (p.norm != NormKind::none) fetch_columns(p, work, w, f.affine[at % 2]);
      }
      const OperandFetch fetch{p, work, w, region, region + column_parts(p) * column_part_bytes(p)};
      if (p.columns == Columns::pairs) {
        fetch.of_pairs(f.positions);
      } else if (p.columns == Columns::gated) {
        fetch.of_gated();
      } else {
        fetch.of_plain();
      }
      device::copy_async_commit();
      device::copy_async_wait<0>();
    }
    warp_arrives(f.operands, lane);
    slot = next_slot(slot);
    if (++phase == a.count) phase = 0, w.now += 1;
  }
}

}  // namespace tendon::cuda::persistent
