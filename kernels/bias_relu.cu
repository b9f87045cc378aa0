// A bias per channel and relu in one pass: y = x + b[c] where that is positive or NaN, else 0; x (images, channels, inner).
//
// bias_relu_forward   overwrites y, which is also what is saved for the backward pass.
// bias_relu_backward  overwrites dx = dy where y is not 0 (NaN is not), else 0, and `partial`: the sums of dx over the parts
//                     of each channel. A part is `part` consecutive elements of a channel, the last one what is left.
// bias_relu_sum       overwrites db: the sum of each channel's partial sums.
//
// The sum x + b is made in the type computed in and rounded once; so is db.
//
// forward gives a thread an element. backward gives a part to a team of TEAM threads (include/team.cuh), so that dy and y
// are read once for both results; the channels of one part are neighbours, hence with inner = 1 and a thread a part
// reading is coalesced over channels, otherwise over a channel's elements. sum gives a team a channel. The order of sums is
// fixed by shapes. Arrays with channels last in memory have inner = 1, and a position counts as an image.
//
// Memory: forward reads x, writes y; backward reads dy and y, writes dx; both once. `partial` has channels numbers a part.
// Operations: one addition and one comparison an element; memory-bound.
// Source: Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
#include "include/indexing.cuh"
#include "include/team.cuh"
#include "include/types.cuh"

extern "C" __global__ void bias_relu_forward(
    const scalar_t* __restrict__ x,  // [images, channels, inner]
    const scalar_t* __restrict__ b,  // [channels]
    scalar_t* __restrict__ y,        // [images, channels, inner]
    index_t n, index_t channels, index_t inner) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const acc_t value = to_acc(x[i]) + to_acc(b[i / inner % channels]);
    y[i] = to_scalar(value > 0 || value != value ? value : (acc_t)0);
  }
}

extern "C" __global__ void bias_relu_backward(
    const scalar_t* __restrict__ dy,  // [images, channels, inner]
    const scalar_t* __restrict__ y,   // [images, channels, inner]
    scalar_t* __restrict__ dx,        // [images, channels, inner]
    acc_t* __restrict__ partial,      // [parts, channels]
    index_t images, index_t channels, index_t inner, index_t parts, index_t part) {
  const index_t elements = images * inner;  // of a channel
  for (index_t line = first_line(); line < parts * channels; line += line_stride()) {
    const index_t number = line / channels, channel = line - number * channels;
    const index_t start = number * part, end = elements - start < part ? elements : start + part;
    acc_t total = 0;
    for (index_t j = start + member(); j < end; j += TEAM) {
      const index_t image = j / inner, i = (image * channels + channel) * inner + (j - image * inner);
      const acc_t value = to_acc(y[i]) != 0 ? to_acc(dy[i]) : (acc_t)0;
      dx[i] = to_scalar(value);
      total += value;
    }
    total = joined(total, Sum());
    if (member() == 0) partial[line] = total;
  }
}

extern "C" __global__ void bias_relu_sum(
    const acc_t* __restrict__ partial,  // [parts, channels]
    scalar_t* __restrict__ db,          // [channels]
    index_t channels, index_t parts) {
  for (index_t channel = first_line(); channel < channels; channel += line_stride()) {
    acc_t total = 0;
    for (index_t number = member(); number < parts; number += TEAM) total += partial[number * channels + channel];
    total = joined(total, Sum());
    if (member() == 0) db[channel] = to_scalar(total);
  }
}
