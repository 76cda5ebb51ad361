//===- Allocations.cpp - operator new that can fail -------------------------===//
#include "tests/faults/Allocations.h"

#include "tests/faults/VulkanShim.h"

#include <cstddef>
#include <cstdlib>
#include <execinfo.h>
#include <new>
#include <unistd.h>

namespace lorac::test {
namespace {

thread_local bool armed = false, failed = false, insideLibrary = false;
thread_local uint64_t left = 0;

/// Where the allocation was asked for, which the death of the process does not tell.
void printTrace() {
  void *frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
  static_cast<void>(write(2, "\n", 1));
}

bool failsNow() {
  if (!armed || failed || !insideLibrary || shim::insideDriver())
    return false;
  failed = left-- == 0;
  if (failed && std::getenv("LORAC_FAULT_TRACE"))
    printTrace();
  return failed;
}

void *allocate(std::size_t size, std::size_t alignment) {
  if (failsNow())
    return nullptr;
  if (alignment > alignof(std::max_align_t)) // a size that is a multiple, as aligned_alloc wants it
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  return std::malloc(size == 0 ? 1 : size);
}

void *allocateOrThrow(std::size_t size, std::size_t alignment) {
  if (void *address = allocate(size, alignment))
    return address;
  throw std::bad_alloc();
}

} // namespace

void failAllocation(uint64_t count) {
  armed = true;
  failed = false;
  left = count;
}

bool allocationFailed() {
  armed = false;
  return failed;
}

void setInsideLibrary(bool inside) { insideLibrary = inside; }

} // namespace lorac::test

// All forms, so that none of a sanitizer's stays beside ours.
using lorac::test::allocate;
using lorac::test::allocateOrThrow;
void *operator new(std::size_t size) { return allocateOrThrow(size, 1); }
void *operator new[](std::size_t size) { return allocateOrThrow(size, 1); }
void *operator new(std::size_t size, std::align_val_t to) { return allocateOrThrow(size, std::size_t(to)); }
void *operator new[](std::size_t size, std::align_val_t to) { return allocateOrThrow(size, std::size_t(to)); }
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return allocate(size, 1); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return allocate(size, 1); }
void *operator new(std::size_t size, std::align_val_t to, const std::nothrow_t &) noexcept {
  return allocate(size, std::size_t(to));
}
void *operator new[](std::size_t size, std::align_val_t to, const std::nothrow_t &) noexcept {
  return allocate(size, std::size_t(to));
}
void operator delete(void *address) noexcept { std::free(address); }
void operator delete[](void *address) noexcept { std::free(address); }
void operator delete(void *address, std::size_t) noexcept { std::free(address); }
void operator delete[](void *address, std::size_t) noexcept { std::free(address); }
void operator delete(void *address, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void *address, std::align_val_t) noexcept { std::free(address); }
void operator delete(void *address, std::size_t, std::align_val_t) noexcept { std::free(address); }
void operator delete[](void *address, std::size_t, std::align_val_t) noexcept { std::free(address); }
void operator delete(void *address, const std::nothrow_t &) noexcept { std::free(address); }
void operator delete[](void *address, const std::nothrow_t &) noexcept { std::free(address); }
void operator delete(void *address, std::align_val_t, const std::nothrow_t &) noexcept { std::free(address); }
void operator delete[](void *address, std::align_val_t, const std::nothrow_t &) noexcept {
  std::free(address);
}
