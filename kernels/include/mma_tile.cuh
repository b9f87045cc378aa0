// A tile of a product of matrices on tensor cores: 128 x TILE_N results of a block of 256 threads, float32 sums.
//
// Shared memory holds `stages` slices of A and B, which are copied while earlier ones are multiplied. A slice is `depth`
// steps of k. Operands of two forms:
//   rows      A [128][depth] and B [TILE_N][depth], k fastest: a row is 8 chunks of 16 bytes
//   columns   A [depth][128] and B [depth][TILE_N], k slowest
// Chunks of a row are stored in an order that depends on the row, so that a warp's loads and copies meet all banks.
//
// float32 is multiplied as tf32, rounded to nearest; with PRECISE as the sum of a tf32 number and what is left of it
// (three products instead of one). What is left of infinity is NaN, so these terms have sums of their own, which a sum
// that is not finite ignores.
//
//   multiply_rows(stage, sums), multiply_columns(stage, sums)   add a slice's products
//   put_sums(sums)      into result [128][result_pitch], over the slices; the caller synchronises before and after
// Source: the CUTLASS documentation, "Efficient GEMM in CUDA"; Ootomo and Yokota, "Recovering single precision accuracy
// from Tensor Cores while surpassing the FP32 theoretical peak performance", arXiv:2203.03341.
#pragma once
#include "async_copy.cuh"
#include "mma.cuh"
#include "types.cuh"

#ifndef TILE_N
#define TILE_N 128  // or 64: columns of a tile
#endif

// nnlab/ops/_cuda/conv_mma.py has the same numbers.
constexpr int tile_m = 128, tile_n = TILE_N, workers = 256, stages = 3;
constexpr int shared_bytes = stages * (tile_m + tile_n) * 128 + 2560;  // that a block asks for; at most 99 KiB
constexpr int chunk = 16 / (int)sizeof(scalar_t);  // numbers of 16 bytes
constexpr int chunks = 8;                          // of a row of 128 bytes
constexpr int depth = chunks * chunk;
constexpr int steps = 4;  // of a slice, each of 32 bytes along k: what one product of 16 x 8 results adds up

constexpr int warps_n = tile_n / 32, warps_m = workers / 32 / warps_n;
constexpr int warp_m = tile_m / warps_m;  // rows of a warp; its columns are 32
constexpr int blocks_m = warp_m / 16, blocks_n = 4;

struct __align__(16) Chunk {
  scalar_t of[chunk];
};
struct __align__(16) Stage {
  Chunk a[tile_m * chunks], b[tile_n * chunks];
};

constexpr int result_pitch = tile_n + 8;
struct __align__(16) Memory {
  union {
    Stage stage[stages];
    float result[tile_m * result_pitch];
  };
};

// The place of a chunk in a slice of form `rows`, and in one of form `columns` with so many chunks a row.
__device__ __forceinline__ int place_in_rows(int row, int c) { return row * chunks + (c ^ (row & 7)); }
template <int count>
__device__ __forceinline__ int place_in_columns(int k, int c) {
  return k * count + (c ^ (chunk == 8 ? k & 7 : 2 * (k & 3)));
}

template <bool PRECISE>
struct Sums {
  float high[blocks_m][blocks_n][4];
  float low[PRECISE ? blocks_m : 1][PRECISE ? blocks_n : 1][4];
};

struct Operands {
  uint32 a[blocks_m][4], b[blocks_n][2];
};

__device__ __forceinline__ int lane_of_warp() { return (int)threadIdx.x % 32; }
__device__ __forceinline__ int first_row_of_warp() { return (int)threadIdx.x / 32 / warps_n * warp_m; }
__device__ __forceinline__ int first_column_of_warp() { return (int)threadIdx.x / 32 % warps_n * 32; }

__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
#if defined(DTYPE_FLOAT16)
  mma_f16(c, a, b);
#elif defined(DTYPE_BFLOAT16)
  mma_bf16(c, a, b);
#else
  mma_tf32(c, a, b);
#endif
}

// The words of float32 rounded to tf32, and what that leaves, rounded likewise.
template <int N>
__device__ __forceinline__ void split(uint32 (&words)[N], uint32 (&rest)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float x = __uint_as_float(words[i]);
    words[i] = to_tf32(x);
    rest[i] = to_tf32(x - __uint_as_float(words[i]));
  }
}

template <bool PRECISE>
__device__ __forceinline__ void multiply_step(Operands& by, Sums<PRECISE>& sums) {
#if defined(DTYPE_FLOAT32)
  if constexpr (PRECISE) {
    Operands rest;
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) split(by.a[i], rest.a[i]);
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) split(by.b[j], rest.b[j]);
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) {
#pragma unroll
      for (int j = 0; j < blocks_n; ++j) {
        multiply_add(sums.low[i][j], rest.a[i], by.b[j]);
        multiply_add(sums.low[i][j], by.a[i], rest.b[j]);
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < blocks_m; ++i)
      for (int r = 0; r < 4; ++r) by.a[i][r] = to_tf32(__uint_as_float(by.a[i][r]));
#pragma unroll
    for (int j = 0; j < blocks_n; ++j)
      for (int r = 0; r < 2; ++r) by.b[j][r] = to_tf32(__uint_as_float(by.b[j][r]));
  }
#endif
#pragma unroll
  for (int i = 0; i < blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) multiply_add(sums.high[i][j], by.a[i], by.b[j]);
  }
}

// Two neighbouring blocks of 8 columns come with one load.
__device__ __forceinline__ void take_pair(Operands& by, int j, const uint32 (&words)[4]) {
  by.b[j][0] = words[0];
  by.b[j][1] = words[1];
  by.b[j + 1][0] = words[2];
  by.b[j + 1][1] = words[3];
}

template <bool PRECISE>
__device__ __forceinline__ void multiply_rows(const Stage& stage, Sums<PRECISE>& sums) {
  const int lane = lane_of_warp(), row = first_row_of_warp() + lane % 16;
  const int column = first_column_of_warp() + lane % 8 + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    Operands by;
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) {
      load_matrices(by.a[i], &stage.a[place_in_rows(row + i * 16, step * 2 + lane / 16)]);
    }
#pragma unroll
    for (int j = 0; j < blocks_n; j += 2) {
      uint32 words[4];
      load_matrices(words, &stage.b[place_in_rows(column + j * 8, step * 2 + lane / 8 % 2)]);
      take_pair(by, j, words);
    }
    multiply_step(by, sums);
  }
}

#if defined(DTYPE_FLOAT32)
template <int count>
__device__ __forceinline__ uint32 word_in_columns(const Chunk* slice, int k, int n) {
  return __float_as_uint(slice[place_in_columns<count>(k, n / chunk)].of[n % chunk]);
}
#endif

template <bool PRECISE>
__device__ __forceinline__ void multiply_columns(const Stage& stage, Sums<PRECISE>& sums) {
  constexpr int chunks_a = tile_m / chunk, chunks_b = tile_n / chunk;
  const int lane = lane_of_warp(), row = first_row_of_warp(), column = first_column_of_warp();
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    Operands by;
#if defined(DTYPE_FLOAT32)
    const int k = step * 8 + lane % 4, g = lane / 4;
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        by.a[i][r] = word_in_columns<chunks_a>(stage.a, k + r / 2 * 4, row + i * 16 + r % 2 * 8 + g);
      }
    }
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int r = 0; r < 2; ++r) by.b[j][r] = word_in_columns<chunks_b>(stage.b, k + r * 4, column + j * 8 + g);
    }
#else
    const int k_a = step * 16 + lane % 8 + lane / 16 * 8, k_b = step * 16 + lane % 16;
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) {
      const int c = (row + i * 16) / chunk + lane / 8 % 2;
      load_matrices_transposed(by.a[i], &stage.a[place_in_columns<chunks_a>(k_a, c)]);
    }
#pragma unroll
    for (int j = 0; j < blocks_n; j += 2) {
      uint32 words[4];
      const int c = (column + j * 8) / chunk + lane / 16;
      load_matrices_transposed(words, &stage.b[place_in_columns<chunks_b>(k_b, c)]);
      take_pair(by, j, words);
    }
#endif
    multiply_step(by, sums);
  }
}

template <bool PRECISE>
__device__ __forceinline__ void put_sums(Memory& memory, const Sums<PRECISE>& sums) {
  const int lane = lane_of_warp(), row = first_row_of_warp() + lane / 4, column = first_column_of_warp() + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        float sum = sums.high[i][j][r];
        if constexpr (PRECISE) {
          if (sum - sum == 0) sum += sums.low[i][j][r];
        }
        memory.result[(row + i * 16 + r / 2 * 8) * result_pitch + column + j * 8 + r % 2] = sum;
      }
    }
  }
}
