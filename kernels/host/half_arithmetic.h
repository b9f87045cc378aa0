// Arithmetic of __half and __nv_bfloat16 for a host compiler: every result is the exact one rounded once, to nearest even.
// Included by cuda_fp16.h and cuda_bf16.h.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

struct __half;
struct __nv_bfloat16;

namespace nnlab {

template <class H>
using OfHalf = std::enable_if_t<std::is_same_v<H, __half> || std::is_same_v<H, __nv_bfloat16>, H>;

template <class To, class From>
static inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(static_cast<void*>(&to), &from, sizeof to);
  return to;
}

// An inexact result with its last bit set: rounding that to a half type is as good as rounding the exact one.
static inline double add_to_odd(double a, double b) {
  const double sum = a + b, part = sum - a, rest = (a - (sum - part)) + (b - part);
  const auto bits = same_bits<uint64_t>(sum);
  if (!std::isfinite(sum) || rest == 0 || (bits & 1)) return sum;
  return same_bits<double>((rest > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

static inline float narrow_to_odd(double value) {
  const float near = (float)value;
  const auto bits = same_bits<uint32_t>(near);
  if (!std::isfinite(near) || (double)near == value || (bits & 1)) return near;
  return same_bits<float>(std::fabs((double)near) < std::fabs(value) ? bits + 1 : bits - 1);
}

}  // namespace nnlab

#define NNLAB_HALF_FUNCTION(name, parameters, result) \
  template <class H>                                  \
  static inline nnlab::OfHalf<H> name parameters {    \
    return H(result);                                 \
  }
// clang-format off
NNLAB_HALF_FUNCTION(__hadd, (H a, H b), nnlab::add_to_odd((float)a, (float)b))
NNLAB_HALF_FUNCTION(__hsub, (H a, H b), nnlab::add_to_odd((float)a, -(float)b))
NNLAB_HALF_FUNCTION(__hmul, (H a, H b), (double)(float)a * (float)b)
NNLAB_HALF_FUNCTION(__hdiv, (H a, H b), (double)(float)a / (float)b)
NNLAB_HALF_FUNCTION(__hfma, (H a, H b, H c), nnlab::add_to_odd((double)(float)a * (float)b, (float)c))
NNLAB_HALF_FUNCTION(__hneg, (H a), -(float)a)
NNLAB_HALF_FUNCTION(__habs, (H a), fabsf((float)a))
NNLAB_HALF_FUNCTION(__hmax, (H a, H b), fmaxf((float)a, (float)b))
NNLAB_HALF_FUNCTION(__hmin, (H a, H b), fminf((float)a, (float)b))
NNLAB_HALF_FUNCTION(operator+, (H a, H b), __hadd(a, b))
NNLAB_HALF_FUNCTION(operator-, (H a, H b), __hsub(a, b))
NNLAB_HALF_FUNCTION(operator*, (H a, H b), __hmul(a, b))
NNLAB_HALF_FUNCTION(operator/, (H a, H b), __hdiv(a, b))
NNLAB_HALF_FUNCTION(operator-, (H a), -(float)a)
#undef NNLAB_HALF_FUNCTION

#define NNLAB_HALF_ASSIGNMENT(name, with)                                     \
  template <class H>                                                          \
  static inline nnlab::OfHalf<H>& name(H& a, std::common_type_t<H> b) {       \
    return a = a with b;                                                      \
  }
NNLAB_HALF_ASSIGNMENT(operator+=, +)
NNLAB_HALF_ASSIGNMENT(operator-=, -)
NNLAB_HALF_ASSIGNMENT(operator*=, *)
NNLAB_HALF_ASSIGNMENT(operator/=, /)
#undef NNLAB_HALF_ASSIGNMENT

// Comparisons by operators are those of float.
#define NNLAB_HALF_COMPARISON(name, parameters, result)                                                    \
  template <class H, class = nnlab::OfHalf<H>>                                                             \
  static inline bool name parameters {                                                                     \
    return result;                                                                                         \
  }
NNLAB_HALF_COMPARISON(__heq, (H a, H b), (float)a == (float)b)
NNLAB_HALF_COMPARISON(__hne, (H a, H b), (float)a < (float)b || (float)a > (float)b)
NNLAB_HALF_COMPARISON(__hlt, (H a, H b), (float)a < (float)b)
NNLAB_HALF_COMPARISON(__hle, (H a, H b), (float)a <= (float)b)
NNLAB_HALF_COMPARISON(__hgt, (H a, H b), (float)a > (float)b)
NNLAB_HALF_COMPARISON(__hge, (H a, H b), (float)a >= (float)b)
NNLAB_HALF_COMPARISON(__hisnan, (H a), (float)a != (float)a)
#undef NNLAB_HALF_COMPARISON

// Pairs, by element.
#define NNLAB_HALF_PAIR(half, pair, halves2pair, floats2pair, float2pair, pair2floats)                                 \
  struct alignas(4) pair {                                                                                             \
    half x, y;                                                                                                         \
  };                                                                                                                   \
  static inline pair halves2pair(half x, half y) { return {x, y}; }                                                    \
  static inline pair floats2pair(float x, float y) { return {half(x), half(y)}; }                                      \
  static inline pair float2pair(float x) { return {half(x), half(x)}; }                                                \
  static inline float2 pair2floats(pair a) { return {(float)a.x, (float)a.y}; }                                        \
  static inline float __low2float(pair a) { return (float)a.x; }                                                       \
  static inline float __high2float(pair a) { return (float)a.y; }                                                      \
  static inline pair __hadd2(pair a, pair b) { return {__hadd(a.x, b.x), __hadd(a.y, b.y)}; }                          \
  static inline pair __hsub2(pair a, pair b) { return {__hsub(a.x, b.x), __hsub(a.y, b.y)}; }                          \
  static inline pair __hmul2(pair a, pair b) { return {__hmul(a.x, b.x), __hmul(a.y, b.y)}; }                          \
  static inline pair __hfma2(pair a, pair b, pair c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }        \
  static inline pair __hmax2(pair a, pair b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                          \
  static inline pair __hmin2(pair a, pair b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }
// clang-format on
