// One step of stochastic gradient descent on up to 64 parameters (include/tensors.cuh), in place; for each of them:
//   d = (maximize ? -g : g) + weight_decay * p;  p = p - lr * d
// and with momentum
//   v = first ? d : momentum * v + keep * d;     p = p - lr * (nesterov ? d + momentum * v : v)
// where keep = 1 - dampening.
//
// sgd_step           overwrites p.
// sgd_momentum_step  overwrites p and v; what v holds is not read if first. Nothing is saved.
//
// Without weight decay p is not multiplied, so that an infinite p makes no NaN. Half types are computed in float32; p and v
// are each rounded once, and p moves by the v that is not rounded yet. A block takes a chunk of one parameter at a time.
// The rates lie in device memory, so that a recorded step (a CUDA graph) can be run again with others, and so does the flag
// by which nothing is changed (skip[0]): it is set where scaled gradients overflowed.
//
// Memory: sgd_step reads p and g, writes p; sgd_momentum_step reads p, g and v, writes p and v.
// Operations: up to 8 an element; memory-bound.
// Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.
#include "include/tensors.cuh"
#include "include/types.cuh"

__device__ __forceinline__ acc_t direction(acc_t p, acc_t g, acc_t weight_decay, int maximize) {
  const acc_t down = maximize ? -g : g;
  return weight_decay != 0 ? p * weight_decay + down : down;
}

extern "C" __global__ void sgd_step(
    const Tensors params,      // [count, sizes]
    const ConstTensors grads,  // [count, sizes]
    const Sizes sizes, const Sizes first_chunk, int count, index_t chunks, index_t part,
    const double* __restrict__ rates,  // [2]: lr, weight_decay
    const int64* __restrict__ skip,    // [2] if skippable, else not read
    int skippable, int maximize) {
  if (skippable && skip[0]) return;
  const acc_t lr = (acc_t)rates[0], weight_decay = (acc_t)rates[1];
  for (index_t number = (index_t)blockIdx.x; number < chunks; number += (index_t)gridDim.x) {
    const Chunk chunk = chunk_of(number, sizes, first_chunk, count, part);
    scalar_t* __restrict__ p = params.at[chunk.tensor];
    const scalar_t* __restrict__ g = grads.at[chunk.tensor];
    for (index_t i = chunk.start + (index_t)threadIdx.x; i < chunk.end; i += (index_t)blockDim.x) {
      const acc_t old = to_acc(p[i]);
      p[i] = to_scalar(old - lr * direction(old, to_acc(g[i]), weight_decay, maximize));
    }
  }
}

extern "C" __global__ void sgd_momentum_step(
    const Tensors params,      // [count, sizes]
    const ConstTensors grads,  // [count, sizes]
    const Tensors buffers,     // [count, sizes]
    const Sizes sizes, const Sizes first_chunk, int count, index_t chunks, index_t part,
    const double* __restrict__ rates,  // [4]: lr, weight_decay, momentum, keep
    const int64* __restrict__ skip,    // [2] if skippable, else not read
    int skippable, int first, int nesterov, int maximize) {
  if (skippable && skip[0]) return;
  const acc_t lr = (acc_t)rates[0], weight_decay = (acc_t)rates[1];
  const acc_t momentum = (acc_t)rates[2], keep = (acc_t)rates[3];
  for (index_t number = (index_t)blockIdx.x; number < chunks; number += (index_t)gridDim.x) {
    const Chunk chunk = chunk_of(number, sizes, first_chunk, count, part);
    scalar_t* __restrict__ p = params.at[chunk.tensor];
    const scalar_t* __restrict__ g = grads.at[chunk.tensor];
    scalar_t* __restrict__ v = buffers.at[chunk.tensor];
    for (index_t i = chunk.start + (index_t)threadIdx.x; i < chunk.end; i += (index_t)blockDim.x) {
      const acc_t old = to_acc(p[i]);
      const acc_t d = direction(old, to_acc(g[i]), weight_decay, maximize);
      const acc_t speed = first ? d : to_acc(v[i]) * momentum + d * keep;
      v[i] = to_scalar(speed);
      p[i] = to_scalar(old - lr * (nesterov ? d + momentum * speed : speed));
    }
  }
}
