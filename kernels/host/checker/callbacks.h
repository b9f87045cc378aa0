// What code compiled with -fsanitize calls; part of checker.cpp, so that an access is one call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {

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

