// A thread's share of a one-dimensional problem. The grid may be smaller than the problem (grid-stride loop):
//   for (index_t i = first_index(); i < n; i += index_stride()) ...
// The launch gate chooses index_t so that the step past n does not overflow.
#pragma once
#include "types.cuh"

__device__ __forceinline__ index_t first_index() {
  return (index_t)blockIdx.x * (index_t)blockDim.x + (index_t)threadIdx.x;
}

__device__ __forceinline__ index_t index_stride() { return (index_t)gridDim.x * (index_t)blockDim.x; }
