// One step of Adam or AdamW on up to 64 parameters (include/tensors.cuh), in place; for each of them:
//   p = p * shrink                            AdamW: shrink = 1 - lr * weight_decay, weight_decay = 0 below
//   g = (maximize ? -g : g) + weight_decay * p
//   m = beta1 * m + rest1 * g;  v = beta2 * v + rest2 * g * g      rest = 1 - beta
//   p = p - size * m / (sqrt(v) / root + eps)                      size = lr / (1 - beta1^t), root = sqrt(1 - beta2^t)
//
// adam_step          overwrites p, m and v.
// adam_amsgrad_step  overwrites p, m, v and u = max(u, v) (NaN stays), which then stands for v in the last line.
// Nothing is saved.
//
// Without weight decay p is not multiplied, so that an infinite p makes no NaN. Half types are computed in float32; p and
// the moments are each rounded once, and p moves by moments that are not rounded yet. A block takes a chunk of one
// parameter at a time. The rates lie in device memory, so that a recorded step (a CUDA graph) can be run again with
// others, and so does the flag by which nothing is changed (skip[0]): it is set where scaled gradients overflowed.
//
// Memory: reads p, g, m and v, writes p, m and v (amsgrad: and u).
// Operations: about 12, a root and two divisions an element; memory-bound.
// Sources: Kingma, Ba, "Adam", ICLR 2015; Reddi, Kale, Kumar, "On the convergence of Adam and beyond", ICLR 2018; Loshchilov,
// Hutter, "Decoupled weight decay regularization", ICLR 2019.
#include "include/math.cuh"
#include "include/tensors.cuh"
#include "include/types.cuh"

struct Rates {
  acc_t size, root, eps, beta1, rest1, beta2, rest2, weight_decay, shrink;
  int maximize;
};

// The numbers in the order of the fields.
__device__ __forceinline__ Rates rates_of(const double* numbers, int maximize) {
  return Rates{(acc_t)numbers[0], (acc_t)numbers[1], (acc_t)numbers[2], (acc_t)numbers[3], (acc_t)numbers[4],
               (acc_t)numbers[5], (acc_t)numbers[6], (acc_t)numbers[7], (acc_t)numbers[8], maximize};
}

// A parameter and what it moves by, before the second moment is known to be the largest.
struct Moved {
  acc_t p, m, v;
};

__device__ __forceinline__ Moved moments(acc_t p, acc_t g, acc_t m, acc_t v, const Rates& r) {
  if (r.maximize) g = -g;
  if (r.shrink != 1) p = p * r.shrink;
  if (r.weight_decay != 0) g = g + p * r.weight_decay;
  return Moved{p, m * r.beta1 + g * r.rest1, v * r.beta2 + g * g * r.rest2};
}

__device__ __forceinline__ acc_t step_down(const Moved& moved, acc_t v, const Rates& r) {
  return moved.p - moved.m / (sqrt(v) / r.root + r.eps) * r.size;
}

extern "C" __global__ void adam_step(
    const Tensors params,       // [count, sizes]
    const ConstTensors grads,   // [count, sizes]
    const Tensors exp_avgs,     // [count, sizes]
    const Tensors exp_avg_sqs,  // [count, sizes]
    const Sizes sizes, const Sizes first_chunk, int count, index_t chunks, index_t part,
    const double* __restrict__ rates,  // [9]
    const int64* __restrict__ skip,    // [2] if skippable, else not read
    int skippable, int maximize) {
  if (skippable && skip[0]) return;
  const Rates r = rates_of(rates, maximize);
  for (index_t number = (index_t)blockIdx.x; number < chunks; number += (index_t)gridDim.x) {
    const Chunk chunk = chunk_of(number, sizes, first_chunk, count, part);
    scalar_t* __restrict__ p = params.at[chunk.tensor];
    const scalar_t* __restrict__ g = grads.at[chunk.tensor];
    scalar_t* __restrict__ m = exp_avgs.at[chunk.tensor];
    scalar_t* __restrict__ v = exp_avg_sqs.at[chunk.tensor];
    for (index_t i = chunk.start + (index_t)threadIdx.x; i < chunk.end; i += (index_t)blockDim.x) {
      const Moved moved = moments(to_acc(p[i]), to_acc(g[i]), to_acc(m[i]), to_acc(v[i]), r);
      m[i] = to_scalar(moved.m);
      v[i] = to_scalar(moved.v);
      p[i] = to_scalar(step_down(moved, moved.v, r));
    }
  }
}

extern "C" __global__ void adam_amsgrad_step(
    const Tensors params,           // [count, sizes]
    const ConstTensors grads,       // [count, sizes]
    const Tensors exp_avgs,         // [count, sizes]
    const Tensors exp_avg_sqs,      // [count, sizes]
    const Tensors max_exp_avg_sqs,  // [count, sizes]
    const Sizes sizes, const Sizes first_chunk, int count, index_t chunks, index_t part,
    const double* __restrict__ rates,  // [9]
    const int64* __restrict__ skip,    // [2] if skippable, else not read
    int skippable, int maximize) {
  if (skippable && skip[0]) return;
  const Rates r = rates_of(rates, maximize);
  for (index_t number = (index_t)blockIdx.x; number < chunks; number += (index_t)gridDim.x) {
    const Chunk chunk = chunk_of(number, sizes, first_chunk, count, part);
    scalar_t* __restrict__ p = params.at[chunk.tensor];
    const scalar_t* __restrict__ g = grads.at[chunk.tensor];
    scalar_t* __restrict__ m = exp_avgs.at[chunk.tensor];
    scalar_t* __restrict__ v = exp_avg_sqs.at[chunk.tensor];
    scalar_t* __restrict__ u = max_exp_avg_sqs.at[chunk.tensor];
    for (index_t i = chunk.start + (index_t)threadIdx.x; i < chunk.end; i += (index_t)blockDim.x) {
      const Moved moved = moments(to_acc(p[i]), to_acc(g[i]), to_acc(m[i]), to_acc(v[i]), r);
      const acc_t before = to_acc(u[i]);
      const acc_t highest = before > moved.v || before != before ? before : moved.v;
      m[i] = to_scalar(moved.m);
      v[i] = to_scalar(moved.v);
      u[i] = to_scalar(highest);
      p[i] = to_scalar(step_down(moved, highest, r));
    }
  }
}
