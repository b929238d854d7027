// The persistent step kernel: all repetitions of a step in one launch. An instance holds attention
// for one dtype and width of heads.
#pragma once

#include "backends/cuda/persistent_attention.cuh"
#include "backends/cuda/persistent_items.cuh"
#include "backends/cuda/persistent_plain.cuh"
#include "backends/cuda/persistent_product.cuh"

namespace tendon::cuda::persistent {

__device__ inline void begin_barriers(Fixed& f) {
  if (threadIdx.x < kMostDepth) {
    device::barrier_init(f.full + threadIdx.x, 1);
    device::barrier_init(f.empty + threadIdx.x, kWarps / kSides);
  } else if (threadIdx.x == 32) {
    device::barrier_init(&f.results, 1);
    device::barrier_init(&f.sums, 1);
    device::barrier_init(&f.meeting, kCluster);
  }
  device::barrier_init_fence();
}

__device__ inline Phase& phase_slot(Fixed& f, int i) {
  return *reinterpret_cast<Phase*>(f.phase[i % 2]);
}

// In the background: complete after the next copy_async_wait<0>.
__device__ inline void fetch_phase(const StepArgs& a, Fixed& f, int slot, int phase) {
  constexpr int kWorkParts = sizeof(Work) / 16;
  const int i = threadIdx.x * 16, last = kThreads - 1 - static_cast<int>(threadIdx.x);
  if (i < static_cast<int>(sizeof(Phase))) {
    device::copy_async(f.phase[slot % 2] + i,
                       reinterpret_cast<const std::byte*>(a.phases + phase) + i);
  } else if (last < kWorkParts) {
    const Work* from = a.work + std::size_t(phase) * gridDim.x + blockIdx.x;
    device::copy_async(reinterpret_cast<std::byte*>(f.work + slot % 2) + last * 16,
                       reinterpret_cast<const std::byte*>(from) + last * 16);
  }
  device::copy_async_commit();
}

// Phases read the iteration from shared memory: the counter in memory may lag behind.
__device__ inline void localise(Phase& phase, const Where& w, Fixed& f) {
  if (phase.kind == Kind::rows && phase.rows.scale.index == w.iteration) {
    phase.rows.scale.index = &f.now;
  }
  if (phase.kind == Kind::gather && phase.gather.index == w.iteration) phase.gather.index = &f.now;
}

// What threads keep from phase to phase.
struct Team {
  Results results;
  RowSums row_sums;
  Meeting meeting;
  Ring ring;
};

__device__ inline Team team_of(const Memory& m) {
  Fixed& f = *m.fixed;
  return {{{device::shared_address(&f.results), 0}, 0},
          {{device::shared_address(&f.sums), 0},
           device::shared_address(f.row_sums),
           f.row_sums,
           &f.affine},
          {device::shared_address(&f.meeting), 0},
          {m.ring, {}}};
}

template <class T, int D>
__device__ __forceinline__ void execute(const Phase& phase, const Work& work, const Where& w,
                                        const Gate& gate, const Memory& m, Team& team) {
  std::byte* region = m.region;
  const Kind kind = static_cast<Kind>(uniform(static_cast<int>(phase.kind)));
  if (kind == Kind::product) {
    run_product(phase.product, work, w, gate,
                {device::shared_address(region), reinterpret_cast<float*>(region),
                 m.fixed->positions, team.results, team.row_sums, team.ring});
  } else if (kind == Kind::attention) {
    run_attention<T, D>(phase.attention, w, gate, team.results.inbox, team.meeting, region);
  } else {
    gate.wait();
    if (kind == Kind::plain_product) {
      run_plain_product(phase.plain, w, region);
    } else if (kind == Kind::norm) {
      run_norm(phase.norm, w);
    } else {
      run_items(phase, w);
    }
  }
  if (phase.closes) team.meeting.meet(w.thread);
}

__device__ inline Where position(const StepArgs& a) {
  Where w;
  w.cta = static_cast<int>(blockIdx.x), w.ctas = static_cast<int>(gridDim.x);
  w.rank = w.cta % kCluster;
  w.cluster = w.cta / kCluster, w.clusters = w.ctas / kCluster;
  w.iteration = a.iteration;
  w.now = a.first;
  w.thread = read_thread();
  return w;
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads + 32, 1)
    step_kernel(const __grid_constant__ StepArgs a) {
  extern __shared__ __align__(1024) std::byte memory[];
  const Memory m = layout(a, memory);
  Fixed& f = *m.fixed;
  begin_barriers(f);
  if (threadIdx.x == 0) f.now = a.first;
  if (threadIdx.x < kThreads) fetch_phase(a, f, 0, 0);
  device::copy_async_wait<0>();
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
  if (threadIdx.x >= kThreads) {
    if (threadIdx.x == kThreads) bring_weights(a, m.ring, static_cast<int>(blockIdx.x));
    return;
  }
  Where w = position(a);
  if (w.thread == 0) localise(phase_slot(f, 0), w, f);
  team_sync();
  Team team = team_of(m);
  Gate gate{a.barrier, a.barrier_base, false, nullptr};
  long long* clock = w.cta == 0 && w.thread == 0 ? a.clock : nullptr;
  if (clock) clock[0] = clock64();
  for (int repetition = 0, at = 0; repetition < a.repetitions; ++repetition) {
    for (int phase = 0; phase < a.count; ++phase, ++at) {
      gate.marks = clock ? clock + phase * kMarks : nullptr;
      const int next = phase + 1 < a.count ? phase + 1 : 0;
      fetch_phase(a, f, at + 1, next);
      w.thread = read_thread();
      execute<T, D>(phase_slot(f, at), f.work[at % 2], w, gate, m, team);
      if (next == 0) w.now += 1;
      device::copy_async_wait<0>();
      team_sync();
      gate.mark(9);
      if (next == 0 && repetition + 1 == a.repetitions) break;  // the kernel's end orders the rest
      if (clock) clock[next * kMarks] = clock64();
      Phase& following = phase_slot(f, at + 1);
      gate.waits = following.waits;
      if (gate.waits) {
        if (w.thread == 0) device::arrive(a.barrier);
        gate.target += static_cast<std::uint32_t>(w.ctas);
      }
      if (w.thread == 0) {
        if (next == 0) f.now = w.now;
        localise(following, w, f);
      }
      if (following.kind != Kind::product && following.kind != Kind::attention) team_sync();
    }
  }
  team.meeting.meet(w.thread);  // shared memory stays while others may push to it
}

}  // namespace tendon::cuda::persistent
