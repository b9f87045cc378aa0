// bfloat16 (the upper half of a float) for a host compiler: what kernels use of CUDA's cuda_bf16.h, by integer arithmetic.
#pragma once
#include <cstdint>
#include <cstring>

#include "half_arithmetic.h"

struct __nv_bfloat16 {
  uint16_t bits;
  __nv_bfloat16() = default;
  inline __nv_bfloat16(float value);
  inline __nv_bfloat16(double value);
  inline __nv_bfloat16(int value);
  inline operator float() const;
};
typedef __nv_bfloat16 nv_bfloat16;

static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return nnlab::same_bits<__nv_bfloat16>(bits); }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return h.bits; }

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
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return __ushort_as_bfloat16(0x7FFFu);
  bits += 0x7FFFu + ((bits >> 16) & 1u);  // may carry into the exponent: still right
  return __ushort_as_bfloat16((uint16_t)(bits >> 16));
}

static inline __nv_bfloat16 __float2bfloat16(float f) { return __float2bfloat16_rn(f); }
static inline __nv_bfloat16 __double2bfloat16(double d) { return __float2bfloat16_rn(nnlab::narrow_to_odd(d)); }
static inline __nv_bfloat16 __int2bfloat16_rn(int i) { return __double2bfloat16(i); }

inline __nv_bfloat16::__nv_bfloat16(float value) : __nv_bfloat16(__float2bfloat16_rn(value)) {}
inline __nv_bfloat16::__nv_bfloat16(double value) : __nv_bfloat16(__double2bfloat16(value)) {}
inline __nv_bfloat16::__nv_bfloat16(int value) : __nv_bfloat16(__int2bfloat16_rn(value)) {}
inline __nv_bfloat16::operator float() const { return __bfloat162float(*this); }

NNLAB_HALF_PAIR(__nv_bfloat16, __nv_bfloat162, __halves2bfloat162, __floats2bfloat162_rn, __float2bfloat162_rn,
                __bfloat1622float2)
typedef __nv_bfloat162 nv_bfloat162;
static inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 a) { return a.x; }
static inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 a) { return a.y; }
