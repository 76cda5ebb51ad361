//===- SlotAllocator.h - ranges of the adapter pool -------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H
#define LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H

#include <cstdint>
#include <optional>
#include <vector>

namespace lorac {

/// First fit over a list of free ranges in order of offset; neighbours coalesce. Offsets and lengths are
/// multiples of Alignment. Not thread-safe.
class SlotAllocator {
public:
  static constexpr uint64_t Alignment = 256;

  explicit SlotAllocator(uint64_t bytes);

  /// The offset of a range of at least `bytes` (> 0); nothing where no free range is long enough.
  std::optional<uint64_t> allocate(uint64_t bytes);
  /// Gives back what allocate(bytes) returned. Asks for no memory: destructors call it.
  void release(uint64_t offset, uint64_t bytes) noexcept;

  uint64_t freeBytes() const;
  uint64_t largestFree() const;
  size_t freeRanges() const { return ranges.size(); }

private:
  struct Range {
    uint64_t offset, length;
  };
  std::vector<Range> ranges; // free ones, by offset; there is room for what every release may add
  size_t live = 0;           // ranges that are out
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H
