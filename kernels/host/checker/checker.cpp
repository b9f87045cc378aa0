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
#include "../checker.h"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "counts.h"
#include "regions.h"

namespace nnlab {
namespace checker {
namespace {

// What nnlab/backend/checked.py reads; it has the same fields.
enum What : uint32_t { nothing, outside, nowhere, constant, misaligned, unwritten, race, arithmetic, under_way };

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
constexpr uint32_t kPlace = 1u << 31;

class Checker;
__thread Checker* mine;     // of this host thread
__thread Checker* running;  // the same while a launch runs

class Checker {
 public:
  Finding finding{};
  Counts counts;
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
    threads_ = launch.block[0] * launch.block[1] * launch.block[2];
    fixed_->number = kFixed;
    dynamic_->number = kDynamic;
    if (fixed_size == 1) fixed_size = 0;  // no array, only the byte by which the runtime finds them
    fixed_->start_launch(reinterpret_cast<uintptr_t>(fixed), fixed_size, 2);
    dynamic_->start_launch(reinterpret_cast<uintptr_t>(dynamic), launch.shared, 2);
    if (interval_ > 0xF0000000u) {  // cells of older launches must stay older
      interval_ = 0;
      for (auto& region : arrays_) region->memory.drop();
      fixed_->memory.drop();
      dynamic_->memory.drop();
    }
    launch_start_ = block_start_ = ++interval_;
    blocks_.clear();
    aside_.clear();
    places_.clear();
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
    counts.start(counting ? threads_ : 0);
  }

  void block(uint64_t number) {
    start_block(number);
    shared_start_ = interval_;
    fixed_->copies.clear();
    dynamic_->copies.clear();
  }

  // Cooperative launches. What the blocks did before they all met is over; each has shared memory of its own.
  void grid() {
    new_interval();
    launch_start_ = interval_;
  }

  void block_leaves() {
    Aside& mine = aside_[block_];
    std::unique_ptr<Region> fixed(new Region), dynamic(new Region);
    fixed->number = kFixed;
    dynamic->number = kDynamic;
    fixed->start_launch(fixed_->start, fixed_->bytes, 2);
    dynamic->start_launch(dynamic_->start, dynamic_->bytes, 2);
    mine = {std::move(fixed_), std::move(dynamic_), shared_start_};
    fixed_ = std::move(fixed);
    dynamic_ = std::move(dynamic);
  }

  void block_returns(uint64_t number) {
    Aside& mine = aside_[number];
    fixed_ = std::move(mine.fixed);
    dynamic_ = std::move(mine.dynamic);
    start_block(number);
    shared_start_ = mine.start;
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
    if (counting) counts.flush();
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
    access_at<kind>(address, size, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(caller) - library_), counted);
  }

  // An asynchronous copy writes when it is started, when it has been waited for, and nobody may touch it in between.
  void copy_starts(const Copy& copy) {
    const uint32_t pc = place(copy.file, copy.line);
    const auto to = reinterpret_cast<uintptr_t>(copy.to);
    if (copy.inside > 0) access_at<read>(reinterpret_cast<uintptr_t>(copy.from), copy.inside, pc, true);
    access_at<write>(to, copy.bytes, pc, true);
    Region& region = shared_at(to);
    const uint64_t first = (to - region.start) >> region.shift, last = (to - region.start + copy.bytes - 1) >> region.shift;
    for (uint64_t granule = first; granule <= last; ++granule)
      region.copies[granule] = {interval_, pc, 0, static_cast<uint16_t>(thread_)};
  }

  void copy_lands(const Copy& copy) {
    const auto to = reinterpret_cast<uintptr_t>(copy.to);
    Region& region = shared_at(to);
    const uint64_t first = (to - region.start) >> region.shift, last = (to - region.start + copy.bytes - 1) >> region.shift;
    for (uint64_t granule = first; granule <= last; ++granule) region.copies.erase(granule);
    access_at<write>(to, copy.bytes, place(copy.file, copy.line), false);
  }

  const std::vector<std::pair<const char*, int>>& places() const { return places_; }

  template <Kind kind>
  void access_at(uintptr_t address, uint64_t size, uint32_t pc, bool counted) {
    Region* region;
    const uint64_t slot = (address - arena_) >> slot_;
    if (slot < used_) {
      region = arrays_[slot].get();
    } else if (address - fixed_->start < fixed_->bytes) {
      region = fixed_.get();
    } else if (address - dynamic_->start < dynamic_->bytes) {
      region = dynamic_.get();
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
        const bool missing = shared ? cell.written.interval < shared_start_ && !atomic_before(*region, granule)
                                    : !region->poison.empty() && region->poison[granule];
        if (missing) found(unwritten, *region, region->start + (granule << region->shift), kind, pc, 1u << region->shift);
      } else if (!shared && !region->poison.empty()) {
        region->poison[granule] = 0;
      }
      Access before;
      if (!region->copies.empty()) {
        const auto copy = region->copies.find(granule);
        if (copy != region->copies.end()) {
          finding.before = there(copy->second.interval, copy->second.thread, write, copy->second.pc);
          found(under_way, *region, region->start + (granule << region->shift), kind, pc, 1u << region->shift);
        }
      }
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
    ++(shared ? counts.totals.shared : counts.totals.global);
    if (counting) counts.add(thread_, shared, shared ? offset : address, size, pc);
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

  // A place in the code that is known by its line, as a number beside those of return addresses.
  uint32_t place(const char* file, int line) {
    for (std::size_t i = 0; i < places_.size(); ++i)
      if (places_[i].first == file && places_[i].second == line) return kPlace | static_cast<uint32_t>(i);
    places_.emplace_back(file, line);
    return kPlace | static_cast<uint32_t>(places_.size() - 1);
  }

  struct Aside {  // shared memory of a block while another one runs
    std::unique_ptr<Region> fixed, dynamic;
    uint32_t start;
  };

  void start_block(uint64_t number) {
    block_ = number;
    new_interval();
    block_start_ = interval_;
    blocks_.push_back({interval_, number});
  }

  Region& shared_at(uintptr_t address) { return address - fixed_->start < fixed_->bytes ? *fixed_ : *dynamic_; }

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
    for (Region* region : {fixed_.get(), dynamic_.get()}) {
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
    return found_atomic != region.atomics.end() && found_atomic->second.interval >= shared_start_;
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


  uintptr_t arena_ = 0;
  unsigned slot_ = kLeastSlot;
  uint32_t reserved_ = 0, used_ = 0;
  std::vector<uint64_t> committed_;
  std::vector<std::unique_ptr<Region>> arrays_;
  std::unique_ptr<Region> fixed_{new Region}, dynamic_{new Region};  // shared memory of the block that runs
  std::unordered_map<uint64_t, Aside> aside_;                        // by block
  uintptr_t library_ = 0, library_end_ = 0, indices_ = 0, indices_end_ = 0, stack_end_ = 0;
  unsigned threads_ = 0, thread_ = 0, warp_ = 0, lane_ = 0;
  uint64_t block_ = 0;
  uint32_t interval_ = 0, launch_start_ = 0, block_start_ = 0, shared_start_ = 0;
  std::vector<BlockStart> blocks_;
  std::vector<std::pair<const char*, int>> places_;
  std::vector<uint32_t> warps_;  // meetings of each warp in this interval
  std::vector<Known> known_;
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
  if (running->counting) running->counts.flush();
  running = nullptr;
}

void block(uint64_t number) { running->block(number); }
void thread(unsigned number, const void* stack_end) { running->thread(number, stack_end); }
void barrier() { running->new_interval(); }
void warp(unsigned first, uint32_t lanes) { running->warp(first, lanes); }

void copy_starts(const Copy& copy) { running->copy_starts(copy); }
void copy_lands(const Copy& copy) { running->copy_lands(copy); }
void grid() { running->grid(); }
void block_leaves() { running->block_leaves(); }
void block_returns(uint64_t number) { running->block_returns(number); }

Pause::Pause() { running = nullptr; }
Pause::~Pause() { running = mine; }

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
NNLAB_API const char* nnlab_checker_place(uint32_t number, int* line) {
  *line = of_this_thread().places()[number].second;
  return of_this_thread().places()[number].first;
}
NNLAB_API const void* nnlab_checker_place_totals(uint32_t number) { return of_this_thread().counts.place(number); }
NNLAB_API const void* nnlab_checker_totals() { return &of_this_thread().counts.totals; }

}  // extern "C"

#include "callbacks.h"
