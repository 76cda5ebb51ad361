//===- SlotAllocator.cpp - first fit, coalescing ----------------*- C++ -*-===//
#include "runtime/engine/SlotAllocator.h"

#include "support/Checked.h"

#include <algorithm>
#include <iterator>

namespace lorac {

SlotAllocator::SlotAllocator(uint64_t bytes) {
  uint64_t usable = bytes - bytes % Alignment;
  if (usable > 0)
    ranges.emplace(0, usable);
}

std::optional<uint64_t> SlotAllocator::allocate(uint64_t bytes) {
  if (bytes > UINT64_MAX - Alignment)
    return std::nullopt;
  uint64_t length = roundUp(bytes, Alignment);
  for (auto it = ranges.begin(); it != ranges.end(); ++it) {
    auto [offset, available] = *it;
    if (available < length)
      continue;
    if (available == length) {
      ranges.erase(it);
    } else {
      // The node moves on to the rest of its range, so that nothing is allocated here.
      auto node = ranges.extract(it);
      node.key() = offset + length;
      node.mapped() = available - length;
      ranges.insert(std::move(node));
    }
    return offset;
  }
  return std::nullopt;
}

void SlotAllocator::release(uint64_t offset, uint64_t bytes) {
  uint64_t length = roundUp(bytes, Alignment);
  auto next = ranges.lower_bound(offset);
  if (next != ranges.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += length;
      if (next != ranges.end() && next->first == offset + length) {
        before->second += next->second;
        ranges.erase(next);
      }
      return;
    }
  }
  if (next != ranges.end() && next->first == offset + length) {
    length += next->second;
    ranges.erase(next);
  }
  ranges.emplace(offset, length);
}

uint64_t SlotAllocator::freeBytes() const {
  uint64_t sum = 0;
  for (const auto &[offset, length] : ranges)
    sum += length;
  return sum;
}

uint64_t SlotAllocator::largestFree() const {
  uint64_t largest = 0;
  for (const auto &[offset, length] : ranges)
    largest = std::max(largest, length);
  return largest;
}

} // namespace lorac
