// Average pooling over 1, 2 and 3 spatial dimensions, fixed and adaptive, and the gradients.
//
// avg_pool_forward            overwrites y: the sum of each window / its divisor.
// avg_pool_backward           overwrites dx: a thread gathers dy / divisor of the windows over one input element, so there
//                             is no atomic addition.
// avg_pool_adaptive_forward   overwrites y: the mean over positions floor(o * in / out) .. ceil((o + 1) * in / out) - 1.
// avg_pool_adaptive_backward  overwrites dx, gathered like avg_pool_backward.
//
// The divisor is (count): 0 the number of window elements inside the input, 1 inside the padded input, 2 `divisor`.
// Nothing is saved. Sums go over one dimension after another with a total each: the order is fixed by the shapes, and the
// fixed windows add up as the array code does, bit for bit. Sums of half are in float32, rounded once.
//
// Arrays are [planes, d, h, w, run]: run is 1, or the number of channels where those are last in memory and a plane is an
// image. A thread makes one element of the result; neighbouring threads make neighbours in memory. Where run is 1, a thread
// that averages a whole plane reads alone: each plane is read by one thread.
//
// Memory: each pass reads its input once from DRAM (again from cache where windows overlap) and writes its result.
// Operations: one addition a tap; a gradient also one division a tap; memory-bound.
// Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 1998.
#include "include/adaptive.cuh"
#include "include/indexing.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

// Elements of window o along a dimension (dilation 1): of the padded input, or of the input.
__device__ __forceinline__ acc_t window_count(const Line& line, index_t o, bool padded) {
  const index_t start = window_start(line, o), end = start + line.kernel;
  const index_t low = padded || start > 0 ? start : 0, high = padded ? line.in + line.pad : line.in;
  return (acc_t)((end < high ? end : high) - low);
}

extern "C" __global__ void avg_pool_forward(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, int count, acc_t divisor, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  const Line &d = window.d, &h = window.h, &w = window.w;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place o = place_of(i / run, d.out, h.out, w.out);
    const index_t start_d = window_start(d, o.d), start_h = window_start(h, o.h), start_w = window_start(w, o.w);
    const index_t end_d = end_tap(d, start_d), end_h = end_tap(h, start_h), end_w = end_tap(w, start_w);
    const index_t first_d = first_tap(d, start_d), first_h = first_tap(h, start_h);
    acc_t total = 0;
    for (index_t tw = first_tap(w, start_w); tw < end_w; ++tw) {
      acc_t column = 0;
      for (index_t th = first_h; th < end_h; ++th) {
        acc_t line = 0;
        for (index_t td = first_d; td < end_d; ++td) {
          const index_t row = (o.plane * d.in + start_d + td) * h.in + start_h + th;
          line += to_acc(x[(row * w.in + start_w + tw) * run + lane]);
        }
        column += line;
      }
      total += column;
    }
    const bool padded = count == 1;
    const acc_t elements = window_count(d, o.d, padded) * window_count(h, o.h, padded) * window_count(w, o.w, padded);
    y[i] = to_scalar(total / (count == 2 ? divisor : elements));
  }
}

extern "C" __global__ void avg_pool_backward(
    const scalar_t* __restrict__ dy,  // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ dx,        // [planes, in_d, in_h, in_w, run]
    index_t n, index_t run, int count, acc_t divisor, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  const Line &d = window.d, &h = window.h, &w = window.w;
  const bool padded = count == 1;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place q = place_of(i / run, d.in, h.in, w.in);
    const index_t first_d = first_window(d, q.d), first_h = first_window(h, q.h), first_w = first_window(w, q.w);
    const index_t last_h = last_window(h, q.h), last_w = last_window(w, q.w);
    acc_t total = 0;
    // Descending windows are ascending taps.
    for (index_t od = last_window(d, q.d); od >= first_d; --od) {
      const acc_t count_d = window_count(d, od, padded);
      acc_t slice = 0;
      for (index_t oh = last_h; oh >= first_h; --oh) {
        const acc_t count_dh = count_d * window_count(h, oh, padded);
        const index_t row = ((q.plane * d.out + od) * h.out + oh) * w.out;
        acc_t line = 0;
        for (index_t ow = last_w; ow >= first_w; --ow) {
          line += to_acc(dy[(row + ow) * run + lane]) / (count == 2 ? divisor : count_dh * window_count(w, ow, padded));
        }
        slice += line;
      }
      total += slice;
    }
    dx[i] = to_scalar(total);
  }
}

extern "C" __global__ void avg_pool_adaptive_forward(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, index_t in_d, index_t in_h, index_t in_w, index_t out_d, index_t out_h, index_t out_w) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place o = place_of(i / run, out_d, out_h, out_w);
    const Part d = part_of(o.d, in_d, out_d), h = part_of(o.h, in_h, out_h), w = part_of(o.w, in_w, out_w);
    acc_t total = 0;
    for (index_t qd = d.first; qd < d.end; ++qd) {
      acc_t slice = 0;
      for (index_t qh = h.first; qh < h.end; ++qh) {
        const index_t row = ((o.plane * in_d + qd) * in_h + qh) * in_w;
        acc_t line = 0;
        for (index_t qw = w.first; qw < w.end; ++qw) line += to_acc(x[(row + qw) * run + lane]);
        slice += line;
      }
      total += slice;
    }
    const acc_t elements = (acc_t)(d.end - d.first) * (acc_t)(h.end - h.first) * (acc_t)(w.end - w.first);
    y[i] = to_scalar(total / elements);
  }
}

extern "C" __global__ void avg_pool_adaptive_backward(
    const scalar_t* __restrict__ dy,  // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ dx,        // [planes, in_d, in_h, in_w, run]
    index_t n, index_t run, index_t in_d, index_t in_h, index_t in_w, index_t out_d, index_t out_h, index_t out_w) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place q = place_of(i / run, in_d, in_h, in_w);
    const Part d = outputs_over(q.d, in_d, out_d), h = outputs_over(q.h, in_h, out_h), w = outputs_over(q.w, in_w, out_w);
    acc_t total = 0;
    for (index_t od = d.first; od < d.end; ++od) {
      const Part taps_d = part_of(od, in_d, out_d);
      acc_t slice = 0;
      for (index_t oh = h.first; oh < h.end; ++oh) {
        const Part taps_h = part_of(oh, in_h, out_h);
        const acc_t taps_dh = (acc_t)(taps_d.end - taps_d.first) * (acc_t)(taps_h.end - taps_h.first);
        const index_t row = ((q.plane * out_d + od) * out_h + oh) * out_w;
        acc_t line = 0;
        for (index_t ow = w.first; ow < w.end; ++ow) {
          const Part taps_w = part_of(ow, in_w, out_w);
          line += to_acc(dy[(row + ow) * run + lane]) / (taps_dh * (acc_t)(taps_w.end - taps_w.first));
        }
        slice += line;
      }
      total += slice;
    }
    dx[i] = to_scalar(total);
  }
}
