// Sliding windows over up to three spatial dimensions d, h, w (missing ones have size 1, kernel 1, stride 1, no padding).
// Along a dimension, tap t of output o reads input o * stride - pad + t * dilation.
//
// A kernel takes WINDOW_PARAMETERS (nnlab/ops/_cuda/windows.py fills them in) and makes `const Window window = WINDOW;`.
#pragma once
#include "types.cuh"

struct Line {
  index_t in, out, kernel, stride, pad, dilation;
};

struct Window {
  Line d, h, w;
};

// clang-format off
#define WINDOW_PARAMETERS                                                                               \
  index_t in_d, index_t out_d, index_t kernel_d, index_t stride_d, index_t pad_d, index_t dilation_d,   \
  index_t in_h, index_t out_h, index_t kernel_h, index_t stride_h, index_t pad_h, index_t dilation_h,   \
  index_t in_w, index_t out_w, index_t kernel_w, index_t stride_w, index_t pad_w, index_t dilation_w
#define WINDOW                                                     \
  {{in_d, out_d, kernel_d, stride_d, pad_d, dilation_d},           \
   {in_h, out_h, kernel_h, stride_h, pad_h, dilation_h},           \
   {in_w, out_w, kernel_w, stride_w, pad_w, dilation_w}}
// clang-format on

// An element of a (planes, d, h, w) array.
struct Place {
  index_t plane, d, h, w;
};

__device__ __forceinline__ Place place_of(index_t i, index_t size_d, index_t size_h, index_t size_w) {
  const index_t row = i / size_w, slice = row / size_h, plane = slice / size_d;
  return Place{plane, slice - plane * size_d, row - slice * size_h, i - row * size_w};
}

// Input position of tap 0 of an output; negative in the padding.
__device__ __forceinline__ index_t window_start(const Line& line, index_t o) { return o * line.stride - line.pad; }

// The taps first_tap <= t < end_tap of a window are inside the input.
__device__ __forceinline__ index_t first_tap(const Line& line, index_t start) {
  return start < 0 ? (line.dilation - 1 - start) / line.dilation : 0;
}

__device__ __forceinline__ index_t end_tap(const Line& line, index_t start) {
  const index_t end = (line.in - start + line.dilation - 1) / line.dilation;
  return end < line.kernel ? end : line.kernel;
}

// The windows first_window <= o <= last_window reach over input position q; with dilation q may lie between two taps.
__device__ __forceinline__ index_t first_window(const Line& line, index_t q) {
  const index_t least = q + line.pad - (line.kernel - 1) * line.dilation;
  return least > 0 ? (least + line.stride - 1) / line.stride : 0;
}

__device__ __forceinline__ index_t last_window(const Line& line, index_t q) {
  const index_t last = (q + line.pad) / line.stride;
  return last < line.out ? last : line.out - 1;
}

// The tap of window o that reads input position q, or -1.
__device__ __forceinline__ index_t tap_at(const Line& line, index_t o, index_t q) {
  const index_t way = q - window_start(line, o), tap = way / line.dilation;
  return tap * line.dilation == way ? tap : -1;
}
