//===- PageAllocator.cpp - a stack of free page numbers ---------*- C++ -*-===//
#include "runtime/engine/PageAllocator.h"

namespace lorac {

PageAllocator::PageAllocator(uint32_t count) : count(count) {
  freePages.reserve(count);
  for (uint32_t page = count; page > 0; --page) // page 0 goes out first
    freePages.push_back(page - 1);
}

bool PageAllocator::allocate(size_t wanted, std::vector<uint32_t> &pages) {
  if (wanted > freePages.size())
    return false;
  pages.reserve(pages.size() + wanted); // nothing below throws
  for (size_t i = 0; i < wanted; ++i) {
    pages.push_back(freePages.back());
    freePages.pop_back();
  }
  return true;
}

void PageAllocator::release(std::vector<uint32_t> &pages, size_t keep) {
  while (pages.size() > keep) { // capacity for all pages was reserved: this never allocates
    freePages.push_back(pages.back());
    pages.pop_back();
  }
}

} // namespace lorac
