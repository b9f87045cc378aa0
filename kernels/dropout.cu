// Dropout: y[i] = x[i] * scale where word i of the draw is at least the threshold, else 0. scale = 1 / (1 - p).
//
// dropout_forward       overwrites y and mask; the mask (one byte an element) is what is saved for the backward pass.
// dropout_forward_last  the same for arrays with channels last in memory.
// dropout_backward      overwrites dx: dx[i] = dy[i] * scale where mask[i], else 0, in any order of memory.
//
// Element i's word depends on (seed, offset, i) alone, i its place in row-major order: not on the launch shape, the device,
// the dtype or the order of memory. dropout_forward gives a thread four consecutive elements, the words of one Philox
// block; dropout_forward_last one, whose block it makes anew. Integers are compared, hence the masks of all devices agree
// bit for bit. The threshold goes up to 2^32, which no word reaches. Half types are multiplied in float32
// and rounded once. A dropped NaN or infinity becomes 0. Seed and offset lie in device memory, so that a recorded step (a
// CUDA graph) can be run again with the next draw.
//
// Memory: forward reads n elements, writes n elements and n bytes; backward reads n elements and n bytes, writes n
// elements.
// Operations: forward about 25 integer operations an element for the random word (forward_last 100) and 1 multiplication;
// memory-bound.
// Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
#include "include/indexing.cuh"
#include "include/philox.cuh"
#include "include/types.cuh"

extern "C" __global__ void dropout_forward(
    const scalar_t* __restrict__ x,   // [n]
    scalar_t* __restrict__ y,         // [n]
    bool* __restrict__ mask,          // [n]
    const uint64* __restrict__ draw,  // [2]: seed, offset
    index_t n, uint64 threshold, acc_t scale) {
  const uint64 seed = draw[0], offset = draw[1];
  const index_t blocks = (n + 3) / 4;
  for (index_t block = first_index(); block < blocks; block += index_stride()) {
    const Words4 words = random_words(seed, offset, (uint64)block);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const index_t i = 4 * block + j;
      if (i >= n) break;
      const bool keep = words.w[j] >= threshold;
      mask[i] = keep;
      y[i] = to_scalar(keep ? to_acc(x[i]) * scale : (acc_t)0);
    }
  }
}

extern "C" __global__ void dropout_forward_last(
    const scalar_t* __restrict__ x,   // [images, inner, channels]
    scalar_t* __restrict__ y,         // [images, inner, channels]
    bool* __restrict__ mask,          // [images, inner, channels]
    const uint64* __restrict__ draw,  // [2]: seed, offset
    index_t n, index_t channels, index_t inner, uint64 threshold, acc_t scale) {
  const uint64 seed = draw[0], offset = draw[1];
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t row = i / channels, image = row / inner;
    const index_t place = (image * channels + i % channels) * inner + row % inner;
    const bool keep = random_word(seed, offset, (uint64)place) >= threshold;
    mask[i] = keep;
    y[i] = to_scalar(keep ? to_acc(x[i]) * scale : (acc_t)0);
  }
}

extern "C" __global__ void dropout_backward(
    const scalar_t* __restrict__ dy,  // [n]
    const bool* __restrict__ mask,    // [n]
    scalar_t* __restrict__ dx,        // [n]
    index_t n, acc_t scale) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    dx[i] = to_scalar(mask[i] ? to_acc(dy[i]) * scale : (acc_t)0);
  }
}
