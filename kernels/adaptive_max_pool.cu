// Adaptive max pooling over 1, 2 and 3 spatial dimensions and its gradient; windows: include/adaptive.cuh.
//
// adaptive_max_pool_forward  overwrites y and places. places is what is saved: where the maximum is, flat in its input
//                            plane. The first maximum wins, of several NaN the last.
// adaptive_max_pool_scatter  overwrites dx, the gradient to the input: a thread gathers one dx from the windows over it
//                            whose maximum it is, in row-major order, so there is no atomic addition. places must lie in
//                            the windows of their outputs. Sums of half types are in float32, rounded once.
//
// Arrays are [planes, d, h, w, run]: run is 1, or the number of channels where those are last in memory and a plane is an
// image. A thread makes one element of the result; neighbouring threads make neighbours in memory.
//
// Memory: forward reads each x once from DRAM (again from cache where windows overlap), writes y and 8 bytes an output;
// scatter reads dy and places once from DRAM, writes dx.
// Operations: one comparison a position of a window; memory-bound.
// Source: He, Zhang, Ren, Sun, "Spatial pyramid pooling in deep convolutional networks", ECCV 2014.
#include "include/adaptive.cuh"
#include "include/indexing.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

extern "C" __global__ void adaptive_max_pool_forward(
    const scalar_t* __restrict__ x,  // [planes, in_d, in_h, in_w, run]
    scalar_t* __restrict__ y,        // [planes, out_d, out_h, out_w, run]
    int64* __restrict__ places,      // [planes, out_d, out_h, out_w, run]
    index_t n, index_t run, index_t in_d, index_t in_h, index_t in_w, index_t out_d, index_t out_h, index_t out_w) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place o = place_of(i / run, out_d, out_h, out_w);
    const Part d = part_of(o.d, in_d, out_d), h = part_of(o.h, in_h, out_h), w = part_of(o.w, in_w, out_w);
    const scalar_t* plane = x + o.plane * in_d * in_h * in_w * run + lane;
    acc_t best = 0;
    index_t winner = -1;
    for (index_t qd = d.first; qd < d.end; ++qd) {
      for (index_t qh = h.first; qh < h.end; ++qh) {
        const index_t row = (qd * in_h + qh) * in_w;
        for (index_t qw = w.first; qw < w.end; ++qw) {
          const acc_t value = to_acc(plane[(row + qw) * run]);
          if (winner < 0 || value > best || value != value) {
            best = value;
            winner = row + qw;
          }
        }
      }
    }
    y[i] = to_scalar(best);
    places[i] = winner;
  }
}

extern "C" __global__ void adaptive_max_pool_scatter(
    const scalar_t* __restrict__ dy,   // [planes, out_d, out_h, out_w, run]
    const int64* __restrict__ places,  // [planes, out_d, out_h, out_w, run]
    scalar_t* __restrict__ dx,         // [planes, in_d, in_h, in_w, run]
    index_t n, index_t run, index_t in_d, index_t in_h, index_t in_w, index_t out_d, index_t out_h, index_t out_w) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t lane = i % run;
    const Place q = place_of(i / run, in_d, in_h, in_w);
    const Part d = outputs_over(q.d, in_d, out_d), h = outputs_over(q.h, in_h, out_h), w = outputs_over(q.w, in_w, out_w);
    const int64 here = (q.d * in_h + q.h) * in_w + q.w;
    acc_t total = 0;
    for (index_t od = d.first; od < d.end; ++od) {
      for (index_t oh = h.first; oh < h.end; ++oh) {
        const index_t row = ((q.plane * out_d + od) * out_h + oh) * out_w;
        for (index_t ow = w.first; ow < w.end; ++ow) {
          const index_t o = (row + ow) * run + lane;
          if (places[o] == here) total += to_acc(dy[o]);
        }
      }
    }
    dx[i] = to_scalar(total);
  }
}
