// The host runtime's interface: what cuda_host.h and the kernels' entry points call. How it works: runtime.cpp.
#pragma once
#include <cstdint>

#define NNLAB_API __attribute__((visibility("default")))

struct uint3 {
  unsigned x, y, z;
};
// One runtime serves all kernel libraries, so these few bytes may lie where they are reached without a call.
extern __thread uint3 threadIdx NNLAB_API __attribute__((tls_model("initial-exec")));
extern __thread uint3 blockIdx NNLAB_API __attribute__((tls_model("initial-exec")));
extern __thread uint3 blockDim NNLAB_API __attribute__((tls_model("initial-exec")));
extern __thread uint3 gridDim NNLAB_API __attribute__((tls_model("initial-exec")));

namespace nnlab {

constexpr unsigned kWarp = 32;

// Of the block up to `grid`, then of the warp.
enum class Meeting : uint8_t {
  barrier, barrier_and, barrier_or, barrier_count, grid, warp, shuffle, ballot, any, all, act
};

// A place where a thread waits for others, and what it brings along.
struct Call {
  Meeting meeting;
  const char* name;
  const char* file;
  int line;
  uint32_t mask;    // lanes that must meet; barriers of the block: unused
  uint64_t value;   // predicate, or the bits that a shuffle passes on
  unsigned source;  // lane that a shuffle reads
  void (*act)(const uint64_t* values);  // Meeting::act: done once, when all 32 lanes have come, with what they brought
};

// A copy to shared memory that lands later.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes, inside;  // inside: bytes that are read; the others become 0
  uint64_t group;
  const char* file;
  int line;
};

[[noreturn]] NNLAB_API void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));  // ends the launch
NNLAB_API unsigned lane();
NNLAB_API void* dynamic_shared();
NNLAB_API void copy_async(const Copy& copy, const char* file, int line);
NNLAB_API void commit_copies();
NNLAB_API void wait_copies(unsigned groups);  // until at most so many groups of this thread are under way

}  // namespace nnlab

extern "C" NNLAB_API uint64_t nnlab_meet(const nnlab::Call* call);

namespace nnlab {

// Returns when the others have come, with this thread's result.
static inline uint64_t meet(const Call& call) { return nnlab_meet(&call); }

enum class Order : int { ascending, descending, shuffled };

struct Launch {
  const char* kernel;
  void (*body)(void** arguments);  // one thread
  void** arguments;
  const uint32_t* grid;   // x, y, z
  const uint32_t* block;  // x, y, z
  uint64_t shared;        // bytes of dynamic shared memory
  Order order;
  uint64_t seed;
  char* message;  // receives the error
  uint64_t message_size;
  unsigned threads;  // host threads that may run blocks
  char* (*mark)();   // address of a thread_local byte of the kernel's library
  bool cooperative;  // the blocks may wait for one another
};

NNLAB_API int launch(const Launch& launch);  // 0, or 1 with a message

}  // namespace nnlab
