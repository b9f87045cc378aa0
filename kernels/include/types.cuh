// Types of a kernel file, chosen by macros that the launch gate sets (nnlab/cuda/launch.py):
//   DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32 or DTYPE_FLOAT64   scalar_t, the type in memory
//                                                                   acc_t, the type computed in (float for half types)
//   INDEX_BITS = 32 or 64                                           index_t
// and the two conversions between scalar_t and acc_t.
#pragma once

typedef unsigned char uint8;
typedef unsigned int uint32;
typedef unsigned long long uint64;
typedef long long int64;

#if INDEX_BITS == 64
typedef int64 index_t;
#else
typedef int index_t;
#endif

#if defined(DTYPE_FLOAT16)
#include <cuda_fp16.h>
typedef __half scalar_t;
typedef float acc_t;
__device__ __forceinline__ acc_t to_acc(scalar_t v) { return __half2float(v); }
__device__ __forceinline__ scalar_t to_scalar(acc_t v) { return __float2half_rn(v); }
#elif defined(DTYPE_BFLOAT16)
#include <cuda_bf16.h>
typedef __nv_bfloat16 scalar_t;
typedef float acc_t;
__device__ __forceinline__ acc_t to_acc(scalar_t v) { return __bfloat162float(v); }
__device__ __forceinline__ scalar_t to_scalar(acc_t v) { return __float2bfloat16_rn(v); }
#elif defined(DTYPE_FLOAT32)
typedef float scalar_t;
typedef float acc_t;
__device__ __forceinline__ acc_t to_acc(scalar_t v) { return v; }
__device__ __forceinline__ scalar_t to_scalar(acc_t v) { return v; }
#elif defined(DTYPE_FLOAT64)
typedef double scalar_t;
typedef double acc_t;
__device__ __forceinline__ acc_t to_acc(scalar_t v) { return v; }
__device__ __forceinline__ scalar_t to_scalar(acc_t v) { return v; }
#else
#error "define DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32 or DTYPE_FLOAT64"
#endif
