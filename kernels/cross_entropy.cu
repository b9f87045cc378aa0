// Negative log-likelihood of class numbers, alone and fused with log-softmax, and the gradient. For scores x (outer, count,
// inner), where a line is the scores of one element over all classes, with q = log_softmax(x), t the element's class, w[t]
// its weight (0 where ignored, NaN where t is no class), c the class weights, own = 1 - e, even = e / count:
//
// cross_entropy_forward   overwrites q and loss = -own * w[t] * q[t] - even * sum of c * q; 0 where ignored.
// cross_entropy_backward  overwrites dx = exp(q) * s * g - even * c * g, and - own * w[t] * g at the target, with s the sum
//                         of these coefficients and g the gradient of the element's loss, taken as 0 where ignored.
// cross_entropy_nll       overwrites loss = -w[t] * x[t]; 0 where ignored.
// cross_entropy_sum       overwrites y[k] with the sum of part k of x, `part` elements long (the last one what is left).
//
// q is what is saved; like w, c, g and loss it is in the type computed in. `flat` holds the place of x[t] in all of x.
//
// forward gives a line to a team of TEAM threads, as softmax.cu does; backward and nll give a thread an element; sum gives
// a team a part, and is started again on its own result until one number is left. The order of sums is fixed by shapes.
//
// Memory: forward reads x from DRAM once (again from a cache), writes q; backward reads q once, writes dx; besides, each
// reads and writes a few numbers a line. nll reads one score a line. sum reads x once.
// Operations: an element takes two exponentials forward, one backward; memory-bound.
// Sources: Bridle, "Probabilistic interpretation of feedforward classification network outputs", Neurocomputing 1990;
// Szegedy et al., "Rethinking the inception architecture for computer vision", CVPR 2016 (label smoothing).
#include "include/indexing.cuh"
#include "include/math.cuh"
#include "include/softmax.cuh"
#include "include/team.cuh"
#include "include/types.cuh"

extern "C" __global__ void cross_entropy_forward(
    const scalar_t* __restrict__ x,     // [outer, count, inner]
    const int64* __restrict__ flat,     // [lines], lines = outer * inner
    const acc_t* __restrict__ weight,   // [lines]
    const bool* __restrict__ used,      // [lines]
    const acc_t* __restrict__ classes,  // [count] if weighted, else not read
    acc_t* __restrict__ loss,           // [lines]
    acc_t* __restrict__ q,              // [outer, count, inner]
    index_t lines, index_t count, index_t inner, int weighted, acc_t own, acc_t even) {
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t start = line_start(line, count, inner);
    const Shift shift = shift_of(x + start, count, inner);
    const acc_t log_z = log(shift.z);
    acc_t all = 0;
    for (index_t j = member(); j < count; j += TEAM) {
      const index_t i = start + j * inner;
      const acc_t value = to_acc(x[i]) - shift.m - log_z;
      q[i] = value;
      all += weighted ? value * classes[j] : value;
    }
    if (even != 0) all = joined(all, Sum());
    if (member() == 0) {
      acc_t result = 0;
      if (used[line]) {
        result = -weight[line] * (to_acc(x[(index_t)flat[line]]) - shift.m - log_z);
        if (even != 0) result = own * result - even * all;
      }
      loss[line] = result;
    }
  }
}

extern "C" __global__ void cross_entropy_backward(
    const scalar_t* __restrict__ q,     // [outer, count, inner]
    const acc_t* __restrict__ g,        // [lines] if g_step is 1, [1] if it is 0
    const int64* __restrict__ flat,     // [lines]
    const acc_t* __restrict__ weight,   // [lines]
    const bool* __restrict__ used,      // [lines]
    const acc_t* __restrict__ classes,  // [count] if weighted, else not read
    const acc_t* __restrict__ total,    // [1] the sum of classes if weighted, else not read
    scalar_t* __restrict__ dx,          // [outer, count, inner]
    index_t n, index_t count, index_t inner, int g_step, int weighted, acc_t own, acc_t even) {
  const acc_t spread = even * (weighted ? total[0] : (acc_t)count);
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const index_t row = i / inner, outer = row / count, line = outer * inner + (i - row * inner);
    const bool takes_part = used[line];
    const acc_t gradient = takes_part ? g[line * g_step] : (acc_t)0;
    const acc_t at_target = own * weight[line];
    acc_t value = exp(to_acc(q[i])) * (takes_part ? (at_target + spread) * gradient : (acc_t)0);
    if (even != 0) value -= (weighted ? even * classes[row - outer * count] : even) * gradient;
    if ((index_t)flat[line] == i) value -= at_target * gradient;
    dx[i] = to_scalar(value);
  }
}

extern "C" __global__ void cross_entropy_nll(
    const scalar_t* __restrict__ x,    // [outer, count, inner]
    const int64* __restrict__ flat,    // [lines]
    const acc_t* __restrict__ weight,  // [lines]
    const bool* __restrict__ used,     // [lines]
    acc_t* __restrict__ loss,          // [lines]
    index_t lines) {
  for (index_t line = first_index(); line < lines; line += index_stride()) {
    loss[line] = used[line] ? -weight[line] * to_acc(x[(index_t)flat[line]]) : (acc_t)0;
  }
}

extern "C" __global__ void cross_entropy_sum(
    const scalar_t* __restrict__ x,  // [n]
    scalar_t* __restrict__ y,        // [parts]
    index_t n, index_t parts, index_t part) {
  for (index_t k = first_line(); k < parts; k += line_stride()) {
    const index_t start = k * part, rest = n - start, count = rest < part ? rest : part;
    acc_t total = 0;
    for (index_t j = member(); j < count; j += TEAM) total += to_acc(x[start + j]);
    total = joined(total, Sum());
    if (member() == 0) y[k] = to_scalar(total);
  }
}
