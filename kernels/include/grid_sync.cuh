// A barrier of all threads of the grid, for cooperative launches (Grid(cooperative=True)): all blocks run side by side.
//
//   grid_sync(counter);   returns when every thread of every block has come; what was written before can be read after it
//
// counter: one number in global memory, 0 before its first use. The blocks' contributions of a barrier add up to 2^31, so
// its upper bit flips when all have come, and it is ready for the next barrier and for later launches.
// On the host a block runs until all its threads wait here, then the next one does; the counter is not used.
#pragma once
#include "types.cuh"

#ifdef __CUDACC__

__device__ __forceinline__ void grid_sync(uint32* counter) {
  __syncthreads();
  if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
    const uint32 blocks = gridDim.x * gridDim.y * gridDim.z;
    const bool first = blockIdx.x + blockIdx.y + blockIdx.z == 0;
    __threadfence();
    const uint32 before = atomicAdd(counter, first ? 0x80000000u - (blocks - 1) : 1u);
    while (((before ^ *(volatile uint32*)counter) & 0x80000000u) == 0) {
    }
    __threadfence();
  }
  __syncthreads();
}

#else

static inline void grid_sync(uint32*, NNLAB_HERE) {
  nnlab::meet({nnlab::Meeting::grid, "grid_sync", file, line, 0, 0, 0});
}

#endif
