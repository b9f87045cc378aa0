// Looks at every memory access of a checked launch. A kernel file compiled with -fsanitize=thread calls __tsan_read4 and
// the like before each access; they are defined here, and the sanitizer's own library is not linked.
//
// Addresses. The arrays of a launch lie in an arena, each in the middle of a slot of 64 GiB of address space (only what is
// used is memory): a wrong 32-bit index does not reach the next array. Allowed are the arrays, shared memory, the thread's
// own stack and the library's constants.
//
// Races. Memory is cut into granules (an element; smaller ones as soon as a part is accessed), each with a cell: who wrote
// it last and who has read it since. Time is cut into intervals: a new one begins with each block and at each barrier of
// the block. Two accesses, one of them a write, are a race unless
//   one thread makes both, or
//   they are of the same block, and in different intervals, or
//   they are of one warp, and __syncwarp orders them: each thread knows for each lane of its warp how many meetings of
//   the warp the lane's accesses must precede to be known to it, or
//   both are atomic.
// Shuffles and votes order no memory accesses (CUDA C++ Programming Guide, warp shuffle functions). Blocks are not ordered.
// Of the readers since the last write these are enough to find a race of a later write, whatever the thread: the lanes of
// one warp, one reader of another warp, one reader of an earlier block.
//
// Counts. The n-th accesses of a warp's lanes from one place in the code within an interval are taken as one instruction:
// its 32-byte sectors of global memory, or how often the 32 banks of shared memory must be asked for it.
#include "checker.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

namespace nnlab {
namespace checker {
namespace {

enum Kind : uint32_t { read, write, atomic };

// What nnlab/backend/checked.py reads; it has the same fields.
enum What : uint32_t { nothing, outside, nowhere, constant, misaligned, unwritten, race, arithmetic };

struct Access {
  uint64_t block;
  uint32_t thread, kind, pc, size;
};

struct Finding {
  uint32_t what;
  int32_t region;  // number of the array's slot, kFixed, kDynamic, or kNone
  int64_t offset;  // from the region's start
  uint64_t address, region_bytes;
  Access now, before;
  char text[256];
};

constexpr int32_t kNone = -1, kFixed = -2, kDynamic = -3;

struct Totals {
  uint64_t global, global_ops, sectors, ideal_sectors;     // accesses of threads; of warps; 32-byte sectors
  uint64_t shared, shared_ops, wavefronts, ideal_wavefronts;
};

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

uint64_t page_up(uint64_t bytes) { return (bytes + 4095) & ~uint64_t{4095}; }

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
      std::unordered_map<uint64_t, Readers> parts;
      for (const auto& one : atomics)
        for (uint64_t i = 0; i < uint64_t{1} << by; ++i) parts[(one.first << by) + i] = one.second;
      atomics = std::move(parts);
    }
    shift = to;
    if (!poison.empty()) {
      std::vector<uint8_t> parts((bytes >> to) + 1);
      for (uint64_t i = 0; i < parts.size(); ++i) parts[i] = poison[i >> by];
      poison = std::move(parts);
    }
  }
};

struct Segments {
  uintptr_t address, start, end;
};

// The extent of the library that holds an address.
int find_library(dl_phdr_info* info, std::size_t, void* data) {
  auto& search = *static_cast<Segments*>(data);
  uintptr_t start = ~uintptr_t{0}, end = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD) continue;
    start = std::min<uintptr_t>(start, info->dlpi_addr + part.p_vaddr);
    end = std::max<uintptr_t>(end, info->dlpi_addr + part.p_vaddr + part.p_memsz);
  }
  if (!(start <= search.address && search.address < end)) return 0;
  search.start = start;
  search.end = end;
  return 1;
}

constexpr unsigned kLeastSlot = 36;

class Checker;
__thread Checker* mine;     // of this host thread
__thread Checker* running;  // the same while a launch runs

class Checker {
 public:
  Finding finding{};
  Totals totals{};
  bool counting = false;

  // Makes room for arrays of these sizes; false if there is no address space.
  bool reserve(uint32_t count, const uint64_t* sizes, const uint64_t* offsets, const uint8_t* granules, uint64_t* at) {
    unsigned shift = kLeastSlot;
    for (uint32_t i = 0; i < count; ++i)
      while (sizes[i] >> (shift - 2)) ++shift;
    if (shift != slot_ || count > reserved_) {
      if (arena_ != 0) munmap(reinterpret_cast<void*>(arena_), uint64_t{reserved_} << slot_);
      const uint32_t want = std::max(count, 16u);
      void* memory =
          mmap(nullptr, uint64_t{want} << shift, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) {
        arena_ = reserved_ = 0;
        return false;
      }
      arena_ = reinterpret_cast<uintptr_t>(memory);
      reserved_ = want;
      slot_ = shift;
      committed_.assign(want, 0);
    }
    while (arrays_.size() < count) arrays_.emplace_back(new Region);
    used_ = count;
    for (uint32_t i = 0; i < count; ++i) {
      const uintptr_t page = arena_ + (uint64_t{i} << slot_) + (uint64_t{1} << (slot_ - 1));
      const uint64_t need = page_up(offsets[i] + sizes[i]);
      if (need > committed_[i]) {
        if (mprotect(reinterpret_cast<void*>(page), need, PROT_READ | PROT_WRITE) != 0) return false;
        committed_[i] = need;
      }
      at[i] = page + offsets[i];
      arrays_[i]->number = static_cast<int32_t>(i);
      arrays_[i]->start_launch(at[i], sizes[i], granules[i]);
    }
    return true;
  }

  // Gives memory back that large arrays took.
  void release() {
    for (uint32_t i = 0; i < used_; ++i) {
      if (committed_[i] <= kKeep) continue;
      const uintptr_t page = arena_ + (uint64_t{i} << slot_) + (uint64_t{1} << (slot_ - 1));
      madvise(reinterpret_cast<void*>(page), committed_[i], MADV_DONTNEED);
    }
  }

  void writable(uint32_t array, uint64_t offset, uint64_t bytes) {
    arrays_[array]->writable.push_back({offset, offset + bytes});
  }

  void poisoned(uint32_t array, uint64_t offset, unsigned shift, const uint8_t* items, uint64_t count) {
    Region& region = *arrays_[array];
    region.poison.resize((region.bytes >> region.shift) + 1);
    for (uint64_t i = 0; i < count; ++i) {
      if (!items[i]) continue;
      const uint64_t first = (offset + (i << shift)) >> region.shift, last = (offset + ((i + 1) << shift) - 1) >> region.shift;
      for (uint64_t granule = first; granule <= last; ++granule) region.poison[granule] = 1;
    }
  }

  // -- a launch ---------------------------------------------------------------------------------------------------------

  void begin(const Launch& launch, const void* fixed, std::size_t fixed_size, const void* dynamic) {
    finding = {};
    totals = {};
    threads_ = launch.block[0] * launch.block[1] * launch.block[2];
    fixed_.number = kFixed;
    dynamic_.number = kDynamic;
    if (fixed_size == 1) fixed_size = 0;  // no array, only the byte by which the runtime finds them
    fixed_.start_launch(reinterpret_cast<uintptr_t>(fixed), fixed_size, 2);
    dynamic_.start_launch(reinterpret_cast<uintptr_t>(dynamic), launch.shared, 2);
    if (interval_ > 0xF0000000u) {  // cells of older launches must stay older
      interval_ = 0;
      for (auto& region : arrays_) region->memory.drop();
      fixed_.memory.drop();
      dynamic_.memory.drop();
    }
    launch_start_ = block_start_ = ++interval_;
    blocks_.clear();
    Segments search{reinterpret_cast<uintptr_t>(launch.body), 0, 0};
    dl_iterate_phdr(find_library, &search);
    library_ = search.start;
    library_end_ = search.end;
    const uintptr_t indices[] = {reinterpret_cast<uintptr_t>(&threadIdx), reinterpret_cast<uintptr_t>(&blockIdx),
                                 reinterpret_cast<uintptr_t>(&blockDim), reinterpret_cast<uintptr_t>(&gridDim)};
    indices_ = *std::min_element(indices, indices + 4);
    indices_end_ = *std::max_element(indices, indices + 4) + sizeof(uint3);
    warps_.assign((threads_ + kWarp - 1) / kWarp, 0);
    known_.assign(threads_, Known{});
    places_.clear();
    numbers_.clear();
    occurrences_.assign(counting ? threads_ : 0, {});
  }

  void block(uint64_t number) {
    block_ = number;
    new_interval();
    block_start_ = interval_;
    blocks_.push_back({interval_, number});
  }

  void thread(unsigned number, const void* stack_end) {
    thread_ = number;
    warp_ = number / kWarp;
    lane_ = number % kWarp;
    stack_end_ = reinterpret_cast<uintptr_t>(stack_end);
  }

  void new_interval() {
    ++interval_;
    for (unsigned warp = 0; warp < warps_.size(); ++warp) {
      if (warps_[warp] == 0) continue;
      warps_[warp] = 0;
      const unsigned end = std::min(threads_, (warp + 1) * kWarp);
      for (unsigned thread = warp * kWarp; thread < end; ++thread) known_[thread] = Known{};
    }
    if (counting) flush();
  }

  // A thread that meets others knows from then on all that they knew, and all that they have done so far.
  void warp(unsigned first, uint32_t lanes) {
    const uint32_t meeting = ++warps_[first / kWarp];
    Known all{};
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (!(lanes >> lane & 1)) continue;
      for (unsigned other = 0; other < kWarp; ++other)
        all.before[other] = std::max(all.before[other], known_[first + lane].before[other]);
    }
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (lanes >> lane & 1) all.before[lane] = meeting;
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (lanes >> lane & 1) known_[first + lane] = all;
  }

  // -- an access --------------------------------------------------------------------------------------------------------

  template <Kind kind>
  void access(uintptr_t address, uint64_t size, const void* caller, bool counted = true) {
    const uintptr_t frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    if (address - frame < stack_end_ - frame) return;
    const uint32_t pc = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(caller) - library_);
    Region* region;
    const uint64_t slot = (address - arena_) >> slot_;
    if (slot < used_) {
      region = arrays_[slot].get();
    } else if (address - fixed_.start < fixed_.bytes) {
      region = &fixed_;
    } else if (address - dynamic_.start < dynamic_.bytes) {
      region = &dynamic_;
    } else {
      if (kind == read && address - indices_ < indices_end_ - indices_) return;
      if (kind == read && address - library_ < library_end_ - library_) return;
      stray(address, kind, pc, size);
    }
    const uint64_t offset = address - region->start;
    if (offset >= region->bytes || size > region->bytes - offset) found(outside, *region, address, kind, pc, size);
    if (size == 0) return;
    const bool shared = region->shared();
    if (kind != read && !shared && !may_write(*region, offset, size)) found(constant, *region, address, kind, pc, size);
    if (((offset | size) & ((uint64_t{1} << region->shift) - 1)) != 0)
      region->split(static_cast<unsigned>(__builtin_ctzll(offset | size)));
    Cell* const cells = region->cells();
    if (cells == nullptr) fail("no memory for the checker's notes on %llu bytes", static_cast<unsigned long long>(region->bytes));
    region->touched = true;
    const uint64_t last = (offset + size - 1) >> region->shift;
    for (uint64_t granule = offset >> region->shift; granule <= last; ++granule) {
      Cell& cell = cells[granule];
      if (kind != write) {
        const bool missing = shared ? cell.written.interval < block_start_ && !atomic_before(*region, granule)
                                    : !region->poison.empty() && region->poison[granule];
        if (missing) found(unwritten, *region, region->start + (granule << region->shift), kind, pc, 1u << region->shift);
      } else if (!shared && !region->poison.empty()) {
        region->poison[granule] = 0;
      }
      Access before;
      bool bad = !after(cell.written, shared, before);
      if (kind != read && !bad) bad = !after_all(cell.read, shared, read, before);
      if (kind != atomic && !bad && !region->atomics.empty()) {
        const auto found_atomic = region->atomics.find(granule);
        bad = found_atomic != region->atomics.end() && !after_all(found_atomic->second, shared, atomic, before);
      }
      if (bad) {
        finding.before = before;
        found(race, *region, region->start + (granule << region->shift), kind, pc, 1u << region->shift);
      }
      if (kind == read) {
        add(cell.read, shared, pc);
      } else if (kind == write) {
        cell.written = {interval_, pc, warps_[warp_], static_cast<uint16_t>(thread_)};
        cell.read.interval = cell.read.earlier = 0;
        if (!region->atomics.empty()) region->atomics.erase(granule);
      } else {
        add(region->atomics[granule], shared, pc);
      }
    }
    if (!counted) return;
    ++(shared ? totals.shared : totals.global);
    if (counting) count(shared, shared ? offset : address, size, pc);
  }

  // ubsan: an access through a type of this alignment.
  void misaligned_access(uintptr_t address, uint64_t alignment, Kind kind, const void* caller) {
    const uint32_t pc = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(caller) - library_);
    Region* const region = near(address);
    if (region == nullptr) stray(address, kind, pc, alignment);
    found(misaligned, *region, address, kind, pc, alignment);
  }

  // ubsan: an operation without a result.
  void no_result(const void* caller, const char* file, unsigned line) {
    finding.now = here(read, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(caller) - library_), 0);
    finding.what = arithmetic;
    const std::size_t used = std::strlen(finding.text);
    std::snprintf(finding.text + used, sizeof finding.text - used, " (%s:%u)", file, line);
    fail("%s", finding.text);
  }

 private:
  struct Known {
    uint32_t before[kWarp] = {};  // of each lane of the warp: its accesses with a smaller stamp
  };

  struct BlockStart {
    uint32_t interval;
    uint64_t number;
  };

  Access here(Kind kind, uint32_t pc, uint64_t size) const {
    return {block_, thread_, kind, pc, static_cast<uint32_t>(size)};
  }

  Access there(uint32_t interval, unsigned thread, Kind kind, uint32_t pc) const {
    auto start = std::upper_bound(blocks_.begin(), blocks_.end(), interval,
                                  [](uint32_t at, const BlockStart& block) { return at < block.interval; });
    return {std::prev(start)->number, thread, kind, pc, 0};
  }

  [[noreturn]] void found(What what, const Region& region, uintptr_t address, Kind kind, uint32_t pc, uint64_t size) {
    finding.what = what;
    finding.region = region.number;
    finding.region_bytes = region.bytes;
    finding.offset = static_cast<int64_t>(address - region.start);
    finding.address = address;
    finding.now = here(kind, pc, size);
    fail("found by the checker");
  }

  [[noreturn]] void stray(uintptr_t address, Kind kind, uint32_t pc, uint64_t size) {
    const Region* region = near(address);
    if (region != nullptr) found(outside, *region, address, kind, pc, size);
    Region none;
    found(nowhere, none, address, kind, pc, size);
  }

  // The region that an address is in, or that it misses by little.
  Region* near(uintptr_t address) {
    const uint64_t slot = (address - arena_) >> slot_;
    if (slot < used_) return arrays_[slot].get();
    Region* best = nullptr;
    uint64_t distance = 1024;
    for (Region* region : {&fixed_, &dynamic_}) {
      if (region->bytes == 0) continue;
      const uint64_t away = address < region->start ? region->start - address
                            : address < region->start + region->bytes ? 0 : address - region->start - region->bytes;
      if (away < distance) {
        best = region;
        distance = away;
      }
    }
    return best;
  }

  static bool may_write(const Region& region, uint64_t offset, uint64_t size) {
    for (const Span& span : region.writable)
      if (span.start <= offset && offset + size <= span.end) return true;
    return false;
  }

  // Whether the event is over for this thread; else what it was.
  bool after(const Event& event, bool shared, Access& before) const {
    if (event.interval < (shared ? block_start_ : launch_start_)) return true;
    if (event.interval >= block_start_) {
      if (event.interval < interval_ || event.thread == thread_) return true;
      if (event.thread / kWarp == warp_ && event.stamp < known_[thread_].before[event.thread % kWarp]) return true;
    }
    before = there(event.interval, event.thread, write, event.pc);
    return false;
  }

  bool after_all(const Readers& readers, bool shared, Kind kind, Access& before) const {
    if (!shared && readers.earlier >= launch_start_) {
      before = there(readers.earlier, readers.earlier_thread, kind, readers.earlier_pc);
      return false;
    }
    if (readers.interval < (shared ? block_start_ : launch_start_)) return true;
    if (readers.interval < block_start_) {
      before = there(readers.interval, readers.last, kind, readers.last_pc);
      return false;
    }
    if (readers.interval < interval_) return true;
    if (readers.last / kWarp != warp_) {
      before = there(interval_, readers.last, kind, readers.last_pc);
      return false;
    }
    if (readers.other != 0) {
      before = there(interval_, readers.other - 1u, kind, readers.other_pc);
      return false;
    }
    for (uint32_t lanes = readers.lanes & ~(1u << lane_); lanes != 0; lanes &= lanes - 1) {
      const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
      if (readers.stamp < known_[thread_].before[lane]) continue;
      const unsigned thread = warp_ * kWarp + lane;
      before = there(interval_, thread, kind, thread == readers.first ? readers.first_pc : readers.last_pc);
      return false;
    }
    return true;
  }

  bool atomic_before(Region& region, uint64_t granule) const {
    if (region.atomics.empty()) return false;
    const auto found_atomic = region.atomics.find(granule);
    return found_atomic != region.atomics.end() && found_atomic->second.interval >= block_start_;
  }

  void add(Readers& readers, bool shared, uint32_t pc) {
    const uint32_t me = 1u << lane_, stamp = warps_[warp_];
    const auto thread = static_cast<uint16_t>(thread_);
    if (readers.interval == interval_) {
      if (readers.last / kWarp != warp_) {
        if (readers.other == 0) {
          readers.other = static_cast<uint16_t>(thread_ + 1);
          readers.other_pc = pc;
        }
        return;
      }
      if (readers.stamp != stamp) {  // what is over for this thread need not be kept
        uint32_t kept = 0;
        for (uint32_t lanes = readers.lanes; lanes != 0; lanes &= lanes - 1) {
          const unsigned lane = static_cast<unsigned>(__builtin_ctz(lanes));
          if (readers.stamp >= known_[thread_].before[lane]) kept |= 1u << lane;
        }
        readers.lanes = kept;
        readers.stamp = stamp;
      }
      readers.lanes |= me;
      readers.last = thread;
      readers.last_pc = pc;
      return;
    }
    if (!shared && readers.interval >= launch_start_ && readers.interval < block_start_) {
      readers.earlier = readers.interval;
      readers.earlier_thread = readers.last;
      readers.earlier_pc = readers.last_pc;
    }
    readers.interval = interval_;
    readers.stamp = stamp;
    readers.lanes = me;
    readers.first = readers.last = thread;
    readers.first_pc = readers.last_pc = pc;
    readers.other = 0;
  }

  // -- counts -----------------------------------------------------------------------------------------------------------

  struct Together {  // what the lanes of a warp access at once
    uint32_t lanes = 0;
    uint64_t at[kWarp];
  };

  struct Place {
    bool shared;
    uint32_t size;
    std::vector<std::vector<Together>> warps;  // by warp and occurrence
  };

  void count(bool shared, uint64_t address, uint64_t size, uint32_t pc) {
    while (size > 0) {
      const uint64_t natural = (address | 16) & (~(address | 16) + 1);
      uint64_t part = std::min<uint64_t>(natural, 16);
      while (part > size) part /= 2;
      count_part(shared, address, static_cast<uint32_t>(part), pc);
      address += part;
      size -= part;
    }
  }

  void count_part(bool shared, uint64_t address, uint32_t size, uint32_t pc) {
    const uint64_t key = uint64_t{pc} << 8 | uint64_t{size} << 1 | shared;
    const auto number = numbers_.emplace(key, static_cast<uint32_t>(places_.size()));
    if (number.second) places_.push_back({shared, size, std::vector<std::vector<Together>>(warps_.size())});
    const uint32_t place = number.first->second;
    std::vector<uint32_t>& seen = occurrences_[thread_];
    if (seen.size() <= place) seen.resize(place + 1);
    const uint32_t occurrence = seen[place]++;
    std::vector<Together>& groups = places_[place].warps[warp_];
    if (groups.size() <= occurrence) groups.resize(occurrence + 1);
    groups[occurrence].lanes |= 1u << lane_;
    groups[occurrence].at[lane_] = address;
  }

 public:
  void flush() {
    for (Place& place : places_) {
      for (auto& groups : place.warps) {
        for (const Together& group : groups) place.shared ? banks(group, place.size) : sectors(group, place.size);
        groups.clear();
      }
    }
    for (auto& seen : occurrences_) std::fill(seen.begin(), seen.end(), 0u);
  }

 private:
  void sectors(const Together& group, uint32_t size) {
    uint64_t starts[kWarp];
    unsigned count = 0;
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (group.lanes >> lane & 1) starts[count++] = group.at[lane];
    std::sort(starts, starts + count);
    uint64_t end = 0, next_sector = 0, bytes = 0, touched = 0;  // ends of what has been counted
    for (unsigned i = 0; i < count; ++i) {
      const uint64_t start = starts[i], stop = start + size;
      bytes += stop > end ? stop - std::max(start, end) : 0;
      end = std::max(end, stop);
      const uint64_t first = std::max(start / 32, next_sector), last = (stop - 1) / 32;
      if (first <= last) touched += last - first + 1;
      next_sector = std::max(next_sector, last + 1);
    }
    ++totals.global_ops;
    totals.sectors += touched;
    totals.ideal_sectors += (bytes + 31) / 32;
  }

  void banks(const Together& group, uint32_t size) {
    const unsigned lanes_at_once = size <= 4 ? kWarp : kWarp * 4 / size;
    ++totals.shared_ops;
    for (unsigned base = 0; base < kWarp; base += lanes_at_once) {
      uint64_t words[kWarp * 2];
      unsigned count = 0;
      for (unsigned lane = base; lane < base + lanes_at_once; ++lane) {
        if (!(group.lanes >> lane & 1)) continue;
        for (uint64_t word = group.at[lane] / 4; word <= (group.at[lane] + size - 1) / 4; ++word) words[count++] = word;
      }
      if (count == 0) continue;
      std::sort(words, words + count);
      unsigned asked[32] = {}, most = 0;
      for (unsigned i = 0; i < count; ++i) {
        if (i > 0 && words[i] == words[i - 1]) continue;
        most = std::max(most, ++asked[words[i] % 32]);
      }
      totals.wavefronts += most;
      ++totals.ideal_wavefronts;
    }
  }

  uintptr_t arena_ = 0;
  unsigned slot_ = kLeastSlot;
  uint32_t reserved_ = 0, used_ = 0;
  std::vector<uint64_t> committed_;
  std::vector<std::unique_ptr<Region>> arrays_;
  Region fixed_, dynamic_;
  uintptr_t library_ = 0, library_end_ = 0, indices_ = 0, indices_end_ = 0, stack_end_ = 0;
  unsigned threads_ = 0, thread_ = 0, warp_ = 0, lane_ = 0;
  uint64_t block_ = 0;
  uint32_t interval_ = 0, launch_start_ = 0, block_start_ = 0;
  std::vector<BlockStart> blocks_;
  std::vector<uint32_t> warps_;  // meetings of each warp in this interval
  std::vector<Known> known_;
  std::vector<Place> places_;
  std::unordered_map<uint64_t, uint32_t> numbers_;
  std::vector<std::vector<uint32_t>> occurrences_;  // by thread and place
};

Checker& of_this_thread() {
  thread_local std::unique_ptr<Checker> owner;
  if (owner == nullptr) {
    owner.reset(new Checker);
    mine = owner.get();
  }
  return *owner;
}

}  // namespace

void begin(const Launch& launch, const void* fixed, std::size_t fixed_size, const void* dynamic) {
  of_this_thread().begin(launch, fixed, fixed_size, dynamic);
  running = mine;
}

void end() {
  if (running->counting) running->flush();
  running = nullptr;
}

void block(uint64_t number) { running->block(number); }
void thread(unsigned number, const void* stack_end) { running->thread(number, stack_end); }
void barrier() { running->new_interval(); }
void warp(unsigned first, uint32_t lanes) { running->warp(first, lanes); }

}  // namespace checker
}  // namespace nnlab

using nnlab::checker::of_this_thread;
using nnlab::checker::running;
namespace checker = nnlab::checker;

// -- for nnlab/backend/checked.py: before a launch of this host thread, and after it ------------------------------------

extern "C" {

// Whether there is room; receives the arrays' addresses.
NNLAB_API int nnlab_checker_reserve(uint32_t count, const uint64_t* sizes, const uint64_t* offsets,
                                    const uint8_t* granules, int counting, uint64_t* addresses) {
  of_this_thread().counting = counting != 0;
  return of_this_thread().reserve(count, sizes, offsets, granules, addresses);
}
NNLAB_API void nnlab_checker_writable(uint32_t array, uint64_t offset, uint64_t bytes) {
  of_this_thread().writable(array, offset, bytes);
}
NNLAB_API void nnlab_checker_poisoned(uint32_t array, uint64_t offset, uint32_t shift, const uint8_t* items, uint64_t count) {
  of_this_thread().poisoned(array, offset, shift, items, count);
}
NNLAB_API void nnlab_checker_release() { of_this_thread().release(); }
NNLAB_API const void* nnlab_checker_finding() { return &of_this_thread().finding; }
NNLAB_API const void* nnlab_checker_totals() { return &of_this_thread().totals; }

// -- what instrumented code calls: -fsanitize=thread --------------------------------------------------------------------

#define HERE __builtin_return_address(0)
#define READS(address, size) \
  if (running != nullptr) running->access<checker::read>(reinterpret_cast<uintptr_t>(address), size, HERE)
#define WRITES(address, size) \
  if (running != nullptr) running->access<checker::write>(reinterpret_cast<uintptr_t>(address), size, HERE)

NNLAB_API void __tsan_init() {}
NNLAB_API void __tsan_func_entry(void*) {}
NNLAB_API void __tsan_func_exit() {}

#define ACCESS(size)                                                             \
  NNLAB_API void __tsan_read##size(void* address) { READS(address, size); }        \
  NNLAB_API void __tsan_write##size(void* address) { WRITES(address, size); }      \
  NNLAB_API void __tsan_volatile_read##size(void* address) { READS(address, size); }   \
  NNLAB_API void __tsan_volatile_write##size(void* address) { WRITES(address, size); } \
  NNLAB_API void __tsan_unaligned_read##size(void* address) { READS(address, size); }  \
  NNLAB_API void __tsan_unaligned_write##size(void* address) { WRITES(address, size); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
NNLAB_API void __tsan_read_range(void* address, std::size_t size) { READS(address, size); }
NNLAB_API void __tsan_write_range(void* address, std::size_t size) { WRITES(address, size); }
NNLAB_API void __tsan_vptr_read(void** address) { READS(address, 8); }
NNLAB_API void __tsan_vptr_update(void** address, void*) { WRITES(address, 8); }

// Calls to these in kernel libraries come here: they are linked with --wrap.
NNLAB_API void* __wrap_memcpy(void* to, const void* from, std::size_t size) {
  READS(from, size);
  WRITES(to, size);
  return std::memcpy(to, from, size);
}
NNLAB_API void* __wrap_memmove(void* to, const void* from, std::size_t size) {
  READS(from, size);
  WRITES(to, size);
  return std::memmove(to, from, size);
}
NNLAB_API void* __wrap_memset(void* to, int value, std::size_t size) {
  WRITES(to, size);
  return std::memset(to, value, size);
}
NNLAB_API void* __tsan_memcpy(void* to, const void* from, std::size_t size) {
  READS(from, size);
  WRITES(to, size);
  return std::memcpy(to, from, size);
}
NNLAB_API void* __tsan_memmove(void* to, const void* from, std::size_t size) {
  READS(from, size);
  WRITES(to, size);
  return std::memmove(to, from, size);
}
NNLAB_API void* __tsan_memset(void* to, int value, std::size_t size) {
  WRITES(to, size);
  return std::memset(to, value, size);
}

// A loop around compare-and-exchange is one atomic operation: loads are not counted.
#define ATOMIC(address, counted)                                                                            \
  if (running != nullptr)                                                                                   \
  running->access<checker::atomic>(reinterpret_cast<uintptr_t>(address), sizeof *address, HERE, counted)
#define FETCH(bits, type, name)                                                                      \
  NNLAB_API type __tsan_atomic##bits##_fetch_##name(volatile type* address, type value, int) {       \
    ATOMIC(address, true);                                                                           \
    return __atomic_fetch_##name(address, value, __ATOMIC_SEQ_CST);                                  \
  }
#define ATOMICS(bits, type)                                                                          \
  FETCH(bits, type, add)                                                                             \
  FETCH(bits, type, sub)                                                                             \
  FETCH(bits, type, and)                                                                             \
  FETCH(bits, type, or)                                                                              \
  FETCH(bits, type, xor)                                                                             \
  FETCH(bits, type, nand)                                                                            \
  NNLAB_API type __tsan_atomic##bits##_load(const volatile type* address, int) {                     \
    ATOMIC(address, false);                                                                          \
    return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                               \
  }                                                                                                  \
  NNLAB_API void __tsan_atomic##bits##_store(volatile type* address, type value, int) {              \
    ATOMIC(address, true);                                                                           \
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                              \
  }                                                                                                  \
  NNLAB_API type __tsan_atomic##bits##_exchange(volatile type* address, type value, int) {           \
    ATOMIC(address, true);                                                                           \
    return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                                    \
  }                                                                                                  \
  NNLAB_API int __tsan_atomic##bits##_compare_exchange_strong(volatile type* address, type* expected, type value, int, \
                                                              int) {                                 \
    ATOMIC(address, true);                                                                           \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                  \
  NNLAB_API int __tsan_atomic##bits##_compare_exchange_weak(volatile type* address, type* expected, type value, int,   \
                                                            int) {                                   \
    ATOMIC(address, true);                                                                           \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                  \
  NNLAB_API type __tsan_atomic##bits##_compare_exchange_val(volatile type* address, type expected, type value, int,    \
                                                            int) {                                   \
    ATOMIC(address, true);                                                                           \
    __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return expected;                                                                                 \
  }
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
NNLAB_API void __tsan_atomic_thread_fence(int) {}
NNLAB_API void __tsan_atomic_signal_fence(int) {}

// -- -fsanitize=signed-integer-overflow, shift-exponent, integer-divide-by-zero, bounds, alignment ------------------------

struct Source {
  const char* file;
  uint32_t line, column;
};
struct Type {
  uint16_t kind;  // 0: integer
  uint16_t info;  // integer: is it signed, and from bit 1 on the logarithm of its bits
  char name[1];
};
struct Operation {
  Source source;
  const Type* type;
  const Type* second_type;  // shifts: of the count; arrays: of the index
};
struct Pointer {
  Source source;
  const Type* type;
  uint8_t log_alignment, kind;  // 0 load, 1 store, 2 reference, ...
};

// A value of at most 64 bits; a longer one is passed by its address and is not shown.
static const char* shown(const Type* type, uintptr_t value, char* text, std::size_t size) {
  const unsigned bits = 1u << (type->info >> 1), unused = bits < 64 ? 64 - bits : 0;
  if (type->kind != 0 || bits > 64)
    std::snprintf(text, size, "a value");
  else if (type->info & 1)
    std::snprintf(text, size, "%lld", static_cast<long long>(static_cast<uint64_t>(value) << unused) >> unused);
  else
    std::snprintf(text, size, "%llu", static_cast<unsigned long long>(static_cast<uint64_t>(value) << unused >> unused));
  return text;
}

#define TEXT(...) std::snprintf(running->finding.text, sizeof running->finding.text, __VA_ARGS__)
#define BINARY(operation, sign)                                                                                     \
  NNLAB_API void __ubsan_handle_##operation##_overflow(Operation* data, uintptr_t a, uintptr_t b) {                 \
    if (running == nullptr) return;                                                                            \
    char x[32], y[32];                                                                                         \
    TEXT("%s " sign " %s overflows %s", shown(data->type, a, x, sizeof x), shown(data->type, b, y, sizeof y),  \
         data->type->name);                                                                                    \
    running->no_result(HERE, data->source.file, data->source.line);                                            \
  }
BINARY(add, "+")
BINARY(sub, "-")
BINARY(mul, "*")
NNLAB_API void __ubsan_handle_negate_overflow(Operation* data, uintptr_t a) {
  if (running == nullptr) return;
  char x[32];
  TEXT("-(%s) overflows %s", shown(data->type, a, x, sizeof x), data->type->name);
  running->no_result(HERE, data->source.file, data->source.line);
}
NNLAB_API void __ubsan_handle_divrem_overflow(Operation* data, uintptr_t a, uintptr_t b) {
  if (running == nullptr) return;
  char x[32], y[32];
  TEXT("%s / %s has no result in %s", shown(data->type, a, x, sizeof x), shown(data->type, b, y, sizeof y), data->type->name);
  running->no_result(HERE, data->source.file, data->source.line);
}
NNLAB_API void __ubsan_handle_shift_out_of_bounds(Operation* data, uintptr_t a, uintptr_t b) {
  if (running == nullptr) return;
  char x[32], y[32];
  TEXT("shift of %s by %s bits, of type %s", shown(data->type, a, x, sizeof x), shown(data->second_type, b, y, sizeof y),
       data->type->name);
  running->no_result(HERE, data->source.file, data->source.line);
}
NNLAB_API void __ubsan_handle_out_of_bounds(Operation* data, uintptr_t index) {
  if (running == nullptr) return;
  char x[32];
  TEXT("index %s is outside of %s", shown(data->second_type, index, x, sizeof x), data->type->name);
  running->no_result(HERE, data->source.file, data->source.line);
}
NNLAB_API void __ubsan_handle_type_mismatch_v1(Pointer* data, uintptr_t address) {
  if (running == nullptr) return;
  running->misaligned_access(address, uint64_t{1} << data->log_alignment,
                             data->kind == 1 ? checker::write : checker::read, HERE);
}

}  // extern "C"
