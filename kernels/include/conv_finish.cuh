// What becomes of a tile's sums on their way to the result, where that is more than one sum a number: maxima of windows.
#pragma once
#include "mma_tile.cuh"
#include "relu.cuh"
#include "types.cuh"

// The bias is added (at the group's first result), then relu taken. `mask` has a byte for each chunk of a row's results,
// its bits those that are not 0, the first result's lowest; of maxima a byte for each.
struct Finish {
  const scalar_t* bias;
  bool biased, rectify, masked;
  uint8* mask;         // at the group's first result
  index_t mask_pitch;  // bytes of a row
};

struct __align__(chunk) Bytes {
  uint8 of[chunk];
};

// Each four of so many rows are a window, whose maximum is one result: the first of equal ones, of several NaN the last, as
// in max_pool.cu; then relu. A byte of the mask is the maximum's row in the window, 4 where relu makes 0 of it.
__device__ __forceinline__ void write_maxima(
    const Memory& memory, const Finish& finish, index_t rows, index_t results, index_t row0, index_t column0,
    scalar_t* y) {
  const bool whole = results % chunk == 0;
  for (int i = (int)threadIdx.x; i < tile_m / 4 * (tile_n / chunk); i += workers) {
    const int m = i / (tile_n / chunk) * 4, n = i % (tile_n / chunk) * chunk;
    const index_t column = column0 + n, to = (row0 + m) / 4 * finish.mask_pitch + column;
    if (row0 + m >= rows || column >= results) continue;
    Chunk made;
    Bytes from;
#pragma unroll
    for (int j = 0; j < chunk; ++j) {
      const bool inside = column + j < results;
      const float more = finish.biased && inside ? to_acc(finish.bias[column + j]) : 0.0f;
      const float* sums = &memory.result[m * result_pitch + n + j];
      scalar_t best = to_scalar(sums[0] + more);
      int row = 0;
#pragma unroll
      for (int k = 1; k < 4; ++k) {
        const scalar_t next = to_scalar(sums[k * result_pitch] + more);
        const float value = to_acc(next);
        if (value > to_acc(best) || value != value) {
          best = next;
          row = k;
        }
      }
      made.of[j] = rectified(best);
      from.of[j] = (uint8)(to_acc(made.of[j]) != 0 ? row : 4);
      if (!whole && inside) y[to + j] = made.of[j];
      if (!whole && inside && finish.masked) finish.mask[to + j] = from.of[j];
    }
    if (!whole) continue;
    *reinterpret_cast<Chunk*>(y + to) = made;
    if (finish.masked) *reinterpret_cast<Bytes*>(finish.mask + to) = from;
  }
}
