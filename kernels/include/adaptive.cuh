// Windows of adaptive pooling along a dimension: output o takes the input positions
// floor(o * in / out) .. ceil((o + 1) * in / out) - 1, so that windows overlap where out does not divide in.
#pragma once
#include "types.cuh"

// The positions first <= i < end.
struct Part {
  index_t first, end;
};

// The input positions of output o.
__device__ __forceinline__ Part part_of(index_t o, index_t in, index_t out) {
  return Part{o * in / out, ((o + 1) * in + out - 1) / out};
}

// The outputs whose positions hold q: o * in / out <= q is o * in < (q + 1) * out, and so on.
__device__ __forceinline__ Part outputs_over(index_t q, index_t in, index_t out) {
  return Part{q * out / in, ((q + 1) * out + in - 1) / in};
}
