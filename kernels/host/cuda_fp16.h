// IEEE half precision for a host compiler: what kernels use of CUDA's cuda_fp16.h, by integer arithmetic.
#pragma once
#include <cstdint>
#include <cstring>

struct __half {
  uint16_t bits;
};
typedef __half half;

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
  if (bits > 0x7F800000u) return {(uint16_t)(sign | 0x7E00u)};   // NaN
  if (bits >= 0x47800000u) return {(uint16_t)(sign | 0x7C00u)};  // 65536 and more, infinity
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
    return {sign};
  }
  if (rest > half || (rest == half && (result & 1u))) ++result;  // may carry into the exponent: still right
  return {(uint16_t)(sign | result)};
}

static inline __half __float2half(float f) { return __float2half_rn(f); }
