// Where a thread of the step kernel stands, whom it waits for, and how the CTAs of a cluster hand
// results to each other.
#pragma once

#include "backends/cuda/device/bulk.cuh"
#include "backends/cuda/device/grid.cuh"
#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

// The table row of operand row r; `now` is the current iteration, whose counter may lag behind.
__device__ inline const float* table_row(const device::TableView& t, int r,
                                         const int32_t* iteration, int now) {
  if (!t.index) return t.data;
  int row = now;
  if (t.index != iteration) row = __ldcg(t.index + (t.rows == 1 ? r : r / t.rows));
  return t.data + int64_t{row} * t.stride;
}

// Where one of the kThreads threads stands that execute phases. `thread` is read anew in every
// phase: what is computed from it would else be kept in registers over all phases.
struct Where {
  int cta, ctas;
  const int32_t* iteration;
  int now;
  int thread;
  __device__ int lane() const { return thread % 32; }
  __device__ int place() const { return cta % kCluster; }  // in the cluster
  __device__ int warp() const { return thread / 32; }
};

__device__ inline int read_thread() {
  int t;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
  return t;
}

// The CTA's kThreads threads that execute phases meet; the warps beside it take no part.
__device__ __forceinline__ void team_sync() {
  asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
}

// Leave to begin: until then a phase touches nothing that the phases before it write.
struct Gate {
  uint32_t barrier;  // shared address; complete when all CTAs have finished the phases before
  uint32_t parity;
  bool waits;
  long long* marks;  // of this phase, in one thread of the grid; else null

  __device__ void mark(int i) const {
    if (marks) marks[i] = clock64();
  }
  __device__ void wait() const {
    if (waits) device::barrier_wait(barrier, parity);
    mark(1);
  }
};

// The same for the next phase.
__device__ __forceinline__ void next_gate(Gate& g, bool waits) {
  g.waits = waits;
  if (waits) g.parity ^= 1;
}

__device__ __forceinline__ void arrive_here(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ inline uint32_t peer_address(uint32_t shared, int rank) {
  uint32_t to;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(shared), "r"(rank));
  return to;
}

// Stores to the shared memory of a CTA of the cluster that count as bytes arrived at a barrier
// beside them: who waits for that barrier sees them. Addresses as peer_address() gives them.
__device__ __forceinline__ void push2(uint32_t to, uint32_t barrier, float x, float y) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(
          to),
      "f"(x), "f"(y), "r"(barrier)
      : "memory");
}

// The same of many bytes at once, from this CTA's shared memory, by one thread. What is copied must
// have been fenced for the copy engine and stays until it has arrived.
__device__ __forceinline__ void push_block(uint32_t to, uint32_t barrier, uint32_t from,
                                           uint32_t bytes) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(to),
      "r"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

// Before what threads wrote to shared memory is read by the copy engine or the tensor cores.
__device__ __forceinline__ void fence_for_copies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// What arrives at this CTA by push. One exchange at a time: a phase may have one, and between two
// phases that have one lies a meeting of all CTAs.
struct Inbox {
  uint32_t barrier;  // shared address; the same in every CTA
  uint32_t parity;   // of the coming exchange

  // By one thread, before or while the others push.
  __device__ __forceinline__ void expect(uint32_t bytes) const {
    device::barrier_expect(barrier, bytes);
  }
  // By all threads of the team; every one sees what was pushed.
  __device__ __forceinline__ void wait() {
    device::barrier_wait(barrier, parity);
    parity ^= 1;
  }
};

// Until the barrier's phase of `parity` is complete; what CTAs of the cluster wrote for it is seen
// after.
__device__ __forceinline__ void wait_for_cluster(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n .reg .pred done;\n"
      "again:\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      " @!done bra again;\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// All threads of the cluster's teams meet; writes of before are seen after.
// `barrier`: the shared address of an mbarrier of kCluster arrivals in every CTA.
struct Meeting {
  std::uint32_t barrier, parity;
  __device__ __forceinline__ void meet(int thread) {
    team_sync();
    if (thread < kCluster) {
      asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(
                       peer_address(barrier, thread))
                   : "memory");
    }
    wait_for_cluster(barrier, parity);
    parity ^= 1;
  }
};

}  // namespace tendon::cuda::persistent
