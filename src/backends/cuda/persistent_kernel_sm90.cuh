// The persistent step kernel: all repetitions of a step in one launch. An instance holds attention
// for one dtype and width of heads, in units of at most R rows.
#pragma once

#include "backends/cuda/persistent_attention.cuh"
#include "backends/cuda/persistent_items.cuh"
#include "backends/cuda/persistent_plain.cuh"
#include "backends/cuda/persistent_product.cuh"
#include "backends/cuda/persistent_tables.cuh"

namespace tendon::cuda::persistent {

__device__ inline void begin_barriers(Fixed& f) {
  if (threadIdx.x < kMostDepth) {
    device::barrier_init(f.full + threadIdx.x, 1);
    device::barrier_init(f.empty + threadIdx.x, kWarps / kSides);
  } else if (threadIdx.x == 32) {
    device::barrier_init(&f.results, 1);
    device::barrier_init(&f.sums, 1);
    device::barrier_init(&f.meeting, kCluster);
    device::barrier_init(&f.gate, 1);
    device::barrier_init(&f.begun, 1);
    device::barrier_init(&f.tables, 1);
    device::barrier_init(&f.operands, 1);
    device::barrier_init(&f.norms, 1);
  }
  device::barrier_init_fence();
}

// What threads keep from phase to phase.
struct Team {
  Results results;
  RowSums row_sums;
  Moments moments;
  Tables tables;
  Meeting meeting;
  Ring ring;
};

__device__ inline Team team_of(const Memory& m) {
  Fixed& f = *m.fixed;
  return {{{device::shared_address(&f.results), 0}, 0, nullptr},
          {{device::shared_address(&f.sums), 0}, device::shared_address(f.row_sums), f.row_sums},
          {{device::shared_address(&f.norms), 0}, device::shared_address(f.moments)},
          {device::shared_address(&f.tables), device::shared_address(&f.operands), 0, f.affine},
          {device::shared_address(&f.meeting), 0},
          {m.ring, {}}};
}

template <class T, int D, int R>
__device__ __forceinline__ void execute(const Phase& phase, const Work& work, const Where& w,
                                        const Gate& gate, const Memory& m, Team& team) {
  std::byte* region = m.region;
  const Kind kind = static_cast<Kind>(uniform(static_cast<int>(phase.kind)));
  if (kind == Kind::product) {
    run_product(phase.product, work, w, gate,
                {region, team.results, team.row_sums, team.moments, team.tables, team.ring});
  } else if (kind == Kind::attention) {
    const Exchange after = run_attention<T, D, R>(phase.attention, w, gate,
                                                  {team.results.inbox, team.meeting}, region);
    team.results.inbox = after.inbox, team.meeting = after.meeting;
  } else {
    gate.wait();
    if (kind == Kind::plain_product) {
      run_plain_product(phase.plain, w, region);
    } else if (kind == Kind::norm) {
      run_norm(phase.norm, w, region);
    } else {
      run_items(phase, w);
    }
  }
}

__device__ inline Where position(const StepArgs& a) {
  Where w;
  w.cta = static_cast<int>(blockIdx.x), w.ctas = static_cast<int>(gridDim.x);
  w.iteration = a.iteration;
  w.now = a.first;
  w.thread = read_thread();
  return w;
}

template <class T, int D, int R>
__global__ void __launch_bounds__(kAllThreads, 1) step_kernel(const __grid_constant__ StepArgs a) {
  extern __shared__ __align__(1024) std::byte memory[];
  const Memory m = layout(a, memory);
  Fixed& f = *m.fixed;
  begin_barriers(f);
  if (threadIdx.x == 0) f.now = a.first;
  if (threadIdx.x < kMostRows && a.positions) {
    f.positions[threadIdx.x] = a.positions[threadIdx.x % a.position_count];
  }
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
  Where w = position(a);
  if (threadIdx.x >= kThreads) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    if (warp == kWeightsWarp && lane == 0) bring_weights(a, m.ring, w.cta);
    if (warp == kGateWarp) watch_gate(a, f, lane);
    if (warp == kPhasesWarp) bring_phases(a, f, w);
    if (warp == kOperandsWarp) bring_operands(a, m, w);
    return;
  }
  Team team = team_of(m);
  Gate gate{device::shared_address(&f.gate), 1, false, nullptr};
  const std::uint32_t begun = device::shared_address(&f.begun);
  long long* clock = w.cta == 0 && w.thread == 0 ? a.clock : nullptr;
  if (clock) clock[0] = clock64();
  team.tables.wait_columns();
  team_sync();
  if (w.thread == 32) arrive_here(begun);
  int slot = 0;
  for (int repetition = 0, at = 0; repetition < a.repetitions; ++repetition) {
    for (int phase = 0; phase < a.count; ++phase, ++at) {
      gate.marks = clock ? clock + phase * kMarks : nullptr;
      const int next = phase + 1 < a.count ? phase + 1 : 0;
      w.thread = read_thread();
      team.tables.affine = f.affine + at % 2;
      const bool closes = phase_at(f, slot).closes;
      execute<T, D, R>(phase_at(f, slot), f.work[slot], w, gate, m, team);
      slot = next_slot(slot);
      team.tables.wait_operands();
      if (next == 0) w.now += 1;
      const bool last = next == 0 && repetition + 1 == a.repetitions;
      team.tables.parity ^= 1;
      if (!last) team.tables.wait_columns();  // the next phase is in its slot
      team_sync();
      gate.mark(9);
      if (last) break;  // the kernel's end orders the rest
      if (clock) clock[next * kMarks] = clock64();
      const Phase& following = phase_at(f, slot);
      next_gate(gate, following.waits);
      if (gate.waits && w.thread == 0) device::arrive(a.barrier);
      if (w.thread == 32) arrive_here(begun);
      if (closes) team.meeting.meet(w.thread);
      if (w.thread == 0 && next == 0) f.now = w.now;
      if (following.kind != Kind::product && following.kind != Kind::attention) team_sync();
    }
  }
  team.meeting.meet(w.thread);  // shared memory stays while others may use it
}

}  // namespace tendon::cuda::persistent
