#include "runtime/engine/PageAllocator.h"
#include "runtime/engine/SlotAllocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lorac {
namespace {

TEST(PageAllocator, GivesEachPageOnceAndAllOrNothing) {
  PageAllocator allocator(4);
  std::vector<uint32_t> a, b;
  ASSERT_TRUE(allocator.allocate(3, a));
  EXPECT_EQ(a, (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_FALSE(allocator.allocate(2, b));
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(allocator.available(), 1u);
  ASSERT_TRUE(allocator.allocate(1, b));
  EXPECT_EQ(b, (std::vector<uint32_t>{3}));
}

TEST(PageAllocator, ReleasesFromANumberOn) {
  PageAllocator allocator(4);
  std::vector<uint32_t> a, b;
  ASSERT_TRUE(allocator.allocate(4, a));
  allocator.release(a, 2);
  EXPECT_EQ(a, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(allocator.available(), 2u);
  ASSERT_TRUE(allocator.allocate(2, b));
  std::sort(b.begin(), b.end());
  EXPECT_EQ(b, (std::vector<uint32_t>{2, 3}));
}

TEST(SlotAllocator, FirstFitInMultiplesOf256) {
  SlotAllocator allocator(1024 + 100); // the odd rest is not used
  EXPECT_EQ(allocator.freeBytes(), 1024u);
  EXPECT_EQ(allocator.allocate(1), 0u);
  EXPECT_EQ(allocator.allocate(257), 256u);
  EXPECT_EQ(allocator.allocate(256), 768u);
  EXPECT_EQ(allocator.allocate(1), std::nullopt);
  allocator.release(256, 257);
  EXPECT_EQ(allocator.allocate(256), 256u);
  EXPECT_EQ(allocator.allocate(256), 512u);
}

TEST(SlotAllocator, NeighboursCoalesceInEveryOrder) {
  std::vector<uint64_t> order = {0, 256, 512, 768};
  do {
    SlotAllocator allocator(1024);
    for (int i = 0; i < 4; ++i)
      ASSERT_TRUE(allocator.allocate(256));
    for (uint64_t offset : order)
      allocator.release(offset, 256);
    EXPECT_EQ(allocator.freeRanges(), 1u);
    EXPECT_EQ(allocator.largestFree(), 1024u);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(SlotAllocator, RandomLoadsNeverOverlapAndLeakNothing) {
  SlotAllocator allocator(64 << 10);
  std::vector<std::pair<uint64_t, uint64_t>> live;
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    if (random() % 2 == 0 || live.empty()) {
      uint64_t size = random() % 9000 + 1;
      if (auto offset = allocator.allocate(size)) {
        EXPECT_EQ(*offset % 256, 0u);
        EXPECT_LE(*offset + size, 64u << 10);
        for (auto [other, otherSize] : live)
          EXPECT_TRUE(*offset + size <= other || other + otherSize <= *offset);
        live.emplace_back(*offset, size);
      }
    } else {
      size_t index = random() % live.size();
      allocator.release(live[index].first, live[index].second);
      live.erase(live.begin() + ptrdiff_t(index));
    }
  }
  for (auto [offset, size] : live)
    allocator.release(offset, size);
  EXPECT_EQ(allocator.freeRanges(), 1u);
  EXPECT_EQ(allocator.freeBytes(), 64u << 10);
}

TEST(SlotAllocator, HugeSizesAreRefused) {
  SlotAllocator allocator(1024);
  EXPECT_EQ(allocator.allocate(UINT64_MAX), std::nullopt);
  EXPECT_EQ(allocator.allocate(UINT64_MAX - 255), std::nullopt);
}

} // namespace
} // namespace lorac
