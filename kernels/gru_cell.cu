// The pointwise part of a step of a gated recurrent unit, in PyTorch's form:
//   a = x_gates + x_bias    b = h_gates + h_bias, three blocks of `hidden` columns for r, z, n
//   r, z = sigmoid(a + b)    q = b_n    n = tanh(a_n + r * q)    h_next = (1 - z) * n + z * h
// where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before; r multiplies the second after its bias.
//
// gru_cell_forward   overwrites h_next and gates = r, z, n, q, which is what is saved, with h and active.
// gru_cell_backward  overwrites dx_gates and dh_gates, the gradients to a and b (they differ in the n block, by the factor
//                    r), and dh, the gradient to h that does not pass through h_gates. The gradient to h_next is the sum of
//                    up to three arrays, so that adding them up costs no launch.
//
// With `masked`, a row whose `active` is false keeps h, its gates are 0; backward, its dx_gates and dh_gates are 0 and dh is
// what arrived at h_next. Without `masked` active is not read.
//
// A thread makes one unit of one row; neighbouring threads make neighbouring units, so all accesses are coalesced. Half
// types are computed in float32 and rounded once; exp and tanh are CUDA's accurate ones.
//
// Memory, in arrays of batch x hidden: forward reads 7, writes 5; backward reads 6 to 8, writes 7 (the biases stay in the
// cache).
// Operations: three exponentials or hyperbolic tangents and about 25 others a unit; memory-bound.
// Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014 (there r multiplies h before
// the product).
#include "include/cell.cuh"
#include "include/indexing.cuh"
#include "include/math.cuh"
#include "include/types.cuh"

extern "C" __global__ void gru_cell_forward(
    const scalar_t* __restrict__ x_gates,  // [batch, 3, hidden]
    const scalar_t* __restrict__ h_gates,  // [batch, 3, hidden]
    const scalar_t* __restrict__ x_bias,   // [3, hidden]
    const scalar_t* __restrict__ h_bias,   // [3, hidden]
    const scalar_t* __restrict__ h,        // [batch, hidden]
    const bool* __restrict__ active,       // [batch]
    scalar_t* __restrict__ h_next,         // [batch, hidden]
    scalar_t* __restrict__ gates,          // [batch, 4, hidden]
    index_t n, index_t hidden, int masked) {
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const index_t row = e / hidden, unit = e - row * hidden, in = 3 * row * hidden + unit, out = in + row * hidden;
    const bool frozen = masked && !active[row];
    acc_t a[3], b[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      const index_t column = k * hidden;
      a[k] = to_acc(x_gates[in + column]) + to_acc(x_bias[unit + column]);
      b[k] = to_acc(h_gates[in + column]) + to_acc(h_bias[unit + column]);
    }
    const acc_t reset = sigmoid(a[0] + b[0]), keep = sigmoid(a[1] + b[1]), fresh = tanh(a[2] + reset * b[2]);
    const acc_t zero = 0;
    gates[out] = to_scalar(frozen ? zero : reset);
    gates[out + hidden] = to_scalar(frozen ? zero : keep);
    gates[out + 2 * hidden] = to_scalar(frozen ? zero : fresh);
    gates[out + 3 * hidden] = to_scalar(frozen ? zero : b[2]);
    h_next[e] = frozen ? h[e] : to_scalar((1 - keep) * fresh + keep * to_acc(h[e]));
  }
}

extern "C" __global__ void gru_cell_backward(
    const scalar_t* __restrict__ dh_0,   // [batch, hidden]
    const scalar_t* __restrict__ dh_1,   // [batch, hidden]
    const scalar_t* __restrict__ dh_2,   // [batch, hidden]
    const scalar_t* __restrict__ gates,  // [batch, 4, hidden]
    const scalar_t* __restrict__ h,      // [batch, hidden]
    const bool* __restrict__ active,     // [batch]
    scalar_t* __restrict__ dx_gates,     // [batch, 3, hidden]
    scalar_t* __restrict__ dh_gates,     // [batch, 3, hidden]
    scalar_t* __restrict__ dh,           // [batch, hidden]
    int count, index_t n, index_t hidden, int masked) {
  const Arriving arriving = {dh_0, dh_1, dh_2, count};
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const index_t row = e / hidden, out = e + 2 * row * hidden, in = out + row * hidden;
    const bool frozen = masked && !active[row];
    const acc_t reset = to_acc(gates[in]), keep = to_acc(gates[in + hidden]), fresh = to_acc(gates[in + 2 * hidden]),
                q = to_acc(gates[in + 3 * hidden]);
    const acc_t passed = arriving(e), zero = 0;
    const acc_t inner = frozen ? zero : passed * (1 - keep) * tanh_slope(fresh);
    const scalar_t d_reset = to_scalar(frozen ? zero : inner * q * sigmoid_slope(reset));
    const scalar_t d_keep = to_scalar(frozen ? zero : passed * (to_acc(h[e]) - fresh) * sigmoid_slope(keep));
    dx_gates[out] = d_reset;
    dh_gates[out] = d_reset;
    dx_gates[out + hidden] = d_keep;
    dh_gates[out + hidden] = d_keep;
    dx_gates[out + 2 * hidden] = to_scalar(inner);
    dh_gates[out + 2 * hidden] = to_scalar(inner * reset);
    dh[e] = to_scalar(frozen ? passed : passed * keep);
  }
}
