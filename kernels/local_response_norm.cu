// Local response normalisation across channels: y[c] = x[c] * s[c]^-beta, s[c] = k + scale * sum of x[j]^2 over the
// channels c - below <= j <= c + above that exist. scale = alpha / size.
//
// local_response_norm_forward      overwrites y and s; s, in the type computed in, is saved for the backward pass with x.
// local_response_norm_backward     overwrites dx: dx[i] = t[i] - factor * x[i] * sum of t[c] * x[c] / s[c] over the windows
//                                  c that hold i, t = dy * s^-beta, factor = 2 * alpha * beta / size. There `below` and
//                                  `above` are the forward pass's swapped.
// local_response_norm_channel_sum  overwrites y: the sum of x over the same window of channels.
//
// A thread makes one element and walks over its window, its own channel first, then downwards, then upwards; neighbouring
// threads are neighbours in memory, so each step of the walk is coalesced, and all but the first reading of a number comes
// from a cache. Half types are computed in float32 and rounded once. Arrays with channels last in memory have inner = 1,
// and a position counts as an image.
//
// Memory: forward reads x from DRAM once, writes y and s; backward reads dy, x and s once, writes dx; channel_sum reads x
// once, writes y.
// Operations: an element takes 2 a channel of the window and one power forward; backward one power and 4 operations a
// channel of the window, so for large windows of small elements it is bound by the powers.
// Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012.
#include "include/indexing.cuh"
#include "include/math.cuh"
#include "include/types.cuh"

// The sum of term(j) over the window of element i; j is the place of the same position in another channel.
template <typename Term>
__device__ __forceinline__ acc_t over_window(
    index_t i, index_t channels, index_t inner, index_t below, index_t above, const Term& term) {
  const index_t channel = i / inner % channels;
  const index_t down = below < channel ? below : channel;
  const index_t room = channels - 1 - channel;
  const index_t up = above < room ? above : room;
  acc_t total = term(i);
  for (index_t step = 1; step <= down; ++step) total += term(i - step * inner);
  for (index_t step = 1; step <= up; ++step) total += term(i + step * inner);
  return total;
}

struct Square {
  const scalar_t* x;
  __device__ __forceinline__ acc_t operator()(index_t j) const {
    const acc_t value = to_acc(x[j]);
    return value * value;
  }
};

struct Same {
  const scalar_t* x;
  __device__ __forceinline__ acc_t operator()(index_t j) const { return to_acc(x[j]); }
};

struct Across {
  const scalar_t *dy, *x;
  const acc_t* s;
  acc_t beta;
  __device__ __forceinline__ acc_t direct(index_t j) const { return to_acc(dy[j]) * pow(s[j], -beta); }
  __device__ __forceinline__ acc_t operator()(index_t j) const { return direct(j) * to_acc(x[j]) / s[j]; }
};

extern "C" __global__ void local_response_norm_forward(
    const scalar_t* __restrict__ x,  // [images, channels, inner]
    scalar_t* __restrict__ y,        // [images, channels, inner]
    acc_t* __restrict__ s,           // [images, channels, inner]
    index_t n, index_t channels, index_t inner, index_t below, index_t above, acc_t scale, acc_t beta, acc_t k) {
  const Square term = {x};
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const acc_t total = over_window(i, channels, inner, below, above, term) * scale + k;
    s[i] = total;
    y[i] = to_scalar(to_acc(x[i]) * pow(total, -beta));
  }
}

extern "C" __global__ void local_response_norm_backward(
    const scalar_t* __restrict__ dy,  // [images, channels, inner]
    const scalar_t* __restrict__ x,   // [images, channels, inner]
    const acc_t* __restrict__ s,      // [images, channels, inner]
    scalar_t* __restrict__ dx,        // [images, channels, inner]
    index_t n, index_t channels, index_t inner, index_t below, index_t above, acc_t factor, acc_t beta) {
  const Across term = {dy, x, s, beta};
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const acc_t across = over_window(i, channels, inner, below, above, term);
    dx[i] = to_scalar(term.direct(i) - factor * to_acc(x[i]) * across);
  }
}

extern "C" __global__ void local_response_norm_channel_sum(
    const scalar_t* __restrict__ x,  // [images, channels, inner]
    scalar_t* __restrict__ y,        // [images, channels, inner]
    index_t n, index_t channels, index_t inner, index_t below, index_t above) {
  const Same term = {x};
  for (index_t i = first_index(); i < n; i += index_stride()) {
    y[i] = to_scalar(over_window(i, channels, inner, below, above, term));
  }
}
