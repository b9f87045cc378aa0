// The pointwise part of a step of a simple recurrent network:
//   h_next = f((x_gates + x_bias) + (h_gates + h_bias))    f is tanh, or with `relu` max(., 0)
// where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before.
//
// rnn_cell_forward   overwrites h_next, which is also what is saved, with active.
// rnn_cell_backward  overwrites dgates, the gradient to the sum (hence to both products and biases). The gradient to h_next
//                    is the sum of up to three arrays, so that adding them up costs no launch. relu: 0 where h_next is 0.
//
// With `masked`, a row whose `active` is false keeps h; backward, its dgates are 0 and dh, the gradient that passes by, is
// what arrived at h_next (0 in active rows). Without `masked`, active, h and dh are neither read nor written.
//
// A thread makes one unit of one row; neighbouring threads make neighbouring units, so all accesses are coalesced. Half
// types are computed in float32 and rounded once; tanh is CUDA's accurate one. NaN stays NaN.
//
// Memory, in arrays of batch x hidden: forward reads 2, writes 1; backward reads 2 to 4, writes 1 (the biases stay in the
// cache).
// Operations: one tanh and 3 additions a unit; memory-bound.
// Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
#include "include/cell.cuh"
#include "include/indexing.cuh"
#include "include/math.cuh"
#include "include/types.cuh"

extern "C" __global__ void rnn_cell_forward(
    const scalar_t* __restrict__ x_gates,  // [batch, hidden]
    const scalar_t* __restrict__ h_gates,  // [batch, hidden]
    const scalar_t* __restrict__ x_bias,   // [hidden]
    const scalar_t* __restrict__ h_bias,   // [hidden]
    const scalar_t* __restrict__ h,        // [batch, hidden]
    const bool* __restrict__ active,       // [batch]
    scalar_t* __restrict__ h_next,         // [batch, hidden]
    index_t n, index_t hidden, int masked, int relu) {
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const index_t row = e / hidden, unit = e - row * hidden;
    const acc_t from_x = to_acc(x_gates[e]) + to_acc(x_bias[unit]);
    const acc_t from_h = to_acc(h_gates[e]) + to_acc(h_bias[unit]);
    const acc_t sum = from_x + from_h;
    const acc_t rectified = sum > 0 || sum != sum ? sum : (acc_t)0;
    h_next[e] = masked && !active[row] ? h[e] : to_scalar(relu ? rectified : tanh(sum));
  }
}

extern "C" __global__ void rnn_cell_backward(
    const scalar_t* __restrict__ dh_0,    // [batch, hidden]
    const scalar_t* __restrict__ dh_1,    // [batch, hidden]
    const scalar_t* __restrict__ dh_2,    // [batch, hidden]
    const scalar_t* __restrict__ h_next,  // [batch, hidden]
    const bool* __restrict__ active,      // [batch]
    scalar_t* __restrict__ dgates,        // [batch, hidden]
    scalar_t* __restrict__ dh,            // [batch, hidden]
    int count, index_t n, index_t hidden, int masked, int relu) {
  const Arriving arriving = {dh_0, dh_1, dh_2, count};
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const bool frozen = masked && !active[e / hidden];
    const acc_t passed = arriving(e), y = to_acc(h_next[e]), zero = 0;
    const acc_t through = relu ? (y != 0 ? passed : zero) : passed * tanh_slope(y);
    dgates[e] = to_scalar(frozen ? zero : through);
    if (masked) dh[e] = to_scalar(frozen ? passed : zero);
  }
}
