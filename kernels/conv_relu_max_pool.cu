// Convolution, relu and max pooling of 2 x 2 windows with stride 2: what is beside the convolution, whose kernels pool and
// rectify (conv_mma_forward_pooled).
//
// conv_relu_max_pool_backward   overwrites dz, the gradient of the convolution's result: dy at the place of each window's
//                               maximum, 0 at its other places, where relu made the maximum 0, and outside of all windows
//                               (the last row or column of an odd height or width).
//
// Channels are last. A byte of `places` is a position 0 to 3 in the window, or 4 for none. A thread takes 16 bytes of dy and
// writes the four positions of its window; windows that only begin in the image have no dy. dy and dz begin at multiples of
// 16 bytes.
//
// Memory: reads dy and places once, writes dz once. Operations: four comparisons an element of dy; memory-bound.
// Source: Ranzato, Huang, Boureau, LeCun, CVPR 2007 (the stored position).
#include "include/indexing.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

constexpr int chunk = 16 / (int)sizeof(scalar_t);

struct __align__(16) Chunk {
  scalar_t of[chunk];
};

struct __align__(chunk) Bytes {
  uint8 of[chunk];
};

extern "C" __global__ void conv_relu_max_pool_backward(
    const scalar_t* __restrict__ dy,   // [images, height / 2, width / 2, channels]
    const uint8* __restrict__ places,  // [images, height / 2, width / 2, channels]
    scalar_t* __restrict__ dz,         // [images, height, width, channels]
    index_t n, index_t channels, index_t height, index_t width) {
  const bool whole = channels % chunk == 0;
  const index_t chunks = (channels + chunk - 1) / chunk;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t window = i / chunks, first = (i - window * chunks) * chunk;
    const Place o = place_of(window, 1, (height + 1) / 2, (width + 1) / 2);
    const bool full = o.h < height / 2 && o.w < width / 2;
    const index_t from = ((o.plane * (height / 2) + o.h) * (width / 2) + o.w) * channels + first;
    Chunk given;
    Bytes place;
#pragma unroll
    for (int j = 0; j < chunk; ++j) place.of[j] = 4;
    if (full && whole) {
      given = *reinterpret_cast<const Chunk*>(dy + from);
      place = *reinterpret_cast<const Bytes*>(places + from);
    } else if (full) {
      for (int j = 0; j < chunk && first + j < channels; ++j) {
        given.of[j] = dy[from + j];
        place.of[j] = places[from + j];
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const index_t h = o.h * 2 + k / 2, w = o.w * 2 + k % 2;
      if (h >= height || w >= width) continue;
      const index_t to = ((o.plane * height + h) * width + w) * channels + first;
      Chunk made;
#pragma unroll
      for (int j = 0; j < chunk; ++j) {  // added to 0, as by max_pool_scatter: zeros are positive
        made.of[j] = to_scalar((acc_t)0 + (place.of[j] == k ? to_acc(given.of[j]) : (acc_t)0));
        if (!whole && first + j < channels) dz[to + j] = made.of[j];
      }
      if (whole) *reinterpret_cast<Chunk*>(dz + to) = made;
    }
  }
}
