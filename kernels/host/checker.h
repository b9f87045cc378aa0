// What the runtime tells the checker (checker/checker.cpp); nothing where it is compiled without it.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime.h"

namespace nnlab {
namespace checker {

#ifdef NNLAB_CHECKED

constexpr bool kOn = true;

// A launch begins; where its static and its dynamic shared memory lie.
void begin(const Launch& launch, const void* fixed, std::size_t fixed_size, const void* dynamic);
void end();
void block(uint64_t number);                           // a block begins
void thread(unsigned number, const void* stack_end);   // from now on this thread runs
void barrier();                                        // all threads of the block have met
void warp(unsigned first, uint32_t lanes);             // lanes of a warp (first: its lane 0) have met at __syncwarp

// The thread that runs starts a copy; it has waited for it.
void copy_starts(const Copy& copy);
void copy_lands(const Copy& copy);

// Cooperative launches: all blocks have met; the block that runs is put aside, and goes on.
void grid();
void block_leaves();
void block_returns(uint64_t number);

// While it lives, accesses are not looked at: the runtime does something for all lanes of a warp.
struct Pause {
  Pause();
  ~Pause();
};

#else

constexpr bool kOn = false;

inline void begin(const Launch&, const void*, std::size_t, const void*) {}
inline void end() {}
inline void block(uint64_t) {}
inline void thread(unsigned, const void*) {}
inline void barrier() {}
inline void warp(unsigned, uint32_t) {}
inline void copy_starts(const Copy&) {}
inline void copy_lands(const Copy&) {}
inline void grid() {}
inline void block_leaves() {}
inline void block_returns(uint64_t) {}
struct Pause {
  ~Pause() {}
};

#endif

}  // namespace checker
}  // namespace nnlab
