//===- SlotAllocator.h - ranges of the adapter pool -------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H
#define LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H

#include <cstdint>
#include <map>
#include <optional>

namespace lorac {

/// First fit over a list of free ranges in order of offset; neighbours coalesce. Offsets and lengths are
/// multiples of Alignment. Not thread-safe.
class SlotAllocator {
public:
  static constexpr uint64_t Alignment = 256;

  explicit SlotAllocator(uint64_t bytes);

  /// The offset of a range of at least `bytes` (> 0); nothing where no free range is long enough.
  std::optional<uint64_t> allocate(uint64_t bytes);
  /// Gives back what allocate(bytes) returned.
  void release(uint64_t offset, uint64_t bytes);

  uint64_t freeBytes() const;
  uint64_t largestFree() const;
  size_t freeRanges() const { return ranges.size(); }

private:
  std::map<uint64_t, uint64_t> ranges; // offset -> length
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_SLOTALLOCATOR_H
