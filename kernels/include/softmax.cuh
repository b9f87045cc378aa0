// Lines along one axis of an (outer, count, inner) array, and the two numbers that a softmax needs of each.
#pragma once
#include "math.cuh"
#include "team.cuh"
#include "types.cuh"

// The first element of a line; the next ones are `inner` apart.
__device__ __forceinline__ index_t line_start(index_t line, index_t count, index_t inner) {
  const index_t outer = line / inner;
  return outer * count * inner + (line - outer * inner);
}

// The maximum m and z = sum of exp(x - m). NaN may get lost in m, but not in z, and with z everything becomes NaN; so it
// does where m is infinite, since x - m is then NaN somewhere.
struct Shift {
  acc_t m, z;
};

__device__ __forceinline__ Shift shift_of(const scalar_t* x, index_t count, index_t inner) {
  acc_t m = -infinity();
  for (index_t j = member(); j < count; j += TEAM) m = Largest()(to_acc(x[j * inner]), m);
  m = joined(m, Largest());
  acc_t z = 0;
  for (index_t j = member(); j < count; j += TEAM) z += exp(to_acc(x[j * inner]) - m);
  return Shift{m, joined(z, Sum())};
}
