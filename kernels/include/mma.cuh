// Products of small matrices by a warp's tensor cores, and the loads of their operands (from sm_80 on; older: a trap).
// All 32 lanes call together. Lane l holds, with g = l / 4 and t = l % 4 (two half values a register, the first low):
//
//   m16n8k16, float16 and bfloat16            m16n8k8, tf32
//   A (16, 16)  a[0]  (g, 2t..2t+1)           A (16, 8)  a[0]  (g, t)
//               a[1]  (g + 8, 2t..2t+1)                  a[1]  (g + 8, t)
//               a[2]  (g, 2t+8..2t+9)                    a[2]  (g, t + 4)
//               a[3]  (g + 8, 2t+8..2t+9)                a[3]  (g + 8, t + 4)
//   B (16, 8)   b[0]  (2t..2t+1, g)           B (8, 8)   b[0]  (t, g)
//               b[1]  (2t+8..2t+9, g)                    b[1]  (t + 4, g)
//   C (16, 8)   c[0..1]  (g, 2t..2t+1)        c[2..3]  (g + 8, 2t..2t+1), float in all of them
//
//   mma_f16(c, a, b), mma_bf16(c, a, b), mma_tf32(c, a, b)   c += A B
//   to_tf32(x)                      the bits of x rounded to tf32 (10 bits after the point, ties away from 0)
//   load_matrices(r, row)           r[i], i < N = 1, 2 or 4: 8 x 8 matrices of 16-bit values in shared memory. Lane
//                                   8 i + j gives the address of row j of matrix i (16 bytes, a multiple of 16); lane l
//                                   receives elements (g, 2t..2t+1). So of A in row-major order, with lanes 0..15 at
//                                   rows 0..15 and lanes 16..31 at the same rows 8 columns on, come a[0..3].
//   load_matrices_transposed(r, row)   the same, each matrix transposed: lane l receives elements (2t..2t+1, g), so of B
//                                   in row-major order, with lanes 0..15 at rows 0..15, come b[0..1].
//
// On the host a sum runs over k in order, each product exact and each sum rounded to float; the low 13 bits of a tf32
// operand are ignored. Tensor cores add in another order and to other precision. Source: PTX ISA, "mma" and "ldmatrix".
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "types.cuh"

#ifdef __CUDACC__

#if __CUDA_ARCH__ >= 800
#define NNLAB_MMA(shape, operands)                                                                     \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." operands ".f32 "                              \
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"                     \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                        \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#else
#define NNLAB_MMA(shape, operands) __trap()
#endif

__device__ __forceinline__ void mma_f16(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
  NNLAB_MMA("m16n8k16", "f16.f16");
}

__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
  NNLAB_MMA("m16n8k16", "bf16.bf16");
}

__device__ __forceinline__ void mma_tf32(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
  NNLAB_MMA("m16n8k8", "tf32.tf32");
}

__device__ __forceinline__ uint32 to_tf32(float x) {
  uint32 bits = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
#else
  __trap();
#endif
  return bits;
}

#if __CUDA_ARCH__ >= 750
#define NNLAB_LDMATRIX(kind)                                                                                        \
  const uint32 place = (uint32)__cvta_generic_to_shared(row);                                                       \
  if (N == 1)                                                                                                       \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" kind ".shared.b16 {%0}, [%1];\n"                                  \
                 : "=r"(r[0])                                                                                       \
                 : "r"(place)                                                                                       \
                 : "memory");                                                                                       \
  else if (N == 2)                                                                                                  \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" kind ".shared.b16 {%0, %1}, [%2];\n"                               \
                 : "=r"(r[0]), "=r"(r[1 % N])                                                                       \
                 : "r"(place)                                                                                       \
                 : "memory");                                                                                       \
  else                                                                                                              \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" kind ".shared.b16 {%0, %1, %2, %3}, [%4];\n"                       \
                 : "=r"(r[0]), "=r"(r[1 % N]), "=r"(r[2 % N]), "=r"(r[3 % N])                                       \
                 : "r"(place)                                                                                       \
                 : "memory")
#else
#define NNLAB_LDMATRIX(kind) __trap()
#endif

template <int N>
__device__ __forceinline__ void load_matrices(uint32 (&r)[N], const void* row) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
  NNLAB_LDMATRIX("");
}

template <int N>
__device__ __forceinline__ void load_matrices_transposed(uint32 (&r)[N], const void* row) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
  NNLAB_LDMATRIX(".trans");
}

#else  // the host

// A checked build must not look at these two: one thread works on what the others have on their stacks.
#ifndef NNLAB_UNCHECKED
#define NNLAB_UNCHECKED
#endif

namespace nnlab {

struct Product {  // a lane's part
  float* c;
  const uint32 *a, *b;
};

struct HalfPair {
  static constexpr int values = 2;
  static float get(uint32 word, int i) {
    return __half2float(__ushort_as_half((unsigned short)(word >> 16 * i)));
  }
};
struct BfloatPair {
  static constexpr int values = 2;
  static float get(uint32 word, int i) {
    return __bfloat162float(__ushort_as_bfloat16((unsigned short)(word >> 16 * i)));
  }
};
struct Tf32 {
  static constexpr int values = 1;
  static float get(uint32 word, int) { return __uint_as_float(word & 0xFFFFE000u); }
};

template <class Type>
NNLAB_UNCHECKED void multiply(const uint64_t* lanes) {
  constexpr int width = 4 * Type::values;  // columns that a register of the four lanes of a row covers
  float a[16][2 * width], b[2 * width][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Product& part = *(const Product*)lanes[lane];
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < Type::values; ++i) {
      const int k = t * Type::values + i;
      for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][k + r / 2 * width] = Type::get(part.a[r], i);
      for (int r = 0; r < 2; ++r) b[k + r * width][g] = Type::get(part.b[r], i);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = ((const Product*)lanes[lane])->c;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = c[i];
      for (int k = 0; k < 2 * width; ++k) sum += a[row][k] * b[k][column];
      c[i] = sum;
    }
  }
}

struct alignas(16) Row {
  uint32 words[4];
};
struct Rows {  // what a lane loads, and where it goes
  Row row;
  uint32* r;
};

template <int N, bool TRANSPOSED>
NNLAB_UNCHECKED void distribute(const uint64_t* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < N; ++i) {
      uint32 word = ((const Rows*)lanes[8 * i + g])->row.words[t];
      if (TRANSPOSED) {
        word = 0;
        for (int k = 0; k < 2; ++k) {
          const uint32 from = ((const Rows*)lanes[8 * i + 2 * t + k])->row.words[g / 2];
          word |= (from >> g % 2 * 16 & 0xFFFFu) << 16 * k;
        }
      }
      ((const Rows*)lanes[lane])->r[i] = word;
    }
  }
}

template <int N, bool TRANSPOSED>
static __forceinline__ void load(uint32 (&r)[N], const void* row, const char* name, const char* file, int line) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
  Rows mine = {{{0, 0, 0, 0}}, r};
  if (lane() < 8 * N) {
    if ((uintptr_t)row % 16 != 0) fail("%s (%s:%d): the address of a row is no multiple of 16", name, file, line);
    mine.row = *(const Row*)row;
  }
  together(name, distribute<N, TRANSPOSED>, &mine, file, line);
}

}  // namespace nnlab

static inline void mma_f16(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2], NNLAB_HERE) {
  const nnlab::Product mine = {c, a, b};
  nnlab::together("mma_f16", nnlab::multiply<nnlab::HalfPair>, &mine, file, line);
}

static inline void mma_bf16(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2], NNLAB_HERE) {
  const nnlab::Product mine = {c, a, b};
  nnlab::together("mma_bf16", nnlab::multiply<nnlab::BfloatPair>, &mine, file, line);
}

static inline void mma_tf32(float (&c)[4], const uint32 (&a)[4], const uint32 (&b)[2], NNLAB_HERE) {
  const nnlab::Product mine = {c, a, b};
  nnlab::together("mma_tf32", nnlab::multiply<nnlab::Tf32>, &mine, file, line);
}

static inline uint32 to_tf32(float x) {
  const uint32 bits = __float_as_uint(x);
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & 0xFFFFE000u;  // infinity and NaN stay
}

template <int N>
static __forceinline__ void load_matrices(uint32 (&r)[N], const void* row, NNLAB_HERE) {
  nnlab::load<N, false>(r, row, "load_matrices", file, line);
}

template <int N>
static __forceinline__ void load_matrices_transposed(uint32 (&r)[N], const void* row, NNLAB_HERE) {
  nnlab::load<N, true>(r, row, "load_matrices_transposed", file, line);
}

#endif
