// Philox4x32-10: four random words as a pure function of a 128-bit counter and a 64-bit key.
//
// nnlab's numbering (nnlab/random.py): word i of draw `offset` under `seed` is output i % 4 of
//   philox4x32(counter = (i / 4 low, i / 4 high, offset low, offset high), key = (seed low, seed high)).
//
// Cost: 10 rounds of two 32 x 32 -> 64 bit products, no memory.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include "types.cuh"

struct Words4 {
  uint32 w[4];
};

__device__ __forceinline__ Words4 philox4x32(Words4 counter, uint32 key0, uint32 key1) {
  uint32 c0 = counter.w[0], c1 = counter.w[1], c2 = counter.w[2], c3 = counter.w[3];
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const uint32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return Words4{{c0, c1, c2, c3}};
}

// Words 4 * block ... 4 * block + 3 of a draw.
__device__ __forceinline__ Words4 random_words(uint64 seed, uint64 offset, uint64 block) {
  const Words4 counter = {{(uint32)block, (uint32)(block >> 32), (uint32)offset, (uint32)(offset >> 32)}};
  return philox4x32(counter, (uint32)seed, (uint32)(seed >> 32));
}

// Word i of a draw.
__device__ __forceinline__ uint32 random_word(uint64 seed, uint64 offset, uint64 i) {
  const Words4 words = random_words(seed, offset, i / 4);
  // A number chosen by an index would lie in memory.
  const uint32 low = i % 2 == 0 ? words.w[0] : words.w[1], high = i % 2 == 0 ? words.w[2] : words.w[3];
  return i % 4 < 2 ? low : high;
}
