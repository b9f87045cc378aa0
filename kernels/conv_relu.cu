// Convolution and relu: what is beside the convolution, whose own kernels rectify where they can (conv_mma_forward).
//
// conv_relu_forward   overwrites y with max(y, 0): NaN stays NaN.
// conv_relu_backward  overwrites dz = dy where the mask's bit is 1, else 0 (also for infinity and NaN).
//
// Channels are last. The mask has a byte for each 16 bytes of y, the first element's bit lowest; the last byte of a row may
// have fewer. A thread of the backward pass takes a byte; dy and dz begin at multiples of 16 bytes.
//
// Memory: forward reads and writes y; backward reads dy and the mask, a sixteenth of it, and writes dz.
// Operations: a comparison an element; memory-bound.
// Source: Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
#include "include/indexing.cuh"
#include "include/relu.cuh"
#include "include/types.cuh"

constexpr int chunk = 16 / (int)sizeof(scalar_t);

struct __align__(16) Chunk {
  scalar_t of[chunk];
};

extern "C" __global__ void conv_relu_forward(
    scalar_t* __restrict__ y,  // [n]
    index_t n) {
  for (index_t i = first_index(); i < n; i += index_stride()) y[i] = rectified(y[i]);
}

extern "C" __global__ void conv_relu_backward(
    const scalar_t* __restrict__ dy,  // [positions, channels]
    const uint8* __restrict__ mask,   // [positions, chunks], n in all
    scalar_t* __restrict__ dz,        // [positions, channels]
    index_t n, index_t channels) {
  const scalar_t zero = to_scalar((acc_t)0);
  const bool whole = channels % chunk == 0;
  const index_t chunks = (channels + chunk - 1) / chunk;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const unsigned bits = mask[i];
    if (whole) {
      Chunk made = *reinterpret_cast<const Chunk*>(dy + i * chunk);
#pragma unroll
      for (int j = 0; j < chunk; ++j) made.of[j] = (bits >> j & 1) != 0 ? made.of[j] : zero;
      *reinterpret_cast<Chunk*>(dz + i * chunk) = made;
    } else {
      const index_t row = i / chunks, first = (i - row * chunks) * chunk, at = row * channels + first;
      for (int j = 0; j < chunk && first + j < channels; ++j) dz[at + j] = (bits >> j & 1) != 0 ? dy[at + j] : zero;
    }
  }
}
