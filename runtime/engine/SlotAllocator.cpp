//===- SlotAllocator.cpp - first fit, coalescing ----------------*- C++ -*-===//
#include "runtime/engine/SlotAllocator.h"

#include "support/Checked.h"

#include <algorithm>
#include <iterator>

namespace lorac {

SlotAllocator::SlotAllocator(uint64_t bytes) {
  uint64_t usable = bytes - bytes % Alignment;
  if (usable > 0)
    ranges.push_back({0, usable});
}

std::optional<uint64_t> SlotAllocator::allocate(uint64_t bytes) {
  if (bytes > UINT64_MAX - Alignment)
    return std::nullopt;
  uint64_t length = roundUp(bytes, Alignment);
  // Between two free ranges lies one that is out, so there are at most `live` + 1 of them, now and after each
  // release.
  ranges.reserve(live + 2);
  auto found =
      std::find_if(ranges.begin(), ranges.end(), [&](const Range &range) { return range.length >= length; });
  if (found == ranges.end())
    return std::nullopt;
  uint64_t offset = found->offset;
  found->offset += length;
  found->length -= length;
  if (found->length == 0)
    ranges.erase(found);
  ++live;
  return offset;
}

void SlotAllocator::release(uint64_t offset, uint64_t bytes) noexcept {
  uint64_t length = roundUp(bytes, Alignment);
  --live;
  auto next =
      std::find_if(ranges.begin(), ranges.end(), [&](const Range &range) { return range.offset > offset; });
  bool joinsBefore = next != ranges.begin() && std::prev(next)->offset + std::prev(next)->length == offset;
  bool joinsNext = next != ranges.end() && next->offset == offset + length;
  if (joinsBefore && joinsNext) {
    std::prev(next)->length += length + next->length;
    ranges.erase(next);
  } else if (joinsBefore) {
    std::prev(next)->length += length;
  } else if (joinsNext) {
    next->offset = offset;
    next->length += length;
  } else {
    ranges.insert(next, {offset, length});
  }
}

uint64_t SlotAllocator::freeBytes() const {
  uint64_t sum = 0;
  for (const Range &range : ranges)
    sum += range.length;
  return sum;
}

uint64_t SlotAllocator::largestFree() const {
  uint64_t largest = 0;
  for (const Range &range : ranges)
    largest = std::max(largest, range.length);
  return largest;
}

} // namespace lorac
