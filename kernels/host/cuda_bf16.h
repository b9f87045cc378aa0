// bfloat16 (the upper half of a float) for a host compiler: what kernels use of CUDA's cuda_bf16.h, by integer arithmetic.
#pragma once
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};
typedef __nv_bfloat16 nv_bfloat16;

static inline float __bfloat162float(__nv_bfloat16 h) {
  const uint32_t bits = (uint32_t)h.bits << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// Rounds to nearest, ties to even; beyond the largest finite value to infinity. NaN gives 0x7FFF, as on the GPU.
static inline __nv_bfloat16 __float2bfloat16_rn(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {0x7FFFu};
  return {(uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};  // may carry into the exponent: still right
}

static inline __nv_bfloat16 __float2bfloat16(float f) { return __float2bfloat16_rn(f); }
