// The pointwise part of a step of long short-term memory:
//   s = (x_gates + x_bias) + (h_gates + h_bias), four blocks of `hidden` columns for i, f, g, o (PyTorch's order)
//   i, f, o = sigmoid(s)    g = tanh(s)    c_next = f * c + i * g    h_next = o * tanh(c_next)
// where x_gates = x W_ih^T and h_gates = h W_hh^T are products made before.
//
// lstm_cell_forward   overwrites h_next, c_next and gates = i, f, g, o, which is what is saved, with c, c_next and active.
// lstm_cell_backward  overwrites dgates, the gradient to s (hence to both products and biases), and dc, that to c. The
//                     gradient to h_next is the sum of up to three arrays, so that adding them up costs no launch.
//
// With `masked`, a row whose `active` is false keeps h and c, its gates are 0; backward, its dgates are 0, dc is dc_next and
// dh, the gradient that passes by, the sum that arrived at h_next (0 in active rows). Without `masked`, active, h and dh are
// neither read nor written.
//
// A thread makes one unit of one row; neighbouring threads make neighbouring units, so all accesses are coalesced. Half
// types are computed in float32 and rounded once; exp and tanh are CUDA's accurate ones.
//
// Memory, in arrays of batch x hidden: forward reads 9, writes 6; backward reads 8 to 10, writes 5 (the biases stay in the
// cache).
// Operations: four exponentials or hyperbolic tangents, one more tanh, and about 25 others a unit; memory-bound.
// Sources: Hochreiter, Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; Gers, Schmidhuber, Cummins,
// "Learning to forget", Neural Computation 12, 2000.
#include "include/cell.cuh"
#include "include/indexing.cuh"
#include "include/math.cuh"
#include "include/types.cuh"

extern "C" __global__ void lstm_cell_forward(
    const scalar_t* __restrict__ x_gates,  // [batch, 4, hidden]
    const scalar_t* __restrict__ h_gates,  // [batch, 4, hidden]
    const scalar_t* __restrict__ x_bias,   // [4, hidden]
    const scalar_t* __restrict__ h_bias,   // [4, hidden]
    const scalar_t* __restrict__ h,        // [batch, hidden]
    const scalar_t* __restrict__ c,        // [batch, hidden]
    const bool* __restrict__ active,       // [batch]
    scalar_t* __restrict__ h_next,         // [batch, hidden]
    scalar_t* __restrict__ c_next,         // [batch, hidden]
    scalar_t* __restrict__ gates,          // [batch, 4, hidden]
    index_t n, index_t hidden, int masked) {
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const index_t row = e / hidden, unit = e - row * hidden, at = 4 * row * hidden + unit;
    acc_t s[4];
    const bool frozen = masked && !active[row];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const index_t column = k * hidden;
      const acc_t from_x = to_acc(x_gates[at + column]) + to_acc(x_bias[unit + column]);
      const acc_t from_h = to_acc(h_gates[at + column]) + to_acc(h_bias[unit + column]);
      const acc_t sum = from_x + from_h;
      s[k] = frozen ? (acc_t)0 : k == 2 ? tanh(sum) : sigmoid(sum);
      gates[at + column] = to_scalar(s[k]);
    }
    const acc_t before = to_acc(c[e]);
    const acc_t after = s[1] * before + s[0] * s[2];
    c_next[e] = frozen ? c[e] : to_scalar(after);
    h_next[e] = frozen ? h[e] : to_scalar(s[3] * tanh(after));
  }
}

extern "C" __global__ void lstm_cell_backward(
    const scalar_t* __restrict__ dh_0,     // [batch, hidden]
    const scalar_t* __restrict__ dh_1,     // [batch, hidden]
    const scalar_t* __restrict__ dh_2,     // [batch, hidden]
    const scalar_t* __restrict__ dc_next,  // [batch, hidden]
    const scalar_t* __restrict__ gates,    // [batch, 4, hidden]
    const scalar_t* __restrict__ c,        // [batch, hidden]
    const scalar_t* __restrict__ c_next,   // [batch, hidden]
    const bool* __restrict__ active,       // [batch]
    scalar_t* __restrict__ dgates,         // [batch, 4, hidden]
    scalar_t* __restrict__ dc,             // [batch, hidden]
    scalar_t* __restrict__ dh,             // [batch, hidden]
    int count, index_t n, index_t hidden, int masked) {
  const Arriving arriving = {dh_0, dh_1, dh_2, count};
  for (index_t e = first_index(); e < n; e += index_stride()) {
    const index_t row = e / hidden, at = e + 3 * row * hidden;
    const bool frozen = masked && !active[row];
    const acc_t i = to_acc(gates[at]), f = to_acc(gates[at + hidden]), g = to_acc(gates[at + 2 * hidden]),
                o = to_acc(gates[at + 3 * hidden]);
    const acc_t passed = arriving(e), tc = tanh(to_acc(c_next[e]));
    const acc_t inner = to_acc(dc_next[e]) + passed * o * tanh_slope(tc);
    const acc_t zero = 0;
    dgates[at] = to_scalar(frozen ? zero : inner * g * sigmoid_slope(i));
    dgates[at + hidden] = to_scalar(frozen ? zero : inner * to_acc(c[e]) * sigmoid_slope(f));
    dgates[at + 2 * hidden] = to_scalar(frozen ? zero : inner * i * tanh_slope(g));
    dgates[at + 3 * hidden] = to_scalar(frozen ? zero : passed * tc * sigmoid_slope(o));
    dc[e] = frozen ? dc_next[e] : to_scalar(inner * f);
    if (masked) dh[e] = to_scalar(frozen ? passed : zero);
  }
}
