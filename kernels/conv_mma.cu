// Convolution and its gradients on tensor cores (sm_80 and newer), of arrays with channels last in memory. Products of
// matrices that are never stored (include/mma_tile.cuh, include/conv_mma.cuh); float32 is multiplied as tf32.
//
// conv_mma_forward      overwrites y. A block makes a tile of (positions of all images) x (output channels) of a group. With
//                       `rectify` negative results become 0 (include/relu.cuh); with `masked` the mask is overwritten: a
//                       byte for each 16 bytes of y, whose bits say which results are not 0.
// conv_mma_forward_pooled   overwrites y with relu of the maxima of the results' windows of 2 x 2, stride 2 (the tile's rows run
//                       over the windows' positions, so that the results themselves are never stored); with `masked` also
//                       `places`, a byte for each: 0 to 3, the maximum's position in its window, or 4 where relu made it 0.
// conv_mma_input_grad   overwrites dx, gathered by phases as conv_input_grad of conv.cu does: a tile of (positions of a
//                       phase) x (input channels).
// conv_mma_weight_grad  overwrites parts of dw: a tile of (output channels) x (taps and input channels), added up over
//                       `share` of the (image, position) pairs. conv_sum of conv.cu adds the parts in order. If biased,
//                       parts of the bias' gradient too: the sums of dy's channels, which its tiles hold anyway.
//
// inputs and outputs are channels a group; those that are copied 16 bytes at a time must be a multiple of 16 bytes: the
// channels of the array that is read, for a weight gradient both. All kernels take shared_bytes of dynamic
// shared memory, and arrays that begin at multiples of 16 bytes.
//
// Sums are float32, over k in order, rounded once at the end; the padding is made of zeros.
// Memory: a tile reads its rows and its columns once from the cache; parts are written and read once.
// Operations: a multiplication and an addition for each tap, channel and result; precise ones three times that.
// Source: Chetlur et al., "cuDNN: Efficient primitives for deep learning", arXiv:1410.0759 (tiles of products that are
// never stored).
#include "include/conv_mma.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_forward(
    const scalar_t* __restrict__ x,  // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ w,  // [groups, outputs, taps, inputs]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, out_d, out_h, out_w, groups * outputs]
    uint8* __restrict__ mask,        // [images, out_d, out_h, out_w, chunks], not written unless masked
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, int rectify, int masked,
    WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward<false, false>(x, w, b, y, mask, images, groups, inputs, outputs, biased, rectify, masked, window);
}

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_forward_pooled(
    const scalar_t* __restrict__ x,  // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ w,  // [groups, outputs, taps, inputs]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, out_d, out_h / 2, out_w / 2, groups * outputs]
    uint8* __restrict__ places,      // [images, out_d, out_h / 2, out_w / 2, groups * outputs], not written unless masked
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, int masked, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  forward<false, true>(x, w, b, y, places, images, groups, inputs, outputs, biased, 1, masked, window);
}

// period_d is stride_d / gcd(stride_d, dilation_d), and so on.
extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_input_grad(
    const scalar_t* __restrict__ dy,  // [images, out_d, out_h, out_w, groups * outputs]
    const scalar_t* __restrict__ w,   // [groups, inputs, taps, outputs]
    const scalar_t* __restrict__ b,   // [groups * inputs], added to dx if biased, else not read
    scalar_t* __restrict__ dx,        // [images, in_d, in_h, in_w, groups * inputs]
    index_t images, index_t groups, index_t inputs, index_t outputs, int biased, index_t period_d, index_t period_h,
    index_t period_w, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  input_grad<false>(dy, w, b, dx, images, groups, inputs, outputs, biased, period_d, period_h, period_w, window);
}

extern "C" __global__ void __launch_bounds__(workers, 1) conv_mma_weight_grad(
    const scalar_t* __restrict__ x,   // [images, in_d, in_h, in_w, groups * inputs]
    const scalar_t* __restrict__ dy,  // [images, out_d, out_h, out_w, groups * outputs]
    acc_t* __restrict__ parts,        // [parts, groups, outputs, taps, inputs]
    acc_t* __restrict__ bias_parts,   // [parts, groups * outputs], not written unless biased
    index_t images, index_t groups, index_t inputs, index_t outputs, index_t share, int biased, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  weight_grad<false>(x, dy, parts, bias_parts, images, groups, inputs, outputs, share, biased, window);
}
