// A team of TEAM threads works on one line of numbers: 1 (a thread a line), 32 (a warp) or a whole block of TEAM threads.
//   for (index_t line = first_line(); line < lines; line += line_stride())
//     for (index_t j = member(); j < count; j += TEAM) ...
// All threads of a team take part in `joined`, and each gets the result. The order of a sum is fixed by TEAM and the line's
// length: a thread adds up every TEAM-th number, then a tree within each warp, then warp after warp.
#pragma once
#include "types.cuh"

#ifndef TEAM
#define TEAM 32
#endif

__device__ __forceinline__ int member() { return (int)threadIdx.x % TEAM; }

__device__ __forceinline__ index_t first_line() {
  return (index_t)blockIdx.x * (index_t)(blockDim.x / TEAM) + (index_t)(threadIdx.x / TEAM);
}

__device__ __forceinline__ index_t line_stride() { return (index_t)gridDim.x * (index_t)(blockDim.x / TEAM); }

struct Sum {
  __device__ __forceinline__ acc_t operator()(acc_t a, acc_t b) const { return a + b; }
};

struct Largest {
  __device__ __forceinline__ acc_t operator()(acc_t a, acc_t b) const { return a > b ? a : b; }
};

// What the team's members hold, joined to one number. Both joins give the same bits for (a, b) and (b, a), hence every lane
// of the tree the same number; Largest does so unless a number is NaN.
template <typename Join>
__device__ __forceinline__ acc_t joined(acc_t value, const Join& join) {
#if TEAM >= 32
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = join(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
#endif
#if TEAM > 32
  __shared__ acc_t parts[TEAM / 32];
  __syncthreads();  // everybody has read what the last call left
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
#pragma unroll
  for (int warp = 1; warp < TEAM / 32; ++warp) value = join(value, parts[warp]);
#endif
  return value;
}
