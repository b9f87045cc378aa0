// Runs a launch: the threads of a block as fibers of one host thread; blocks one after another on the calling thread and,
// once the launch has taken a while, on helping threads too. Blocks are taken in order, and of several that fail the
// first one is reported: the number of host threads shows only where blocks race with one another.
//
// A fiber runs CUDA threads one after another; only a thread that has to wait for others keeps its fiber, and a fresh
// fiber goes on with the next thread. So a kernel without barriers runs on one stack with one switch a block. When no
// thread can run, those that wait are looked at: whoever has met everybody goes on; if nobody has, the launch ends with
// an error that names a thread and what it waits for.
//
// A kernel's `__shared__` arrays are thread_local variables, hence the TLS block of its library, in which there is nothing
// else but a byte by which it is found. It is filled with 0xFF (NaN in every floating type) before each block, dynamic
// shared memory too; TLS blocks can be found on Linux only. The blocks of a cooperative launch take turns: what a block
// has in shared memory is put away while it waits for the others.
#include "runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "checker.h"

#if defined(__linux__)
#include <link.h>
#endif

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

// -- switching stacks ---------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && !defined(NNLAB_UCONTEXT)
#define NNLAB_SWITCH

// Saves what a callee must preserve and the stack pointer; where it goes on, the call that was left returns `result`.
// Floating-point control words are the same for all fibers.
extern "C" void nnlab_switch(void** from, void* to, uint64_t result) __attribute__((visibility("hidden")));
asm(R"(
.text
.p2align 4
.globl nnlab_switch
.hidden nnlab_switch
nnlab_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  movq %rdx, %rax
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

// nnlab::meet: saves the same on the stack, asks nnlab_wait (below) where to go on, and restores from there. The last
// jump is no `ret`: the processor would expect it to lead where this thread came from, but another one waits elsewhere.
struct Resume {
  void* stack;
  uint64_t result;
};
extern "C" Resume nnlab_wait(const nnlab::Call* call, void* stack) __attribute__((visibility("hidden")));
asm(R"(
.text
.p2align 4
.globl nnlab_meet
.type nnlab_meet, @function
nnlab_meet:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, %rsi
  subq $8, %rsp
  call nnlab_wait
  movq %rax, %rsp
  movq %rdx, %rax
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
)");

struct Context {
  void* pointer;
  void start(char* stack, std::size_t size, void (*entry)()) {
    void** top = reinterpret_cast<void**>(stack + size);
    *--top = nullptr;  // where entry would return to; keeps the alignment that a call leaves
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    pointer = top;
  }
  void go_to(const Context& other, uint64_t result = 0) { nnlab_switch(&pointer, other.pointer, result); }
  void expect() const {  // it will run soon: its registers, and what the kernel keeps on the stack
    for (int line = 0; line < 4; ++line) __builtin_prefetch(static_cast<char*>(pointer) + 64 * line);
  }
};

#else
#include <ucontext.h>

struct Context {
  ucontext_t saved;
  void start(char* stack, std::size_t size, void (*entry)()) {
    getcontext(&saved);
    saved.uc_stack.ss_sp = stack;
    saved.uc_stack.ss_size = size;
    saved.uc_link = nullptr;
    makecontext(&saved, entry, 0);
  }
  void go_to(const Context& other, uint64_t = 0) { swapcontext(&saved, &other.saved); }
  void expect() const {}
};

#endif

namespace nnlab {
namespace {

struct Fiber {
  char* stack;
  Context context;
  std::size_t unused;  // at the top of the stack, different for each fiber: else all compete for one place in the cache
};

// A host thread's fibers, kept for later launches. The lowest page of each stack is not accessible: an overflow stops the
// process.
constexpr std::size_t kStack = 128 << 10;

struct Fibers {
  std::vector<Fiber*> idle;
  std::size_t made = 0;

  Fiber* take() {
    if (!idle.empty()) {
      Fiber* fiber = idle.back();
      idle.pop_back();
      return fiber;
    }
    void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    mprotect(memory, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
    return new Fiber{static_cast<char*>(memory), {}, made++ % 61 * 320};
  }

  ~Fibers() {
    for (Fiber* fiber : idle) {
      munmap(fiber->stack, kStack);
      delete fiber;
    }
  }
};
thread_local Fibers spare;

struct Thread {
  uint3 index;
  enum State : uint8_t { ready, waiting, finished } state;
  Fiber* fiber;
  const Call* call;  // on the fiber's stack, while the thread waits
  uint64_t result;
};

struct Range {
  char* start = nullptr;
  std::size_t size = 0;
};

#if defined(__linux__)
struct Search {
  ElfW(Addr) here;
  Range found;
};

// The calling thread's TLS block of the library that holds an address.
int find_tls(dl_phdr_info* info, std::size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  bool ours = false;
  std::size_t size = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    const auto start = info->dlpi_addr + part.p_vaddr;
    ours |= part.p_type == PT_LOAD && start <= search.here && search.here < start + part.p_memsz;
    if (part.p_type == PT_TLS) size = part.p_memsz;
  }
  if (ours) search.found = {static_cast<char*>(info->dlpi_tls_data), size};
  return ours;
}
#endif

// The calling thread's static shared memory of the library that a launch comes from; libraries are never unloaded.
Range static_shared(const Launch& launch) {
  Range found;
#if defined(__linux__)
  thread_local std::vector<std::pair<char*, Range>> known;
  char* mark = launch.mark();  // the block of a library comes into being when it is first used
  for (const auto& entry : known)
    if (entry.first == mark) return entry.second;
  Search search{reinterpret_cast<ElfW(Addr)>(launch.body), {}};
  dl_iterate_phdr(find_tls, &search);
  found = search.found;
  known.emplace_back(mark, found);
#endif
  return found;
}

uint64_t next_random(uint64_t& state) {  // splitmix64
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

template <class Numbers>
void arrange(Numbers& order, Order how, uint64_t& random) {
  const std::size_t n = order.size();
  for (std::size_t i = 0; i < n; ++i)
    order[i] = static_cast<typename Numbers::value_type>(how == Order::descending ? n - 1 - i : i);
  if (how != Order::shuffled) return;
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[next_random(random) % i]);
}

// What the host threads that run a launch share.
struct Job {
  explicit Job(const Launch& what)
      : launch(what),
        blocks(static_cast<uint64_t>(what.grid[0]) * what.grid[1] * what.grid[2]),
        random(what.seed) {}

  const Launch& launch;
  const uint64_t blocks;
  std::vector<uint64_t> order;  // of the blocks, where it is shuffled
  uint64_t random;
  std::atomic<uint64_t> next{0}, failed{UINT64_MAX};  // positions in the order; the first that failed
  std::mutex lock;                                    // of the message
  unsigned helping = 0;                               // threads besides the first; under the helpers' lock
};

void run_blocks(Job& job);

// Host threads that help the threads which launch. They are never joined: the process ends with them asleep.
class Helpers {
 public:
  static Helpers& get() {  // after a fork the child has none of its parent's threads
    static std::atomic<Helpers*> one{nullptr};
    Helpers* now = one.load();
    while (now == nullptr || now->process_ != getpid()) {
      Helpers* made = new Helpers;
      if (one.compare_exchange_strong(now, made)) return *made;
      delete made;
    }
    return *now;
  }

  void ask(Job& job, unsigned count) {
    const std::lock_guard<std::mutex> hold(lock_);
    for (unsigned i = 0; i < count; ++i) asked_.push_back(&job);
    try {
      for (; threads_ < count; ++threads_) std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {  // the system gives no more threads: those that are there do it
    }
    wake_.notify_all();
  }

  void finish(Job& job) {
    std::unique_lock<std::mutex> hold(lock_);
    asked_.erase(std::remove(asked_.begin(), asked_.end(), &job), asked_.end());
    left_.wait(hold, [&] { return job.helping == 0; });
  }

 private:
  void work() {
    std::unique_lock<std::mutex> hold(lock_);
    for (;;) {
      wake_.wait(hold, [this] { return !asked_.empty(); });
      Job& job = *asked_.front();
      asked_.pop_front();
      ++job.helping;
      hold.unlock();
      run_blocks(job);
      hold.lock();
      if (--job.helping == 0) left_.notify_all();
    }
  }

  const pid_t process_ = getpid();
  std::mutex lock_;
  std::condition_variable wake_, left_;
  std::deque<Job*> asked_;
  unsigned threads_ = 0;
};

class Machine;
__thread Machine* machine;

// Runs blocks on one host thread.
class Machine {
 public:
  explicit Machine(Job& job)
      : job_(job),
        launch_(job.launch),
        count_(launch_.block[0] * launch_.block[1] * launch_.block[2]),
        random_(job.random),
        tls_(static_shared(launch_)) {
    threads_.resize(count_);
    order_.resize(count_);
    dynamic_.resize(launch_.shared / sizeof(Wide) + 1);
    const unsigned x = launch_.block[0], y = launch_.block[1];
    for (unsigned t = 0; t < count_; ++t) threads_[t] = {{t % x, t / x % y, t / x / y}, Thread::finished, {}, {}, 0};
    arrange(order_, launch_.order, random_);
  }

  ~Machine() { spare.idle.insert(spare.idle.end(), fibers_.begin(), fibers_.end()); }

  // Takes blocks until there are none; after_each(blocks left) is called between blocks.
  template <class F>
  void run(F after_each) {
    machine = this;
    gridDim = {launch_.grid[0], launch_.grid[1], launch_.grid[2]};
    blockDim = {launch_.block[0], launch_.block[1], launch_.block[2]};
    checker::begin(launch_, tls_.start, tls_.size, dynamic_.data());
    for (;;) {
      const uint64_t i = job_.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= job_.blocks || i > job_.failed.load(std::memory_order_relaxed)) break;
      blockIdx = block_at(i);
      checker::block(block_number());
      run_block();
      if (failed_) {
        const std::lock_guard<std::mutex> hold(job_.lock);
        if (i < job_.failed.load()) {
          job_.failed.store(i);
          std::snprintf(launch_.message, launch_.message_size, "%s", message_);
        }
        break;
      }
      after_each(job_.blocks - 1 - i);
    }
    checker::end();
    machine = nullptr;
  }

  // A cooperative launch: each block runs until it ends or all its threads wait for the grid, then the next one does.
  void run_together() {
    machine = this;
    gridDim = {launch_.grid[0], launch_.grid[1], launch_.grid[2]};
    blockDim = {launch_.block[0], launch_.block[1], launch_.block[2]};
    checker::begin(launch_, tls_.start, tls_.size, dynamic_.data());
    std::vector<Resident> blocks(job_.blocks);
    for (uint64_t i = 0; i < job_.blocks && !failed_; ++i) {
      Resident& mine = blocks[i];
      mine.threads = threads_;
      mine.order = order_;
      mine.statics.resize(tls_.size);
      mine.dynamic.resize(dynamic_.size());
      blockIdx = block_at(i);
      checker::block(block_number());
      run_block();
      if (failed_) break;
      checker::block_leaves();
      exchange(mine);
    }
    while (!failed_) {
      const auto waits = [](const Resident& block) { return block.parked; };
      const auto first = std::find_if(blocks.begin(), blocks.end(), waits);
      if (first == blocks.end()) break;
      for (Resident& block : blocks) {
        const Call& call = *first->threads[0].call;
        if (block.parked && same_place(*block.threads[0].call, call)) continue;
        const uint3 who = block.index;
        const Call* other = block.parked ? block.threads[0].call : nullptr;
        exchange(*first);
        if (other == nullptr)
          report(0, "waits at %s (%s:%d), but block (%u, %u, %u) has ended", call.name, call.file, call.line, who.x,
                 who.y, who.z);
        else
          report(0, "waits at %s (%s:%d), but block (%u, %u, %u) waits at %s (%s:%d)", call.name, call.file, call.line,
                 who.x, who.y, who.z, other->name, other->file, other->line);
        break;
      }
      checker::grid();
      for (uint64_t i = 0; i < job_.blocks && !failed_; ++i) {
        exchange(blocks[i]);
        checker::block_returns(block_number());
        go_on();
        if (failed_) break;
        checker::block_leaves();
        exchange(blocks[i]);
      }
    }
    if (failed_) {
      job_.failed.store(0);
      std::snprintf(launch_.message, launch_.message_size, "%s", message_);
    }
    checker::end();
    machine = nullptr;
  }

  // The current thread has come to a meeting: the fiber to go on with, null at the block's end.
  Fiber* wait(const Call& call) {
    Thread& me = threads_[current_];
    me.call = &call;
    me.state = Thread::waiting;
    if (call.meeting == Meeting::barrier) {
      if (arrived_ == 0) first_ = &call;
      arrived_ += &call == first_;
    }
    return all_ready_ && position_ < count_ ? following() : next();
  }

#if defined(NNLAB_SWITCH)
  Resume wait(const Call& call, void* stack) {
    threads_[current_].fiber->context.pointer = stack;
    const Fiber* other = wait(call);
    if (other == nullptr) return {scheduler_.pointer, 0};
    return {other->context.pointer, threads_[current_].result};
  }
#else
  uint64_t meet(const Call& call) {
    Thread& me = threads_[current_];
    Fiber* other = wait(call);
    if (other != me.fiber) me.fiber->context.go_to(other == nullptr ? scheduler_ : other->context);
    return me.result;
  }
#endif

  [[noreturn]] void fail(const char* format, va_list values) {
    complain(current_, format, values);
    Context lost = threads_[current_].fiber->context;
    lost.go_to(scheduler_);
    __builtin_unreachable();
  }

  void copy_async(Copy copy, const char* file, int line) {
    const auto to = reinterpret_cast<std::uintptr_t>(copy.to), from = reinterpret_cast<std::uintptr_t>(copy.from);
    if (to % copy.bytes != 0 || (from % copy.bytes != 0 && copy.inside != 0))
      nnlab::fail("copy_async (%s:%d) of %u bytes from or to an address that is no multiple of that", file, line,
                  copy.bytes);
    if (copy.inside > copy.bytes)
      nnlab::fail("copy_async (%s:%d) of %u bytes reads %u", file, line, copy.bytes, copy.inside);
    if (!is_shared(copy.to, copy.bytes))
      nnlab::fail("copy_async (%s:%d) to an address that is not in shared memory", file, line);
    if (copies_.empty()) copies_.resize(count_);
    Copies& mine = copies_[current_];
    copy.group = mine.groups;
    copy.file = file;
    copy.line = line;
    checker::copy_starts(copy);
    // Late copies show a missing wait, early ones a buffer that is still in use; the checker sees both.
    const bool shuffled = launch_.order == Order::shuffled;
    const bool early = shuffled ? next_random(random_) & 1 : launch_.order == Order::descending;
    if (early && !checker::kOn)
      land(copy);
    else
      mine.waiting.push_back(copy);
  }

  void commit_copies() {
    if (!copies_.empty()) ++copies_[current_].groups;
  }

  void wait_copies(unsigned groups) {
    if (copies_.empty()) return;
    auto& waiting = copies_[current_].waiting;
    const uint64_t done = copies_[current_].groups;
    std::size_t i = 0;
    while (i < waiting.size() && waiting[i].group + groups < done) land(waiting[i++]);
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(i));
  }

  unsigned lane() const { return current_ % kWarp; }
  void* dynamic_shared() { return dynamic_.data(); }

 private:
  struct alignas(16) Wide {
    char bytes[16];
  };

  struct Copies {
    std::vector<Copy> waiting;
    uint64_t groups = 0;
  };

  // A block of a cooperative launch while another one runs.
  struct Resident {
    std::vector<Thread> threads;
    std::vector<unsigned> order;
    std::vector<Copies> copies;
    std::vector<char> statics;  // its shared memory
    std::vector<Wide> dynamic;
    uint3 index{};
    bool parked = false;
  };

  // The block that runs becomes the one that does not, and the other way round. Shared memory keeps its address.
  void exchange(Resident& block) {
    threads_.swap(block.threads);
    order_.swap(block.order);
    copies_.swap(block.copies);
    std::swap_ranges(block.statics.begin(), block.statics.end(), tls_.start);
    std::swap_ranges(block.dynamic.begin(), block.dynamic.end(), dynamic_.begin());
    std::swap(blockIdx, block.index);
    std::swap(parked_, block.parked);
  }

  // Runs a parked block on.
  void go_on() {
    if (!parked_) return;
    parked_ = false;
    block_met();
    all_ready_ = true;
    unfinished_ = count_;
    next_ = count_;
    position_ = 0;
    if (launch_.order == Order::shuffled) arrange(order_, launch_.order, random_);
    Fiber* first = next();
    scheduler_.go_to(first->context);
  }

  uint64_t block_number() const {
    return (static_cast<uint64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  }

  uint3 block_at(uint64_t i) const {
    uint64_t block = launch_.order == Order::descending ? job_.blocks - 1 - i : i;
    if (launch_.order == Order::shuffled) block = job_.order[i];
    return {static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
            static_cast<unsigned>(block / gridDim.x / gridDim.y)};
  }

  static void land(const Copy& copy) {
    checker::copy_lands(copy);
    std::memcpy(copy.to, copy.from, copy.inside);
    std::memset(static_cast<char*>(copy.to) + copy.inside, 0, copy.bytes - copy.inside);
  }

  bool is_shared(const void* place, std::size_t size) const {
    const auto at = reinterpret_cast<std::uintptr_t>(place);
    const auto within = [&](const void* start, std::size_t length) {
      const auto from = reinterpret_cast<std::uintptr_t>(start);
      return from <= at && at + size <= from + length;
    };
    return tls_.start == nullptr || within(tls_.start, tls_.size) || within(dynamic_.data(), launch_.shared);
  }

  void poison() {
    std::memset(static_cast<void*>(dynamic_.data()), 0xFF, dynamic_.size() * sizeof(Wide));
    if (tls_.start != nullptr) std::memset(tls_.start, 0xFF, tls_.size);
  }

  void run_block() {
    poison();
    for (Copies& of_thread : copies_) of_thread = {};
    if (launch_.order == Order::shuffled) arrange(order_, launch_.order, random_);
    unfinished_ = count_;
    next_ = 0;
    position_ = count_;
    arrived_ = 0;
    all_ready_ = false;
    parked_ = false;
    if (Fiber* first = next()) scheduler_.go_to(first->context);
  }

  // The fiber of the next thread in the order.
  Fiber* following() {
    const unsigned thread = order_[position_++];
    if (position_ < count_) threads_[order_[position_]].fiber->context.expect();
    select(thread, threads_[thread].fiber);
    return threads_[thread].fiber;
  }

  // The fiber to go on with: threads that have not run yet first, then those that have met; null at the block's end.
  __attribute__((noinline)) Fiber* next() {
    if (next_ < count_) return idle_fiber();
    while (unfinished_ > 0) {
      while (position_ < count_) {
        if (all_ready_ || threads_[order_[position_]].state == Thread::ready) return following();
        ++position_;
      }
      all_ready_ = arrived_ == count_;  // the common case: all have come to one barrier, and nobody's state is looked at
      if (all_ready_)
        block_met();
      else
        release();
      if (failed_ || parked_) return nullptr;
      if (launch_.order == Order::shuffled) arrange(order_, launch_.order, random_);
      position_ = 0;
    }
    return nullptr;
  }

  void select(unsigned thread, Fiber* fiber) {
    checker::thread(thread, fiber->stack + kStack);
    current_ = thread;
    threads_[thread].fiber = fiber;
    threadIdx = threads_[thread].index;
  }

  Fiber* idle_fiber() {
    if (idle_.empty()) {
      Fiber* fiber = spare.take();
      if (fiber == nullptr) {
        report(order_[next_], "no memory for a thread's stack");
        return nullptr;
      }
      fibers_.push_back(fiber);
      idle_.push_back(fiber);
    }
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    fiber->context.start(fiber->stack, kStack - fiber->unused, [] { machine->work(); });
    fresh_ = fiber;
    return fiber;
  }

  // What a fiber does: threads that have not run yet, until one of them has to wait and none is left when it is done.
  void work() {
    Fiber* me = fresh_;
    while (next_ < count_) {
      select(order_[next_++], me);
      const unsigned thread = current_;
      launch_.body(launch_.arguments);
      threads_[thread].state = Thread::finished;
      --unfinished_;
    }
    idle_.push_back(me);
    Fiber* other = next();
    me->context.go_to(other == nullptr ? scheduler_ : other->context, threads_[current_].result);
  }

  // -- meetings ---------------------------------------------------------------------------------------------------------

  static bool of_block(const Call& call) { return call.meeting <= Meeting::grid; }

  void release() {
    if (release_block()) return;
    std::size_t released = 0;
    for (unsigned warp = 0; warp * kWarp < count_ && !failed_; ++warp) released += release_warp(warp * kWarp);
    all_ready_ = released == count_;
    if (released == 0 && !failed_) report_stuck();
  }

  // All threads of the block have met.
  void block_met() {
    arrived_ = 0;
    checker::barrier();
  }

  bool release_block() {
    uint64_t holds = 0;
    for (const Thread& thread : threads_) {
      if (thread.state != Thread::waiting || !of_block(*thread.call)) return false;
      if (!same_place(*thread.call, *threads_[0].call)) return false;
      holds += thread.call->value != 0;
    }
    const Call& first = *threads_[0].call;
    if (first.meeting == Meeting::grid) {
      if (!launch_.cooperative) {
        report(0, "waits at %s (%s:%d), but the launch is not cooperative", first.name, first.file, first.line);
        return true;
      }
      parked_ = true;
      return true;
    }
    if (first.meeting == Meeting::barrier_and) holds = holds == count_;
    if (first.meeting == Meeting::barrier_or) holds = holds != 0;
    block_met();
    for (Thread& thread : threads_) {
      thread.result = holds;
      thread.state = Thread::ready;
    }
    return true;
  }

  static bool same_place(const Call& a, const Call& b) {
    return a.meeting == b.meeting && a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
  }

  unsigned release_warp(unsigned base) {
    unsigned released = 0;
    const unsigned lanes = count_ - base < kWarp ? static_cast<unsigned>(count_ - base) : kWarp;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      const Thread& thread = threads_[base + lane];
      if (thread.state != Thread::waiting || of_block(*thread.call)) continue;
      uint32_t here = 0, holds = 0;  // lanes of the mask, as far as there are such threads; those whose predicate holds
      bool complete = true;
      for (unsigned other = 0; other < lanes; ++other) {
        const Thread& partner = threads_[base + other];
        if (!(thread.call->mask >> other & 1)) continue;
        complete = partner.state == Thread::waiting && partner.call->meeting == thread.call->meeting &&
                   partner.call->mask == thread.call->mask && partner.call->act == thread.call->act;
        if (!complete) break;
        here |= 1u << other;
        holds |= static_cast<uint32_t>(partner.call->value != 0) << other;
      }
      if (!complete) continue;
      if (thread.call->meeting == Meeting::warp) checker::warp(base, here);
      if (thread.call->meeting == Meeting::act) {
        if (lanes < kWarp) {
          report(base + lane, "%s (%s:%d) in a warp of %u threads", thread.call->name, thread.call->file,
                 thread.call->line, lanes);
          return 0;
        }
        uint64_t values[kWarp];
        for (unsigned other = 0; other < kWarp; ++other) values[other] = threads_[base + other].call->value;
        const checker::Pause pause;
        thread.call->act(values);
      }
      finish_warp(base, here, holds);
      released += static_cast<unsigned>(__builtin_popcount(here));
    }
    return released;
  }

  void finish_warp(unsigned base, uint32_t here, uint32_t holds) {
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (!(here >> lane & 1)) continue;
      Thread& thread = threads_[base + lane];
      const Call& call = *thread.call;
      if (call.meeting == Meeting::shuffle) {
        if (!(here >> call.source & 1)) {
          report(base + lane, "%s (%s:%d) reads lane %u, which does not take part (mask 0x%08x)", call.name, call.file,
                 call.line, call.source, call.mask);
          return;
        }
        thread.result = threads_[base + call.source].call->value;
      } else if (call.meeting == Meeting::any) {
        thread.result = holds != 0;
      } else if (call.meeting == Meeting::all) {
        thread.result = holds == here;
      } else {
        thread.result = holds;
      }
      thread.state = Thread::ready;
    }
  }

  // -- errors -----------------------------------------------------------------------------------------------------------

  void report_stuck() {
    std::size_t a = 0;
    while (threads_[a].state != Thread::waiting) ++a;
    const Call& call = *threads_[a].call;
    const bool block = of_block(call);
    const std::size_t start = block ? 0 : a / kWarp * kWarp;
    for (std::size_t b = start; b < count_ && (block || b < start + kWarp); ++b) {
      const Thread& other = threads_[b];
      if (!block && !(call.mask >> b % kWarp & 1)) continue;
      const uint3 who = other.index;
      if (other.state == Thread::finished) {
        report(a, "waits at %s (%s:%d), but thread (%u, %u, %u) has exited", call.name, call.file, call.line, who.x,
               who.y, who.z);
        return;
      }
      const bool met = block ? same_place(*other.call, call)
                             : other.call->meeting == call.meeting && other.call->mask == call.mask &&
                                   other.call->act == call.act;
      if (met) continue;
      char masks[64] = "";
      if (!block && !of_block(*other.call))
        std::snprintf(masks, sizeof masks, " (masks 0x%08x and 0x%08x)", call.mask, other.call->mask);
      report(a, "waits at %s (%s:%d), but thread (%u, %u, %u) waits at %s (%s:%d)%s", call.name, call.file, call.line,
             who.x, who.y, who.z, other.call->name, other.call->file, other.call->line, masks);
      return;
    }
    report(a, "waits at %s (%s:%d) for ever", call.name, call.file, call.line);
  }

  void report(std::size_t thread, const char* format, ...) __attribute__((format(printf, 3, 4))) {
    va_list values;
    va_start(values, format);
    complain(thread, format, values);
    va_end(values);
  }

  void complain(std::size_t thread, const char* format, va_list values) {
    const uint3 who = threads_[thread].index;
    const int head =
        std::snprintf(message_, sizeof message_, "[%s] block (%u, %u, %u), thread (%u, %u, %u): ", launch_.kernel,
                      blockIdx.x, blockIdx.y, blockIdx.z, who.x, who.y, who.z);
    const auto used = static_cast<std::size_t>(head);
    if (used < sizeof message_) std::vsnprintf(message_ + used, sizeof message_ - used, format, values);
    failed_ = true;
  }

  Job& job_;
  const Launch& launch_;
  const std::size_t count_;
  uint64_t random_;
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;
  std::vector<Wide> dynamic_;
  std::vector<Copies> copies_;  // of each thread, where there are any
  std::vector<Fiber*> fibers_, idle_;
  const Range tls_;
  Context scheduler_{};
  Fiber* fresh_ = nullptr;
  unsigned current_ = 0;
  std::size_t next_ = 0, position_ = 0, unfinished_ = 0;
  std::size_t arrived_ = 0;         // threads that wait at one plain barrier,
  const Call* first_ = nullptr;     // the first of them
  bool all_ready_ = false;          // all threads go on, whatever their state says
  bool parked_ = false;             // all threads of the block wait for the grid
  bool failed_ = false;
  char message_[1024] = "";
};

void run_blocks(Job& job) {
  Machine(job).run([](uint64_t) {});
}

// Helpers are asked for when a launch has run for this long: waking them takes a few microseconds.
constexpr std::chrono::microseconds kAlone{50};

}  // namespace

void fail(const char* format, ...) {
  va_list values;
  va_start(values, format);
  machine->fail(format, values);
}

unsigned lane() { return machine->lane(); }

void copy_async(const Copy& copy, const char* file, int line) { machine->copy_async(copy, file, line); }

void commit_copies() { machine->commit_copies(); }

void wait_copies(unsigned groups) { machine->wait_copies(groups); }

void* dynamic_shared() { return machine->dynamic_shared(); }

int launch(const Launch& launch) {
  Job job(launch);
  if (launch.order == Order::shuffled) {
    job.order.resize(job.blocks);
    arrange(job.order, launch.order, job.random);
  }
  if (launch.cooperative) {
    Machine(job).run_together();
    return job.failed.load() == UINT64_MAX ? 0 : 1;
  }
  const auto start = std::chrono::steady_clock::now();
  Helpers* helpers = nullptr;
  Machine(job).run([&](uint64_t left) {
    if (helpers != nullptr || launch.threads < 2 || left == 0) return;
    if (std::chrono::steady_clock::now() - start < kAlone) return;
    helpers = &Helpers::get();
    helpers->ask(job, static_cast<unsigned>(std::min<uint64_t>(launch.threads - 1, left)));
  });
  if (helpers != nullptr) helpers->finish(job);
  return job.failed.load() == UINT64_MAX ? 0 : 1;
}

}  // namespace nnlab

#if defined(NNLAB_SWITCH)
Resume nnlab_wait(const nnlab::Call* call, void* stack) { return nnlab::machine->wait(*call, stack); }
#else
uint64_t nnlab_meet(const nnlab::Call* call) { return nnlab::machine->meet(*call); }
#endif
