// The CUDA vocabulary for a host compiler: enough to run barrier-free kernels, thread after thread, on the CPU.
//
//   #include "host/cuda_host.h"
//   #include "dropout.cu"
//   HOST_ENTRY(dropout_forward)
//
// defines `extern "C" void host_dropout_forward(grid, block, void** arguments)`, where arguments points at one value per
// kernel parameter, as cuLaunchKernel takes them.
#pragma once
#include <cstddef>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict

struct uint3_host {
  unsigned x, y, z;
};
static thread_local uint3_host threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }

template <class... P, std::size_t... I>
static void host_call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<P*>(arguments[I])...);
}

template <class... P>
static void host_launch(void (*kernel)(P...), unsigned grid, unsigned block, void** arguments) {
  gridDim = {grid, 1, 1};
  blockDim = {block, 1, 1};
  for (unsigned b = 0; b < grid; ++b) {
    blockIdx = {b, 0, 0};
    for (unsigned t = 0; t < block; ++t) {
      threadIdx = {t, 0, 0};
      host_call(kernel, arguments, std::index_sequence_for<P...>{});
    }
  }
}

#define HOST_ENTRY(kernel)                                                             \
  extern "C" void host_##kernel(unsigned grid, unsigned block, void** arguments) {    \
    host_launch(kernel, grid, block, arguments);                                       \
  }
