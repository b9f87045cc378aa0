// max(value, 0): NaN stays NaN, negative zero becomes zero.
#pragma once
#include "types.cuh"

__device__ __forceinline__ scalar_t rectified(scalar_t value) {
  const acc_t wide = to_acc(value);
  return wide > 0 || wide != wide ? value : to_scalar((acc_t)0);
}
