// Convolution and relu: what is beside the convolution, whose own kernels rectify where they can (conv_mma_forward).
//
// conv_relu_forward   overwrites y with max(y, 0): NaN stays NaN.
// conv_relu_backward  overwrites dz = dy where the mask's bit is 1, else 0 (also for infinity and NaN), and parts of db, the
//                     sums of dz over `share` of the positions for 32 channels a block, as conv_bias_grad of conv.cu would
//                     make them of dz: conv_sum adds the parts in order.
//
// Channels are last. The mask has a byte for each 16 bytes of y, the first element's bit lowest; the last byte of a row may
// have fewer. Sums are in acc_t.
//
// Memory: forward reads and writes y; backward reads dy and the mask, a sixteenth of it, and writes dz.
// Operations: a comparison an element; backward one addition. Memory-bound.
// Source: Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
#include "include/channel_sum.cuh"
#include "include/indexing.cuh"
#include "include/relu.cuh"
#include "include/types.cuh"

extern "C" __global__ void conv_relu_forward(
    scalar_t* __restrict__ y,  // [n]
    index_t n) {
  for (index_t i = first_index(); i < n; i += index_stride()) y[i] = rectified(y[i]);
}

extern "C" __global__ void conv_relu_backward(
    const scalar_t* __restrict__ dy,   // [positions, channels]
    const uint8* __restrict__ mask,    // [positions, chunks]
    scalar_t* __restrict__ dz,         // [positions, channels]
    acc_t* __restrict__ parts,         // [parts, channels]
    index_t positions, index_t channels, index_t share) {
  constexpr int chunk = 16 / (int)sizeof(scalar_t);
  const index_t blocks = (channels + 31) / 32, block = (index_t)blockIdx.x, part = block / blocks;
  const Lane lane = lane_of(block % blocks, part, share, positions, true);
  const index_t bytes = (channels + chunk - 1) / chunk, byte = lane.channel / chunk;
  const unsigned bit = 1u << lane.channel % chunk;
  acc_t sum = 0;
  if (lane.channel < channels) {
#pragma unroll 8
    for (index_t i = lane.first; i < lane.end; i += lane.members) {
      const scalar_t given = dy[i * channels + lane.channel];
      const scalar_t value = (mask[i * bytes + byte] & bit) != 0 ? given : to_scalar((acc_t)0);
      dz[i * channels + lane.channel] = value;
      sum += to_acc(value);
    }
  }
  sum = sum_members(lane, sum);
  if (lane.member == 0 && lane.channel < channels) parts[part * channels + lane.channel] = sum;
}
