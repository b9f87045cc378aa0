// Counts what a launch asks of memory: sectors of global memory, wavefronts of shared memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "../runtime.h"

namespace nnlab {
namespace checker {

// nnlab/backend/checked.py has the same fields.
struct Totals {
  uint64_t global, global_ops, sectors, ideal_sectors;  // accesses of threads; of warps; 32-byte sectors
  uint64_t shared, shared_ops, wavefronts, ideal_wavefronts;
};

// The same for one place in the code: sectors, or wavefronts.
struct PlaceTotals {
  uint32_t pc, shared;
  uint64_t ops, actual, ideal;
};

// The n-th accesses of a warp's lanes from one place in the code within an interval are taken as one instruction.
class Counts {
 public:
  Totals totals{};

  void start(unsigned threads) {
    totals = {};
    warps_ = (threads + kWarp - 1) / kWarp;
    places_.clear();
    numbers_.clear();
    occurrences_.assign(threads, {});
  }

  // An access of any size, taken as accesses of 1, 2, 4, 8 or 16 bytes at multiples of that.
  void add(unsigned thread, bool shared, uint64_t address, uint64_t size, uint32_t pc) {
    while (size > 0) {
      const uint64_t natural = (address | 16) & (~(address | 16) + 1);
      uint64_t part = std::min<uint64_t>(natural, 16);
      while (part > size) part /= 2;
      add_part(thread, shared, address, static_cast<uint32_t>(part), pc);
      address += part;
      size -= part;
    }
  }

  // Totals of a place; null after the last one.
  const PlaceTotals* place(uint32_t number) const {
    return number < places_.size() ? &places_[number].totals : nullptr;
  }

  // The end of an interval.
  void flush() {
    for (Place& place : places_) {
      for (auto& groups : place.warps) {
        for (const Together& group : groups) place.totals.shared ? banks(group, place) : sectors(group, place);
        groups.clear();
      }
    }
    for (auto& seen : occurrences_) std::fill(seen.begin(), seen.end(), 0u);
  }

 private:
  struct Together {  // what the lanes of a warp access at once
    uint32_t lanes = 0;
    uint64_t at[kWarp];
  };

  struct Place {
    PlaceTotals totals;
    uint32_t size;
    std::vector<std::vector<Together>> warps;  // by warp and occurrence
  };

  void add_part(unsigned thread, bool shared, uint64_t address, uint32_t size, uint32_t pc) {
    const uint64_t key = uint64_t{pc} << 8 | uint64_t{size} << 1 | shared;
    const auto number = numbers_.emplace(key, static_cast<uint32_t>(places_.size()));
    if (number.second) places_.push_back({{pc, shared, 0, 0, 0}, size, std::vector<std::vector<Together>>(warps_)});
    const uint32_t place = number.first->second;
    std::vector<uint32_t>& seen = occurrences_[thread];
    if (seen.size() <= place) seen.resize(place + 1);
    const uint32_t occurrence = seen[place]++;
    std::vector<Together>& groups = places_[place].warps[thread / kWarp];
    if (groups.size() <= occurrence) groups.resize(occurrence + 1);
    groups[occurrence].lanes |= 1u << thread % kWarp;
    groups[occurrence].at[thread % kWarp] = address;
  }

  void sectors(const Together& group, Place& place) {
    const uint32_t size = place.size;
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
    ++place.totals.ops;
    place.totals.actual += touched;
    place.totals.ideal += (bytes + 31) / 32;
  }

  void banks(const Together& group, Place& place) {
    const uint32_t size = place.size;
    const unsigned lanes_at_once = size <= 4 ? kWarp : kWarp * 4 / size;
    ++totals.shared_ops;
    ++place.totals.ops;
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
      place.totals.actual += most;
      ++place.totals.ideal;
    }
  }

  unsigned warps_ = 0;
  std::vector<Place> places_;
  std::unordered_map<uint64_t, uint32_t> numbers_;  // of places
  std::vector<std::vector<uint32_t>> occurrences_;  // by thread and place
};

}  // namespace checker
}  // namespace nnlab
