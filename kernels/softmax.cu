// softmax and log-softmax along one axis, and their gradients. With m the maximum of a line and z = sum of exp(x - m):
//
// softmax_forward       overwrites y = exp(x - m) / z.
// softmax_backward      overwrites dx = dy * y - y * sum of dy * y.
// softmax_log_forward   overwrites y = x - m - log(z).
// softmax_log_backward  overwrites dx = dy - exp(y) * sum of dy.
//
// The result y is what is saved. NaN or +inf in a line, or -inf alone, makes all of it NaN, as in the array code. Half types
// are computed in float32 and rounded once.
//
// A line belongs to a team of TEAM threads (include/team.cuh): where lines are contiguous (inner = 1) to a warp or, long
// ones, to a block, so that reading is coalesced along the line; otherwise to one thread, and neighbouring threads read
// neighbouring lines. The order of sums is fixed by shapes.
//
// Memory: forward reads x from DRAM once (and again, twice, from a cache as far as the lines in flight fit there), writes
// y; backward reads dy and y so, writes dx.
// Operations: softmax two exponentials an element forward, none backward; log-softmax one in each; memory-bound.
// Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs", Neurocomputing 1990.
#include "include/math.cuh"
#include "include/softmax.cuh"
#include "include/team.cuh"
#include "include/types.cuh"

extern "C" __global__ void softmax_forward(
    const scalar_t* __restrict__ x,  // [outer, count, inner]
    scalar_t* __restrict__ y,        // [outer, count, inner]
    index_t lines, index_t count, index_t inner) {
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t start = line_start(line, count, inner);
    const Shift shift = shift_of(x + start, count, inner);
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      y[i] = to_scalar(exp(to_acc(x[i]) - shift.m) / shift.z);
    }
  }
}

extern "C" __global__ void softmax_backward(
    const scalar_t* __restrict__ dy,  // [outer, count, inner]
    const scalar_t* __restrict__ y,   // [outer, count, inner]
    scalar_t* __restrict__ dx,        // [outer, count, inner]
    index_t lines, index_t count, index_t inner) {
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t start = line_start(line, count, inner);
    acc_t total = 0;
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      total += to_acc(dy[i]) * to_acc(y[i]);
    }
    total = joined(total, Sum());
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      dx[i] = to_scalar(to_acc(dy[i]) * to_acc(y[i]) - to_acc(y[i]) * total);
    }
  }
}

extern "C" __global__ void softmax_log_forward(
    const scalar_t* __restrict__ x,  // [outer, count, inner]
    scalar_t* __restrict__ y,        // [outer, count, inner]
    index_t lines, index_t count, index_t inner) {
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t start = line_start(line, count, inner);
    const Shift shift = shift_of(x + start, count, inner);
    const acc_t log_z = log(shift.z);
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      y[i] = to_scalar(to_acc(x[i]) - shift.m - log_z);
    }
  }
}

extern "C" __global__ void softmax_log_backward(
    const scalar_t* __restrict__ dy,  // [outer, count, inner]
    const scalar_t* __restrict__ y,   // [outer, count, inner]
    scalar_t* __restrict__ dx,        // [outer, count, inner]
    index_t lines, index_t count, index_t inner) {
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t start = line_start(line, count, inner);
    acc_t total = 0;
    for (index_t j = member(); j < count; j += TEAM) total += to_acc(dy[start + j * inner]);
    total = joined(total, Sum());
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      dx[i] = to_scalar(to_acc(dy[i]) - exp(to_acc(y[i])) * total);
    }
  }
}
