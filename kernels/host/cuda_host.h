// CUDA's vocabulary for a host compiler. nnlab/cuda/host.py puts this header before a kernel file's text, writes
// `extern __shared__ T name[]` as DYNAMIC_SHARED(T, name), and adds HOST_ENTRY(kernel) for each kernel.
//
// HOST_ENTRY(k) defines two functions of the library:
//   host_k        starts the kernel; arguments points at one value per parameter, as cuLaunchKernel takes them
//   host_k_types  writes what each parameter is, two numbers each, and returns how many parameters there are:
//                 'r' (pointer to const) or 'w' (other pointer) and 0; 'r' or 'w' and the entries of a table of pointers,
//                 which is a struct with a member type `item` (include/tensors.cuh); 'v' and the bytes of another value
#pragma once
#include <math.h>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static thread_local
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(nnlab::dynamic_shared())

static constexpr int warpSize = 32;

// -- vector types -------------------------------------------------------------------------------------------------------

#define NNLAB_VECTOR2(name, type)                    \
  struct alignas(2 * sizeof(type)) name {            \
    type x, y;                                       \
  };                                                 \
  static inline name make_##name(type x, type y) { return {x, y}; }
#define NNLAB_VECTOR4(name, type)                    \
  struct alignas(sizeof(type) > 4 ? 16 : 4 * sizeof(type)) name { \
    type x, y, z, w;                                 \
  };                                                 \
  static inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
NNLAB_VECTOR2(float2, float)
NNLAB_VECTOR4(float4, float)
NNLAB_VECTOR2(double2, double)
NNLAB_VECTOR4(double4, double)
NNLAB_VECTOR2(int2, int)
NNLAB_VECTOR4(int4, int)
NNLAB_VECTOR2(uint2, unsigned)
NNLAB_VECTOR4(uint4, unsigned)
NNLAB_VECTOR2(short2, short)
NNLAB_VECTOR4(short4, short)
NNLAB_VECTOR2(ushort2, unsigned short)
NNLAB_VECTOR4(ushort4, unsigned short)
NNLAB_VECTOR2(char2, signed char)
NNLAB_VECTOR4(char4, signed char)
NNLAB_VECTOR2(uchar2, unsigned char)
NNLAB_VECTOR4(uchar4, unsigned char)
NNLAB_VECTOR2(longlong2, long long)
NNLAB_VECTOR2(ulonglong2, unsigned long long)

// -- meetings of threads ------------------------------------------------------------------------------------------------

#define NNLAB_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// A macro, for each place to have its own constant.
#define __syncthreads()                                                                                           \
  __extension__({                                                                                                 \
    static const nnlab::Call here = {nnlab::Meeting::barrier, "__syncthreads", __FILE__, __LINE__, 0, 0, 0};      \
    (void)nnlab::meet(here);                                                                                      \
  })
static inline int __syncthreads_and(int predicate, NNLAB_HERE) {
  return (int)nnlab::meet({nnlab::Meeting::barrier_and, "__syncthreads_and", file, line, 0, predicate != 0, 0});
}
static inline int __syncthreads_or(int predicate, NNLAB_HERE) {
  return (int)nnlab::meet({nnlab::Meeting::barrier_or, "__syncthreads_or", file, line, 0, predicate != 0, 0});
}
static inline int __syncthreads_count(int predicate, NNLAB_HERE) {
  return (int)nnlab::meet({nnlab::Meeting::barrier_count, "__syncthreads_count", file, line, 0, predicate != 0, 0});
}

namespace nnlab {

static inline uint64_t meet_warp(Meeting meeting, const char* name, unsigned mask, uint64_t value, unsigned source,
                                 const char* file, int line) {
  if (!(mask >> lane() & 1)) fail("%s (%s:%d) with mask 0x%08x, which leaves out this lane", name, file, line, mask);
  return meet({meeting, name, file, line, mask, value, source});
}

template <class T>
static inline T shuffle(const char* name, unsigned mask, T value, unsigned source, const char* file, int line) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "a shuffle passes on at most 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = meet_warp(Meeting::shuffle, name, mask, bits, source, file, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// All 32 lanes come together, and `act` is done once with the addresses of what they brought.
static inline void together(const char* name, void (*act)(const uint64_t*), const void* mine, const char* file,
                            int line) {
  const unsigned full = 0xFFFFFFFFu;
  meet({Meeting::act, name, file, line, full, (uint64_t)(uintptr_t)mine, 0, act});
}

// Over the lanes of the mask, in their order; lanes that the block does not have are left out.
template <class T, class F>
static inline T reduce(const char* name, unsigned mask, T value, F join, const char* file, int line) {
  const unsigned me = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned left = blockDim.x * blockDim.y * blockDim.z - (me - lane());
  if (left < kWarp) mask &= (1u << left) - 1u;
  T total = 0;
  bool first = true;
  for (unsigned other = 0; other < kWarp; ++other) {
    if (!(mask >> other & 1)) continue;
    const T got = shuffle(name, mask, value, other, file, line);
    total = first ? got : join(total, got);
    first = false;
  }
  return total;
}

}  // namespace nnlab

// Which lanes run together is open; here each runs alone.
static inline unsigned __activemask() { return 1u << nnlab::lane(); }

#define NNLAB_REDUCE(name, type, expression)                                                                      \
  static inline type name(unsigned mask, type value, NNLAB_HERE) {                                                \
    return nnlab::reduce(#name, mask, value, [](type a, type b) -> type { return expression; }, file, line);      \
  }
NNLAB_REDUCE(__reduce_add_sync, unsigned, a + b)
NNLAB_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
NNLAB_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
NNLAB_REDUCE(__reduce_add_sync, int, (int)((unsigned)a + (unsigned)b))
NNLAB_REDUCE(__reduce_min_sync, int, a < b ? a : b)
NNLAB_REDUCE(__reduce_max_sync, int, a > b ? a : b)
NNLAB_REDUCE(__reduce_and_sync, unsigned, a & b)
NNLAB_REDUCE(__reduce_or_sync, unsigned, a | b)
NNLAB_REDUCE(__reduce_xor_sync, unsigned, a ^ b)

static inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, NNLAB_HERE) {
  nnlab::meet_warp(nnlab::Meeting::warp, "__syncwarp", mask, 0, 0, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, NNLAB_HERE) {
  return (unsigned)nnlab::meet_warp(nnlab::Meeting::ballot, "__ballot_sync", mask, predicate != 0, 0, file, line);
}
static inline int __any_sync(unsigned mask, int predicate, NNLAB_HERE) {
  return (int)nnlab::meet_warp(nnlab::Meeting::any, "__any_sync", mask, predicate != 0, 0, file, line);
}
static inline int __all_sync(unsigned mask, int predicate, NNLAB_HERE) {
  return (int)nnlab::meet_warp(nnlab::Meeting::all, "__all_sync", mask, predicate != 0, 0, file, line);
}
// Lanes are grouped by width (a power of two); a lane whose partner lies outside its group reads its own value.
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, NNLAB_HERE) {
  const unsigned inside = (unsigned)width - 1;
  return nnlab::shuffle("__shfl_sync", mask, value, (nnlab::lane() & ~inside) | ((unsigned)source & inside), file, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, NNLAB_HERE) {
  const unsigned lane = nnlab::lane(), inside = (unsigned)width - 1;
  return nnlab::shuffle("__shfl_up_sync", mask, value, (lane & inside) < delta ? lane : lane - delta, file, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, NNLAB_HERE) {
  const unsigned lane = nnlab::lane(), inside = (unsigned)width - 1;
  const bool out = (lane & inside) + delta > inside;
  return nnlab::shuffle("__shfl_down_sync", mask, value, out ? lane : lane + delta, file, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, NNLAB_HERE) {
  const unsigned lane = nnlab::lane(), other = lane ^ (unsigned)bits, last = lane | ((unsigned)width - 1);
  return nnlab::shuffle("__shfl_xor_sync", mask, value, other > last ? lane : other, file, line);
}

// -- memory -------------------------------------------------------------------------------------------------------------

// What accesses memory is always inlined: the checked build then names the kernel's line.

template <class T>
static __forceinline__ T __ldg(const T* address) {
  return *address;
}
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Atomics of integers; each returns the old value.
namespace nnlab {
template <class T, class F>
static __forceinline__ T atomically(T* address, F next) {
  static_assert(std::is_integral<T>::value, "atomics are for integers: sums of floats would depend on the order");
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, next(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
using Same = typename std::common_type<T>::type;  // not deduced: the value converts to the address' type
}  // namespace nnlab

#define NNLAB_ATOMIC(name, expression)                                                  \
  template <class T>                                                                    \
  static __forceinline__ T name(T* address, nnlab::Same<T> value) {                              \
    return nnlab::atomically(address, [value](T old) -> T { (void)old; return expression; }); \
  }
NNLAB_ATOMIC(atomicAdd, old + value)
NNLAB_ATOMIC(atomicSub, old - value)
NNLAB_ATOMIC(atomicMin, old < value ? old : value)
NNLAB_ATOMIC(atomicMax, old > value ? old : value)
NNLAB_ATOMIC(atomicAnd, old & value)
NNLAB_ATOMIC(atomicOr, old | value)
NNLAB_ATOMIC(atomicXor, old ^ value)
NNLAB_ATOMIC(atomicExch, value)
template <class T>
static __forceinline__ T atomicCAS(T* address, nnlab::Same<T> compare, nnlab::Same<T> value) {
  return nnlab::atomically(address, [=](T old) -> T { return old == compare ? value : old; });
}

// -- arithmetic ---------------------------------------------------------------------------------------------------------

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz((unsigned)a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }

#define NNLAB_MIN_MAX(type)                                            \
  static inline type min(type a, type b) { return b < a ? b : a; }     \
  static inline type max(type a, type b) { return a < b ? b : a; }
NNLAB_MIN_MAX(int)
NNLAB_MIN_MAX(unsigned)
NNLAB_MIN_MAX(long)
NNLAB_MIN_MAX(unsigned long)
NNLAB_MIN_MAX(long long)
NNLAB_MIN_MAX(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }
// The C library declares functions of these names that it does not export.
#define __expf expf
#define __logf logf
#define __powf powf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }

namespace nnlab {
template <class To, class From>
static inline To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace nnlab
static inline int __float_as_int(float a) { return nnlab::bits<int>(a); }
static inline unsigned __float_as_uint(float a) { return nnlab::bits<unsigned>(a); }
static inline float __int_as_float(int a) { return nnlab::bits<float>(a); }
static inline float __uint_as_float(unsigned a) { return nnlab::bits<float>(a); }

// -- entry points -------------------------------------------------------------------------------------------------------

#ifdef NNLAB_CHECKED
#define NNLAB_UNCHECKED __attribute__((no_sanitize("thread")))
#else
#define NNLAB_UNCHECKED
#endif

namespace nnlab {

struct Parameter {
  int kind, size;
};

template <class T, class = void>
struct Item {
  using type = void;
};
template <class T>
struct Item<T, std::void_t<typename T::item>> {
  using type = typename T::item;
};

template <auto kernel>
struct Entry;

template <class... P, void (*kernel)(P...)>
struct Entry<kernel> {
  template <std::size_t... I>
  NNLAB_UNCHECKED static void call(void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
  }
  NNLAB_UNCHECKED static void body(void** arguments) { call(arguments, std::index_sequence_for<P...>{}); }

  template <class T>
  static constexpr Parameter pointer(int entries) {
    return {std::is_const_v<std::remove_pointer_t<T>> ? 'r' : 'w', entries};
  }
  template <class T>
  static constexpr Parameter parameter() {
    if constexpr (std::is_pointer_v<T>) return pointer<T>(0);
    if constexpr (std::is_pointer_v<typename Item<T>::type>)
      return pointer<typename Item<T>::type>((int)(sizeof(T) / sizeof(void*)));
    return {'v', (int)sizeof(T)};
  }
  static int types(int* out, int room) {
    const Parameter all[] = {parameter<P>()..., {'v', 0}};
    for (int i = 0; i < room && i < (int)sizeof...(P); ++i) {
      *out++ = all[i].kind;
      *out++ = all[i].size;
    }
    return (int)sizeof...(P);
  }
};

}  // namespace nnlab

namespace nnlab {
// One byte of the library's thread_local memory, so that the runtime finds the rest, the __shared__ arrays.
static inline char* mark() {
  static thread_local char byte;
  return &byte;
}
}  // namespace nnlab

#define HOST_ENTRY(k)                                                                                                \
  extern "C" NNLAB_API int host_##k(                                                    \
      const uint32_t* grid, const uint32_t* block, uint64_t shared, int order, uint64_t seed, void** arguments,      \
      char* message, uint64_t message_size, unsigned threads, int cooperative) {                                     \
    return nnlab::launch({#k, nnlab::Entry<k>::body, arguments, grid, block, shared, (nnlab::Order)order, seed,      \
                          message, message_size, threads, nnlab::mark, cooperative != 0});                           \
  }                                                                                                                  \
  extern "C" NNLAB_API int host_##k##_types(int* out, int room) { return nnlab::Entry<k>::types(out, room); }
