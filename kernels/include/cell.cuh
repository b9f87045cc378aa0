// What the cells of recurrent layers share: the logistic function, and the sum of the gradients that arrive at a state.
#pragma once
#include "math.cuh"
#include "types.cuh"

// 1 / (1 + exp(-v)). exp never overflows, and small results keep all their digits.
__device__ __forceinline__ acc_t sigmoid(acc_t v) {
  const acc_t e = exp(-fabs(v));
  return (v >= 0 ? (acc_t)1 : e) / (1 + e);
}

// Derivatives of sigmoid and tanh by their values; 1 - y is exact where it is small.
__device__ __forceinline__ acc_t sigmoid_slope(acc_t y) { return y * (1 - y); }
__device__ __forceinline__ acc_t tanh_slope(acc_t y) { return (1 - y) * (1 + y); }

// The gradient at a new state comes in up to three arrays (from the output, through the product of the next step, and past
// it); those beyond `count` are not read.
struct Arriving {
  const scalar_t *first, *second, *third;
  int count;
  __device__ __forceinline__ acc_t operator()(index_t i) const {
    acc_t total = to_acc(first[i]);
    if (count > 1) total += to_acc(second[i]);
    if (count > 2) total += to_acc(third[i]);
    return total;
  }
};
