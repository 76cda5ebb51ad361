//===- PageAllocator.h - which cache pages are in use -----------*- C++ -*-===//
#ifndef LORAC_RUNTIME_ENGINE_PAGEALLOCATOR_H
#define LORAC_RUNTIME_ENGINE_PAGEALLOCATOR_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lorac {

/// Hands out page numbers 0..count-1. Not thread-safe: the engine serialises calls.
class PageAllocator {
public:
  explicit PageAllocator(uint32_t count);

  uint64_t available() const { return freePages.size(); }
  uint64_t total() const { return count; }
  /// Appends `wanted` pages to `pages`, all or none; false where fewer are free.
  bool allocate(size_t wanted, std::vector<uint32_t> &pages);
  /// Takes back the pages of `pages` from number `keep` on.
  void release(std::vector<uint32_t> &pages, size_t keep = 0);

private:
  uint32_t count;
  std::vector<uint32_t> freePages; // the last one goes out first
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_PAGEALLOCATOR_H
