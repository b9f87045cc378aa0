// Many tensors in one launch: tables of up to TENSORS pointers and sizes, which a kernel takes by value (a launch's
// parameters have room for 4 KiB), and their elements cut into chunks of `part`, numbered through from the first tensor to
// the last. Chunk c lies in the last tensor t with first_chunk[t] <= c; tensors without elements are left out.
// nnlab/ops/_cuda/tensors.py fills the tables in.
//
// A table has a member type `item`, by which the host runtime knows it, and nothing but the array.
#pragma once
#include "types.cuh"

#define TENSORS 64

struct Tensors {
  typedef scalar_t* item;
  item at[TENSORS];
};

struct ConstTensors {
  typedef const scalar_t* item;
  item at[TENSORS];
};

struct Sizes {
  typedef index_t item;
  item at[TENSORS];
};

// The elements start <= i < end of a tensor.
struct Chunk {
  int tensor;
  index_t start, end;
};

__device__ __forceinline__ Chunk chunk_of(
    index_t chunk, const Sizes& sizes, const Sizes& first_chunk, int count, index_t part) {
  int tensor = 0;
#pragma unroll
  for (int step = TENSORS / 2; step > 0; step /= 2) {
    if (tensor + step < count && first_chunk.at[tensor + step] <= chunk) tensor += step;
  }
  const index_t start = (chunk - first_chunk.at[tensor]) * part, size = sizes.at[tensor];
  return Chunk{tensor, start, size - start < part ? size : start + part};
}
