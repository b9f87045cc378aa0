// The input of a convolution sorted by remainders of its steps (space_to_depth of nnlab/geometry.py), for conv_mma.cu.
//
// conv_fold_input  overwrites y: position place * step + rest - pad of x along each dimension is, at `place`, channel
//                  rest * channels + c, with rest counted row-major over the dimensions; 0 outside of x and in the channels
//                  from there up to a multiple of 16 bytes.
//
// A thread writes 16 bytes.
// Memory: reads x (each element once, neighbours of a row one after another), writes y.
// Operations: about ten integer divisions for 16 bytes; memory-bound.
// Source: the CUTLASS documentation, "Implicit GEMM convolution" (few channels); Krizhevsky et al., "ImageNet
// classification with deep convolutional neural networks", NIPS 2012 (the layer that this is for).
#include "include/conv.cuh"
#include "include/indexing.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

constexpr int chunk = 16 / (int)sizeof(scalar_t);

struct __align__(16) Chunk {
  scalar_t of[chunk];
};

extern "C" __global__ void conv_fold_input(
    const scalar_t* __restrict__ x,  // [images, channels, in_d, in_h, in_w] or (last) [images, in_d, in_h, in_w, channels]
    scalar_t* __restrict__ y,        // [images, places_d, places_h, places_w, filled]
    index_t n, index_t channels, index_t filled, int last, index_t in_d, index_t places_d, index_t step_d,
    index_t pad_d, index_t in_h, index_t places_h, index_t step_h, index_t pad_h, index_t in_w, index_t places_w,
    index_t step_w, index_t pad_w) {
  const Strides s = strides_of(channels, in_d, in_h, in_w, last != 0);
  const index_t row = filled / chunk;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const Place place = place_of(i / row, places_d, places_h, places_w);
    Place rest = place_of(i % row * chunk / channels, step_d, step_h, step_w);
    index_t c = i % row * chunk % channels;
    Chunk made;
#pragma unroll
    for (int j = 0; j < chunk; ++j) {
      const index_t d = place.d * step_d + rest.d - pad_d, h = place.h * step_h + rest.h - pad_h;
      const index_t w = place.w * step_w + rest.w - pad_w;
      const bool inside = rest.plane == 0 && between(d, in_d) && between(h, in_h) && between(w, in_w);
      made.of[j] = inside ? x[place.plane * s.n + c * s.c + offset_of(s, d, h, w)] : to_scalar((acc_t)0);
      if (++c < channels) continue;
      c = 0;
      if (++rest.w < step_w) continue;
      rest.w = 0;
      if (++rest.h < step_h) continue;
      rest.h = 0;
      if (++rest.d < step_d) continue;
      ++rest.plane;
    }
    *reinterpret_cast<Chunk*>(y + i * chunk) = made;
  }
}
