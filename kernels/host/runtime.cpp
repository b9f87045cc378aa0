// Runs a launch on one host thread: blocks one after another, the threads of a block as fibers.
//
// A fiber runs CUDA threads one after another; only a thread that has to wait for others keeps its fiber, and a fresh
// fiber goes on with the next thread. So a kernel without barriers runs on one stack with one switch a block. When no
// thread can run, those that wait are looked at: whoever has met everybody goes on; if nobody has, the launch ends with
// an error that names a thread and what it waits for.
//
// A kernel's `__shared__` arrays are thread_local variables, hence the TLS block of its library, in which there is nothing
// else. It is filled with 0xFF (NaN in every floating type) before each block, dynamic shared memory too; TLS blocks can
// be found on Linux only.
#include "runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "checker.h"

#if defined(__linux__)
#include <link.h>
#endif

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

// -- switching stacks ---------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && !defined(NNLAB_UCONTEXT)

// Saves what a callee must preserve and the stack pointer. Floating-point control words are the same for all fibers.
extern "C" void nnlab_switch(void** from, void* to) __attribute__((visibility("hidden")));
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
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
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
  void go_to(const Context& other) { nnlab_switch(&pointer, other.pointer); }
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
  void go_to(const Context& other) { swapcontext(&saved, &other.saved); }
};

#endif

namespace nnlab {
namespace {

// Stacks are kept for later launches. The lowest page of each is not accessible: a stack overflow stops the process.
constexpr std::size_t kStack = 128 << 10;
std::mutex stacks_lock;
std::vector<char*> idle_stacks;

char* take_stack() {
  {
    const std::lock_guard<std::mutex> hold(stacks_lock);
    if (!idle_stacks.empty()) {
      char* stack = idle_stacks.back();
      idle_stacks.pop_back();
      return stack;
    }
  }
  void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  mprotect(memory, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
  return static_cast<char*>(memory);
}

struct Fiber {
  char* stack;
  Context context;
  std::size_t unused;  // at the top of the stack, different from fiber to fiber: else all compete for one place in the cache
};

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

class Machine;
__thread Machine* machine;

class Machine {
 public:
  explicit Machine(const Launch& launch)
      : launch_(launch), count_(launch.block[0] * launch.block[1] * launch.block[2]), random_(launch.seed) {
    threads_.resize(count_);
    order_.resize(count_);
    dynamic_.resize(launch.shared / sizeof(Wide) + 1);
    const unsigned x = launch.block[0], y = launch.block[1];
    for (unsigned t = 0; t < count_; ++t) threads_[t] = {{t % x, t / x % y, t / x / y}, Thread::finished, {}, {}, 0};
    arrange(order_);
  }

  ~Machine() {
    const std::lock_guard<std::mutex> hold(stacks_lock);
    for (Fiber* fiber : fibers_) {
      idle_stacks.push_back(fiber->stack);
      delete fiber;
    }
  }

  bool run() {
    machine = this;
    gridDim = {launch_.grid[0], launch_.grid[1], launch_.grid[2]};
    blockDim = {launch_.block[0], launch_.block[1], launch_.block[2]};
#if defined(__linux__)
    Search search{reinterpret_cast<ElfW(Addr)>(launch_.body), {}};
    dl_iterate_phdr(find_tls, &search);
    tls_ = search.found;
#endif
    checker::begin(launch_, tls_.start, tls_.size, dynamic_.data());
    const uint64_t blocks = static_cast<uint64_t>(gridDim.x) * gridDim.y * gridDim.z;
    std::vector<uint64_t> order;
    if (launch_.order == Order::shuffled) {
      order.resize(blocks);
      arrange(order);
    }
    for (uint64_t i = 0; i < blocks && !failed_; ++i) {
      uint64_t block = launch_.order == Order::descending ? blocks - 1 - i : i;
      if (launch_.order == Order::shuffled) block = order[i];
      blockIdx = {static_cast<unsigned>(block % gridDim.x), static_cast<unsigned>(block / gridDim.x % gridDim.y),
                  static_cast<unsigned>(block / gridDim.x / gridDim.y)};
      checker::block(block);
      run_block();
    }
    checker::end();
    machine = nullptr;
    return !failed_;
  }

  uint64_t meet(const Call& call) {
    Thread& me = threads_[current_];
    me.call = &call;
    me.state = Thread::waiting;
    Fiber* other = next();
    if (other != me.fiber) me.fiber->context.go_to(other == nullptr ? scheduler_ : other->context);
    return me.result;
  }

  [[noreturn]] void fail(const char* format, va_list values) {
    complain(current_, format, values);
    Context lost = threads_[current_].fiber->context;
    lost.go_to(scheduler_);
    __builtin_unreachable();
  }

  unsigned lane() const { return current_ % kWarp; }
  void* dynamic_shared() { return dynamic_.data(); }

 private:
  struct alignas(16) Wide {
    char bytes[16];
  };

  template <class Numbers>
  void arrange(Numbers& order) {
    const std::size_t n = order.size();
    for (std::size_t i = 0; i < n; ++i)
      order[i] = static_cast<typename Numbers::value_type>(launch_.order == Order::descending ? n - 1 - i : i);
    if (launch_.order != Order::shuffled) return;
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[next_random() % i]);
  }

  uint64_t next_random() {  // splitmix64
    uint64_t z = random_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  void poison() {
    std::memset(static_cast<void*>(dynamic_.data()), 0xFF, dynamic_.size() * sizeof(Wide));
    if (tls_.start != nullptr) std::memset(tls_.start, 0xFF, tls_.size);
  }

  void run_block() {
    poison();
    if (launch_.order == Order::shuffled) arrange(order_);
    unfinished_ = count_;
    next_ = 0;
    position_ = count_;
    if (Fiber* first = next()) scheduler_.go_to(first->context);
  }

  // The fiber to go on with: threads that have not run yet first, then those that have met; null at the block's end.
  Fiber* next() {
    if (next_ < count_) return idle_fiber();
    while (unfinished_ > 0) {
      while (position_ < count_) {
        const unsigned thread = order_[position_++];
        if (threads_[thread].state != Thread::ready) continue;
        select(thread, threads_[thread].fiber);
        return threads_[thread].fiber;
      }
      release();
      if (failed_) return nullptr;
      if (launch_.order == Order::shuffled) arrange(order_);
      position_ = 0;
    }
    return nullptr;
  }

  void select(unsigned thread, const Fiber* fiber) {
    checker::thread(thread, fiber->stack + kStack);
    current_ = thread;
    threadIdx = threads_[thread].index;
  }

  Fiber* idle_fiber() {
    if (idle_.empty()) {
      char* stack = take_stack();
      if (stack == nullptr) {
        report(order_[next_], "no memory for a thread's stack");
        return nullptr;
      }
      fibers_.push_back(new Fiber{stack, {}, fibers_.size() % 61 * 320});
      idle_.push_back(fibers_.back());
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
      threads_[current_].fiber = me;
      const unsigned thread = current_;
      launch_.body(launch_.arguments);
      threads_[thread].state = Thread::finished;
      --unfinished_;
    }
    idle_.push_back(me);
    Fiber* other = next();
    me->context.go_to(other == nullptr ? scheduler_ : other->context);
  }

  // -- meetings ---------------------------------------------------------------------------------------------------------

  static bool of_block(const Call& call) { return call.meeting <= Meeting::barrier_count; }

  void release() {
    if (release_block()) return;
    bool any = false;
    for (unsigned warp = 0; warp * kWarp < count_ && !failed_; ++warp) any |= release_warp(warp * kWarp);
    if (!any && !failed_) report_stuck();
  }

  bool release_block() {
    uint64_t holds = 0;
    for (const Thread& thread : threads_) {
      if (thread.state != Thread::waiting || !of_block(*thread.call)) return false;
      if (!same_place(*thread.call, *threads_[0].call)) return false;
      holds += thread.call->value != 0;
    }
    const Call& first = *threads_[0].call;
    if (first.meeting == Meeting::barrier_and) holds = holds == count_;
    if (first.meeting == Meeting::barrier_or) holds = holds != 0;
    checker::barrier();
    for (Thread& thread : threads_) {
      thread.result = holds;
      thread.state = Thread::ready;
    }
    return true;
  }

  static bool same_place(const Call& a, const Call& b) {
    return a.meeting == b.meeting && a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
  }

  bool release_warp(unsigned base) {
    bool any = false;
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
                   partner.call->mask == thread.call->mask;
        if (!complete) break;
        here |= 1u << other;
        holds |= static_cast<uint32_t>(partner.call->value != 0) << other;
      }
      if (!complete) continue;
      if (thread.call->meeting == Meeting::warp) checker::warp(base, here);
      finish_warp(base, here, holds);
      any = true;
    }
    return any;
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
                             : other.call->meeting == call.meeting && other.call->mask == call.mask;
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
    const int head = std::snprintf(launch_.message, launch_.message_size,
                                   "[%s] block (%u, %u, %u), thread (%u, %u, %u): ", launch_.kernel, blockIdx.x,
                                   blockIdx.y, blockIdx.z, who.x, who.y, who.z);
    const auto used = static_cast<uint64_t>(head);
    if (used < launch_.message_size)
      std::vsnprintf(launch_.message + used, launch_.message_size - used, format, values);
    failed_ = true;
  }

  const Launch& launch_;
  const std::size_t count_;
  uint64_t random_;
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;
  std::vector<Wide> dynamic_;
  std::vector<Fiber*> fibers_, idle_;
  Range tls_;
  Context scheduler_{};
  Fiber* fresh_ = nullptr;
  unsigned current_ = 0;
  std::size_t next_ = 0, position_ = 0, unfinished_ = 0;
  bool failed_ = false;
};

}  // namespace

uint64_t meet(const Call& call) { return machine->meet(call); }

void fail(const char* format, ...) {
  va_list values;
  va_start(values, format);
  machine->fail(format, values);
}

unsigned lane() { return machine->lane(); }

void* dynamic_shared() { return machine->dynamic_shared(); }

int launch(const Launch& launch) {
  Machine machine(launch);
  return machine.run() ? 0 : 1;
}

}  // namespace nnlab
