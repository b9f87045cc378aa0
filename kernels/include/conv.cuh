// Convolutions as products of matrices that are never stored, for the main loop of include/tile.cuh.
#pragma once
#include "tile.cuh"
#include "types.cuh"
#include "window.cuh"

// How far apart neighbours of a (n, c, d, h, w) array are in memory: in this order, or with c last.
struct Strides {
  index_t n, c, d, h, w;
};

__device__ __forceinline__ Strides strides_of(index_t c, index_t d, index_t h, index_t w, bool last) {
  const index_t unit = last ? c : 1;
  return Strides{c * d * h * w, last ? 1 : d * h * w, h * w * unit, w * unit, unit};
}

__device__ __forceinline__ index_t offset_of(const Strides& s, index_t d, index_t h, index_t w) {
  return d * s.d + h * s.h + w * s.w;
}

// One dimension of a correlation: for each tap j result u multiplies position origin + u * step + j * tap_step with tap
// first_tap + j * next_tap of the kernel. It is result first_out + u * next_out of the array.
struct Walk {
  index_t count, taps, origin, step, tap_step, first_tap, next_tap, first_out, next_out;
};

__device__ __forceinline__ Walk forward_walk(const Line& line) {
  return Walk{line.out, line.kernel, -line.pad, line.stride, line.dilation, 0, 1, 0, 1};
}

// The phases of an input gradient (positions that are the same modulo the stride) and the positions of one.
__device__ __forceinline__ index_t phases(const Line& line) { return line.in < line.stride ? line.in : line.stride; }
__device__ __forceinline__ index_t phase_count(const Line& line, index_t phase) {
  return (line.in - phase + line.stride - 1) / line.stride;
}
__device__ __forceinline__ index_t phase_size(const Window& window, const Place& phase) {
  return phase_count(window.d, phase.d) * phase_count(window.h, phase.h) * phase_count(window.w, phase.w);
}

// The gradient of the input positions q = phase, phase + stride, ... Tap t of window o reads q where
// o * stride = q + pad - t * dilation, so all these positions are read by the same taps: the first that makes the right
// side a multiple of the stride, and every `period` = stride / gcd(stride, dilation) taps from there. The next such tap
// is of the window dilation * period / stride before; the next position is one window on.
__device__ __forceinline__ Walk phase_walk(const Line& line, index_t phase, index_t period) {
  const index_t some = period < line.kernel ? period : line.kernel;  // the first such tap is one of these
  index_t first = 0;
  while (first < some && (phase + line.pad - first * line.dilation) % line.stride != 0) ++first;
  const bool any = first < some;
  const index_t taps = any ? (line.kernel - first + period - 1) / period : 0;
  const index_t origin = any ? (phase + line.pad - first * line.dilation) / line.stride : 0;
  const index_t tap_step = -(line.dilation / (line.stride / period));
  return Walk{phase_count(line, phase), taps, origin, 1, tap_step, first, period, phase, line.stride};
}

// y or dx: rows are channels of the result, columns its (image, position), steps of k are (channel, tap) of the other
// array, taps fastest or (last) channels fastest.
struct Correlation {
  Walk d, h, w;
  Strides in, out;
  index_t channels;                    // that are added up
  index_t weight_channel, weight_tap;  // how far apart these channels and the taps are in the weights
  index_t kernel_h, kernel_w;
  bool last;

  __device__ __forceinline__ Entry column(index_t n, index_t& store) const {
    Entry entry;
    const Place u = place_of(n, d.count, h.count, w.count);
    entry.d = d.origin + u.d * d.step;
    entry.h = h.origin + u.h * h.step;
    entry.w = w.origin + u.w * w.step;
    entry.offset = u.plane * in.n + offset_of(in, entry.d, entry.h, entry.w);
    store = u.plane * out.n + offset_of(out, d.first_out + u.d * d.next_out, h.first_out + u.h * h.next_out,
                                        w.first_out + u.w * w.next_out);
    return entry;
  }

  __device__ __forceinline__ Entry depth(index_t k, index_t& weight) const {
    Entry entry;
    const index_t taps = d.taps * h.taps * w.taps;
    const index_t channel = last ? k % channels : k / taps;
    const Place j = place_of(last ? k / channels : k % taps, d.taps, h.taps, w.taps);
    entry.d = j.d * d.tap_step;
    entry.h = j.h * h.tap_step;
    entry.w = j.w * w.tap_step;
    entry.offset = channel * in.c + offset_of(in, entry.d, entry.h, entry.w);
    const index_t slab = d.first_tap + j.d * d.next_tap, line = h.first_tap + j.h * h.next_tap;
    const index_t tap = (slab * kernel_h + line) * kernel_w + w.first_tap + j.w * w.next_tap;
    weight = channel * weight_channel + tap * weight_tap;
    return entry;
  }
};

// dw: rows are output channels, columns (input channel, tap), taps fastest or (last) channels fastest, steps of k are
// (image, position) of the output.
struct WeightGradient {
  Window window;
  Strides x, dy;
  index_t channels;
  bool last;

  __device__ __forceinline__ Entry column(index_t n, index_t& store) const {
    Entry entry;
    const index_t taps = window.d.kernel * window.h.kernel * window.w.kernel;
    const index_t channel = last ? n % channels : n / taps;
    const Place t = place_of(last ? n / channels : n % taps, window.d.kernel, window.h.kernel, window.w.kernel);
    entry.d = t.d * window.d.dilation;
    entry.h = t.h * window.h.dilation;
    entry.w = t.w * window.w.dilation;
    entry.offset = channel * x.c + offset_of(x, entry.d, entry.h, entry.w);
    store = n;
    return entry;
  }

  __device__ __forceinline__ Entry depth(index_t k, index_t& gradient) const {
    Entry entry;
    const Place o = place_of(k, window.d.out, window.h.out, window.w.out);
    entry.d = window_start(window.d, o.d);
    entry.h = window_start(window.h, o.h);
    entry.w = window_start(window.w, o.w);
    entry.offset = o.plane * x.n + offset_of(x, entry.d, entry.h, entry.w);
    gradient = o.plane * dy.n + offset_of(dy, o.d, o.h, o.w);
    return entry;
  }
};
