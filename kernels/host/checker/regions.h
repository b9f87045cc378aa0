// Memory that a checked launch may access, and for each granule of it who has accessed it (see checker.cpp).
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace nnlab {
namespace checker {

enum Kind : uint32_t { read, write, atomic };

constexpr int32_t kNone = -1, kFixed = -2, kDynamic = -3;

struct Event {
  uint32_t interval, pc, stamp;  // stamp: meetings of the warp in this interval so far
  uint16_t thread;
};

struct Readers {
  uint32_t interval, stamp, lanes;        // lanes of one warp; stamp of the last
  uint32_t first_pc, last_pc, other_pc;   // other: of another warp
  uint32_t earlier, earlier_pc;           // interval of a read by an earlier block
  uint16_t first, last, other, earlier_thread;  // other: plus 1
};

struct Cell {
  Event written;
  Readers read;
};

inline uint64_t page_up(uint64_t bytes) { return (bytes + 4095) & ~uint64_t{4095}; }

// Memory that starts as zeros and costs nothing until it is touched.
class Zeros {
 public:
  Zeros() = default;
  Zeros(const Zeros&) = delete;
  ~Zeros() { drop(); }
  void* at_least(uint64_t bytes) {
    if (bytes > bytes_) {
      drop();
      void* memory = mmap(nullptr, page_up(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) return nullptr;
      memory_ = memory;
      bytes_ = page_up(bytes);
    }
    return memory_;
  }
  void drop() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
    memory_ = nullptr;
    bytes_ = 0;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  uint64_t bytes_ = 0;
};

constexpr uint64_t kKeep = 64 << 20;  // bytes of cells that a region keeps from launch to launch

struct Span {
  uint64_t start, end;
};

// An array (or several that overlap), or the static or dynamic shared memory of a block.
struct Region {
  int32_t number = kNone;
  uintptr_t start = 0;
  uint64_t bytes = 0;
  unsigned shift = 0;           // a granule has 2^shift bytes
  bool touched = false;         // accessed in this launch
  std::vector<Span> writable;   // of an array
  std::vector<uint8_t> poison;  // of an array: granules that nobody has written; empty: none
  std::unordered_map<uint64_t, Readers> atomics;
  std::unordered_map<uint64_t, Event> copies;  // asynchronous ones that are under way
  Zeros memory;

  bool shared() const { return number < kNone; }
  Cell* cells() { return static_cast<Cell*>(memory.at_least((bytes >> shift) * sizeof(Cell) + sizeof(Cell))); }

  void start_launch(uintptr_t at, uint64_t size, unsigned granule) {
    start = at;
    bytes = size;
    shift = granule;
    touched = false;
    writable.clear();
    poison.clear();
    atomics.clear();
    copies.clear();
    if (memory.bytes() > kKeep) memory.drop();
  }

  void split(unsigned to) {
    const uint64_t old_count = (bytes >> shift) + 1;
    const unsigned by = shift - to;
    if (touched) {
      const std::vector<Cell> old(cells(), cells() + old_count);
      shift = to;
      Cell* fresh = cells();
      for (uint64_t i = 0; i <= bytes >> to; ++i) fresh[i] = old[i >> by];
      spread(atomics, by);
      spread(copies, by);
    }
    shift = to;
    if (!poison.empty()) {
      std::vector<uint8_t> parts((bytes >> to) + 1);
      for (uint64_t i = 0; i < parts.size(); ++i) parts[i] = poison[i >> by];
      poison = std::move(parts);
    }
  }

 private:
  template <class Map>
  static void spread(Map& of_granules, unsigned by) {
    Map parts;
    for (const auto& one : of_granules)
      for (uint64_t i = 0; i < uint64_t{1} << by; ++i) parts[(one.first << by) + i] = one.second;
    of_granules = std::move(parts);
  }
};

}  // namespace checker
}  // namespace nnlab
