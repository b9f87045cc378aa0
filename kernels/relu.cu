// relu: y[i] = x[i] where it is positive or NaN, else 0.
//
// relu_forward   overwrites y, which is also what is saved for the backward pass.
// relu_backward  overwrites dx: dx[i] = dy[i] where y[i] is not 0 (NaN is not), else 0; so the gradient at 0 is 0, and an
//                infinite or NaN dy does not pass where y is 0.
//
// Negative zero becomes zero. Nothing is rounded: the same bits in each dtype and on each device.
//
// Memory: forward reads n elements, writes n; backward reads 2 n, writes n.
// Operations: one comparison an element; memory-bound.
// Source: Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
#include "include/indexing.cuh"
#include "include/types.cuh"

extern "C" __global__ void relu_forward(
    const scalar_t* __restrict__ x,  // [n]
    scalar_t* __restrict__ y,        // [n]
    index_t n) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const acc_t value = to_acc(x[i]);
    y[i] = to_scalar(value > 0 || value != value ? value : (acc_t)0);
  }
}

extern "C" __global__ void relu_backward(
    const scalar_t* __restrict__ dy,  // [n]
    const scalar_t* __restrict__ y,   // [n]
    scalar_t* __restrict__ dx,        // [n]
    index_t n) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    dx[i] = to_acc(y[i]) != 0 ? dy[i] : to_scalar((acc_t)0);
  }
}
