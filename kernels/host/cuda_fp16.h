// IEEE half precision for a host compiler: what kernels use of CUDA's cuda_fp16.h, by integer arithmetic.
#pragma once
#include <cstdint>
#include <cstring>

#include "half_arithmetic.h"

struct __half {
  uint16_t bits;
  __half() = default;
  inline __half(float value);
  inline __half(double value);
  inline __half(int value);
  inline operator float() const;
};
typedef __half half;

static inline __half __ushort_as_half(unsigned short bits) { return nnlab::same_bits<__half>(bits); }
static inline unsigned short __half_as_ushort(__half h) { return h.bits; }

static inline float __half2float(__half h) {
  const uint32_t sign = (uint32_t)(h.bits & 0x8000u) << 16;
  uint32_t exponent = (h.bits >> 10) & 0x1Fu, mantissa = h.bits & 0x3FFu, bits;
  if (exponent == 31) {  // infinity, NaN
    bits = sign | 0x7F800000u | (mantissa << 13);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else {  // zero, subnormal: mantissa * 2^-24 is exact in float
    const float value = (float)mantissa * 5.9604644775390625e-8f;
    std::memcpy(&bits, &value, 4);
    bits |= sign;
  }
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// Rounds to nearest, ties to even.
static inline __half __float2half_rn(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
  bits &= 0x7FFFFFFFu;
  if (bits > 0x7F800000u) return __ushort_as_half((uint16_t)(sign | 0x7E00u));   // NaN
  if (bits >= 0x47800000u) return __ushort_as_half((uint16_t)(sign | 0x7C00u));  // 65536 and more, infinity
  uint32_t result, rest, half;
  if (bits >= 0x38800000u) {  // normal
    result = (bits >> 13) - (112u << 10);
    rest = bits & 0x1FFFu;
    half = 0x1000u;
  } else if (bits >= 0x33000000u) {  // subnormal
    const uint32_t shift = 126u - (bits >> 23);
    const uint32_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
    result = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1u);
    half = 1u << (shift - 1u);
  } else {
    return __ushort_as_half(sign);
  }
  if (rest > half || (rest == half && (result & 1u))) ++result;  // may carry into the exponent: still right
  return __ushort_as_half((uint16_t)(sign | result));
}

static inline __half __float2half(float f) { return __float2half_rn(f); }
static inline __half __double2half(double d) { return __float2half_rn(nnlab::narrow_to_odd(d)); }
static inline __half __int2half_rn(int i) { return __double2half(i); }

inline __half::__half(float value) : __half(__float2half_rn(value)) {}
inline __half::__half(double value) : __half(__double2half(value)) {}
inline __half::__half(int value) : __half(__int2half_rn(value)) {}
inline __half::operator float() const { return __half2float(*this); }

NNLAB_HALF_PAIR(__half, __half2, __halves2half2, __floats2half2_rn, __float2half2_rn, __half22float2)
typedef __half2 half2;
static inline __half __low2half(__half2 a) { return a.x; }
static inline __half __high2half(__half2 a) { return a.y; }
