// The kernels of conv_mma.cu for float32 in full precision: each overwrites what its namesake there does. A number is
// multiplied as the sum of two tf32 numbers, by three products (include/mma_tile.cuh).
//
// Memory: as in conv_mma.cu. Operations: three times those there.
// Source: see conv_mma.cu and include/mma_tile.cuh.
#include "include/conv_mma.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_precise_forward(
    const scalar_t* __restrict__ x,  // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ w,  // [groups, outputs, taps, inputs]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, out_d, out_h, out_w, groups * outputs]
    uint8* __restrict__ mask,        // [images, out_d, out_h, out_w, chunks], not written unless masked
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, int rectify, int masked,
    WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward<true, false>(x, w, b, y, mask, images, groups, inputs, outputs, biased, rectify, masked, window);
}

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_precise_forward_pooled(
    const scalar_t* __restrict__ x,  // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ w,  // [groups, outputs, taps, inputs]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, out_d, out_h / 2, out_w / 2, groups * outputs]
    uint8* __restrict__ places,      // [images, out_d, out_h / 2, out_w / 2, groups * outputs], not written unless masked
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, int masked, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward<true, true>(x, w, b, y, places, images, groups, inputs, outputs, biased, 1, masked, window);
}

// period_d is stride_d / gcd(stride_d, dilation_d), and so on.
extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_precise_input_grad(
    const scalar_t* __restrict__ dy,  // [images, out_d, out_h, out_w, groups * outputs]
    const scalar_t* __restrict__ w,   // [groups, inputs, taps, outputs]
    const scalar_t* __restrict__ b,   // [groups * inputs], added to dx if biased, else not read
    scalar_t* __restrict__ dx,        // [images, in_d, in_h, in_w, groups * inputs]
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, index_t period_d, index_t period_h,
    index_t period_w, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  input_grad<true>(dy, w, b, dx, images, groups, inputs, outputs, biased, period_d, period_h, period_w, window);
}

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_precise_weight_grad(
    const scalar_t* __restrict__ x,   // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ dy,  // [images, out_d, out_h, out_w, groups * outputs]
    acc_t* __restrict__ parts,        // [parts, groups, outputs, taps, inputs]
    acc_t* __restrict__ bias_parts,   // [parts, groups * outputs], not written unless biased
    index_t images, index_t groups, index_t inputs, index_t outputs, index_t share, int biased, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  weight_grad<true>(x, dy, parts, bias_parts, images, groups, inputs, outputs, share, biased, window);
}
