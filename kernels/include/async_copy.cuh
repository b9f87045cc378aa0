// Copies from global to shared memory that go on while the thread computes (cp.async, from sm_80 on; older: a trap).
//
//   copy_async<16>(&tile[i], &x[j]);          4, 8 or 16 bytes, both addresses multiples of that
//   copy_async<16>(&tile[i], &x[j], inside);  only the first `inside` bytes are read, the rest becomes 0
//   commit_copies();                          what was started since the last call is a group
//   wait_copies<1>();                         until at most 1 group, the newest, is under way
//   __syncthreads();                          a thread has waited for its own copies only: the others' need this
//
// On the host a copy lands where that is worst: under ascending order when it is waited for, under descending order at
// once, under a shuffled order at either time. Source: PTX ISA, "cp.async".
#pragma once

#ifdef __CUDACC__

template <int BYTES>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int inside = BYTES) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
#if __CUDA_ARCH__ >= 800
  const unsigned place = (unsigned)__cvta_generic_to_shared(shared);
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], %2, %3;\n" ::"r"(place), "l"(global), "n"(BYTES), "r"(inside)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(place), "l"(global), "n"(BYTES), "r"(inside)
                 : "memory");
#else
  __trap();
#endif
}

__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

template <int GROUPS>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(GROUPS) : "memory");
#endif
}

#else

template <int BYTES>
static inline void copy_async(void* shared, const void* global, int inside = BYTES, NNLAB_HERE) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  nnlab::copy_async({shared, global, BYTES, (unsigned)inside, 0}, file, line);
}

static inline void commit_copies() { nnlab::commit_copies(); }

template <int GROUPS>
static inline void wait_copies() {
  nnlab::wait_copies(GROUPS);
}

#endif
