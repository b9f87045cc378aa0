// Sums of each channel over the (image, position) pairs, in an order fixed by the shapes: a block of sum_threads threads
// adds up `share` of the pairs, a thread every `members`-th, then a tree the threads.
#pragma once
#include "types.cuh"

// A thread's share. A block has `lanes` channels, neighbouring threads neighbouring ones if there are several.
struct Lane {
  index_t channel, first, end;
  int member, members, lanes;
};

constexpr int sum_threads = 128;

__device__ __forceinline__ Lane lane_of(index_t channel_block, index_t part, index_t share, index_t terms, bool last) {
  const int lanes = last ? 32 : 1, thread = (int)threadIdx.x;
  const index_t end = (part + 1) * share;
  return Lane{channel_block * lanes + thread % lanes, part * share + thread / lanes, end < terms ? end : terms,
              thread / lanes, sum_threads / lanes, lanes};
}

// The sum over a lane's members, in member 0.
__device__ __forceinline__ acc_t sum_members(const Lane& lane, acc_t sum) {
  __shared__ acc_t sums[sum_threads];
  const int thread = (int)threadIdx.x;
  sums[thread] = sum;
  for (int half = lane.members / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane.member < half) sums[thread] += sums[thread + half * lane.lanes];
  }
  return sums[thread];
}
