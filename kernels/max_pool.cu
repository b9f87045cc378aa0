// Max pooling over 1, 2 and 3 spatial dimensions, its gradient, the gradient of that, and unpooling.
//
// max_pool_forward   overwrites y and index. index is what is saved: the number of the winning tap in row-major order of
//                    the kernel, one byte an output (`_wide`: an int, for kernels of more than 256 taps). The first
//                    maximum wins, of several NaN the last; padding never wins; a window of -inf gives its first element
//                    inside the input. Every window has one (nnlab/geometry.py).
// max_pool_scatter   overwrites dx, the gradient to the input: a thread gathers one dx from the windows over it whose
//                    winner it is, in tap order, so there is no atomic addition. Sums of half are in float32, rounded
//                    once.
// max_pool_gather    overwrites y with x at the winning taps (0 for a tap in the padding), the gradient of scatter.
// max_pool_unpool    writes x at the given places of planes that are already zero; all other elements stay.
// max_pool_take      overwrites y with x at the given places, the gradient of unpool.
//
// Arrays are [planes, d, h, w, run]: run is 1, or the number of channels where those are last in memory and a plane is an
// image. A thread makes one element of the result; neighbouring threads make neighbours in memory.
//
// Memory: forward reads each x once from DRAM (again from cache where windows overlap), writes y and 1 byte an output;
// scatter reads dy and index once from DRAM, writes dx; gather reads index and the winners, writes y. unpool and take
// read x and 8 bytes a place and write one element a place.
// Operations: one comparison a tap; memory-bound.
// Source: Ranzato, Huang, Boureau, LeCun, CVPR 2007 (the stored position); Zeiler, Fergus, ECCV 2014 (unpooling).
#include "include/indexing.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

template <typename number_t>
__device__ __forceinline__ void forward(
    const scalar_t* x, scalar_t* y, number_t* index, index_t n, index_t run, const Window& window) {
  const Line &d = window.d, &h = window.h, &w = window.w;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place o = place_of(i / run, d.out, h.out, w.out);
    const index_t start_d = window_start(d, o.d), start_h = window_start(h, o.h), start_w = window_start(w, o.w);
    const index_t end_d = end_tap(d, start_d), end_h = end_tap(h, start_h), end_w = end_tap(w, start_w);
    const index_t first_h = first_tap(h, start_h), first_w = first_tap(w, start_w);
    acc_t best = 0;
    index_t winner = -1;
    for (index_t td = first_tap(d, start_d); td < end_d; ++td) {
      const index_t slice = o.plane * d.in + start_d + td * d.dilation;
      for (index_t th = first_h; th < end_h; ++th) {
        const index_t row = slice * h.in + start_h + th * h.dilation;
        for (index_t tw = first_w; tw < end_w; ++tw) {
          const acc_t value = to_acc(x[(row * w.in + start_w + tw * w.dilation) * run + lane]);
          if (winner < 0 || value > best || value != value) {
            best = value;
            winner = (td * h.kernel + th) * w.kernel + tw;
          }
        }
      }
    }
    y[i] = to_scalar(best);
    index[i] = (number_t)winner;
  }
}

template <typename number_t>
__device__ __forceinline__ void scatter(
    const scalar_t* dy, const number_t* index, scalar_t* dx, index_t n, index_t run, const Window& window) {
  const Line &d = window.d, &h = window.h, &w = window.w;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place q = place_of(i / run, d.in, h.in, w.in);
    const index_t first_d = first_window(d, q.d), first_h = first_window(h, q.h), first_w = first_window(w, q.w);
    acc_t total = 0;
    // Later windows see q at earlier taps: descending windows are ascending taps.
    for (index_t od = last_window(d, q.d); od >= first_d; --od) {
      const index_t td = tap_at(d, od, q.d);
      if (td < 0) continue;
      for (index_t oh = last_window(h, q.h); oh >= first_h; --oh) {
        const index_t th = tap_at(h, oh, q.h);
        if (th < 0) continue;
        const index_t row = ((q.plane * d.out + od) * h.out + oh) * w.out;
        for (index_t ow = last_window(w, q.w); ow >= first_w; --ow) {
          const index_t tw = tap_at(w, ow, q.w);
          if (tw < 0) continue;
          const index_t o = (row + ow) * run + lane;
          if ((index_t)index[o] == (td * h.kernel + th) * w.kernel + tw) total += to_acc(dy[o]);
        }
      }
    }
    dx[i] = to_scalar(total);
  }
}

__device__ __forceinline__ bool inside(const Line& line, index_t q) { return q >= 0 && q < line.in; }

template <typename number_t>
__device__ __forceinline__ void gather(
    const scalar_t* x, const number_t* index, scalar_t* y, index_t n, index_t run, const Window& window) {
  const Line &d = window.d, &h = window.h, &w = window.w;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place o = place_of(i / run, d.out, h.out, w.out);
    const Place tap = place_of((index_t)index[i], d.kernel, h.kernel, w.kernel);
    const index_t qd = window_start(d, o.d) + tap.d * d.dilation;
    const index_t qh = window_start(h, o.h) + tap.h * h.dilation;
    const index_t qw = window_start(w, o.w) + tap.w * w.dilation;
    const bool real = inside(d, qd) && inside(h, qh) && inside(w, qw);
    scalar_t value = to_scalar((acc_t)0);
    if (real) value = x[(((o.plane * d.in + qd) * h.in + qh) * w.in + qw) * run + lane];
    y[i] = value;
  }
}

extern "C" __global__ void max_pool_forward(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    uint8* __restrict__ index,       // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward(x, y, index, n, run, window);
}

extern "C" __global__ void max_pool_forward_wide(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    int* __restrict__ index,         // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward(x, y, index, n, run, window);
}

extern "C" __global__ void max_pool_scatter(
    const scalar_t* __restrict__ dy,  // [planes, out_d, out_h, out_w, run]
    const uint8* __restrict__ index,  // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ dx,        // [planes, in_d, in_h, in_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  scatter(dy, index, dx, n, run, window);
}

extern "C" __global__ void max_pool_scatter_wide(
    const scalar_t* __restrict__ dy,  // [planes, out_d, out_h, out_w, run]
    const int* __restrict__ index,    // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ dx,        // [planes, in_d, in_h, in_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  scatter(dy, index, dx, n, run, window);
}

extern "C" __global__ void max_pool_gather(
    const scalar_t* __restrict__ x,   // [planes, in_d, in_h, in_w, run]
    const uint8* __restrict__ index,  // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ y,         // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  gather(x, index, y, n, run, window);
}

extern "C" __global__ void max_pool_gather_wide(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    const int* __restrict__ index,   // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  gather(x, index, y, n, run, window);
}

extern "C" __global__ void max_pool_unpool(
    const scalar_t* __restrict__ x,      // [planes, out]
    const int64* __restrict__ places,    // [planes, out]
    scalar_t* __restrict__ y,            // [planes, size]
    index_t n, index_t out, index_t size) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    y[i / out * size + (index_t)places[i]] = x[i];
  }
}

extern "C" __global__ void max_pool_take(
    const scalar_t* __restrict__ x,    // [planes, size]
    const int64* __restrict__ places,  // [planes, out]
    scalar_t* __restrict__ y,          // [planes, out]
    index_t n, index_t out, index_t size) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    y[i] = x[i / out * size + (index_t)places[i]];
  }
}
