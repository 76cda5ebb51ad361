//===- Memory.cpp - spaces in device memory ---------------------------------===//
#include "runtime/device/vulkan/Memory.h"

#include "support/Checked.h"
#include "support/Threads.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace lorac::vulkan {
namespace {

/// A whole number of the largest elements, so that a fill or a view never ends in the middle of one.
constexpr uint64_t SizeAlignment = 16;
/// Some drivers count a fill in 32 bits.
constexpr uint64_t FillBytes = 1ull << 30;

/// Below this many bytes a thread costs more than it saves.
constexpr uint64_t CopyPieceBytes = 4ull << 20;

/// Where the mapping is the host's own memory, as on CPU devices and integrated ones, the kernel may back it
/// with large pages: filling it then costs a fraction of the page faults, and reading it fewer misses of the
/// TLB. A hint; the mapping of a card's memory does not take it.
void preferLargePages(uint8_t *address, uint64_t size) {
  const auto page = uint64_t(::sysconf(_SC_PAGESIZE));
  const uint64_t begin =
      roundUp(uintptr_t(address), page) - uintptr_t(address); // a mapping need not start a page
  if (size >= CopyPieceBytes)
    (void)::madvise(address + begin, (size - begin) / page * page, MADV_HUGEPAGE);
}

/// memcpy by several threads where it is worth them: one alone reaches neither the memory's speed nor that of
/// the page faults on both sides.
void copyBytes(uint8_t *to, std::span<const uint8_t> from) {
  const size_t threads = std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
  forEachOnThreads(ceilDiv(from.size(), CopyPieceBytes), threads, [&](size_t piece) {
    const uint64_t at = piece * CopyPieceBytes;
    std::memcpy(to + at, from.data() + at, std::min<uint64_t>(CopyPieceBytes, from.size() - at));
  });
}

VkMappedMemoryRange wholeRange(const Allocation &allocation) {
  VkMappedMemoryRange range = {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
  range.memory = allocation.memory.get();
  range.size = VK_WHOLE_SIZE;
  return range;
}

/// Whole pages, and where a buffer begins in them.
struct PageRange {
  void *pages;
  uint64_t bytes;
  uint64_t inside;
};
/// The pages of a mapping that hold a buffer's contents, or nothing where a buffer cannot lie there.
std::optional<PageRange> pagesOf(std::span<const uint8_t> contents, const VkMemoryRequirements &requirements,
                                 uint64_t alignment) {
  const auto page = uint64_t(::sysconf(_SC_PAGESIZE));
  const uint64_t inside = uintptr_t(contents.data()) % page;
  const uint64_t bytes = roundUp(inside + requirements.size, page);
  if (contents.empty() || page % alignment != 0 || inside % requirements.alignment != 0 ||
      bytes > roundUp(inside + contents.size(), page))
    return std::nullopt;
  // Vulkan has one kind of pointer for memory that is read and that is written; weights are only read.
  return PageRange{const_cast<uint8_t *>(contents.data()) - inside, bytes, inside};
}

Status flushAllocation(Context &context, const Allocation &allocation) {
  if (allocation.coherent)
    return Status::ok();
  VkMappedMemoryRange range = wholeRange(allocation);
  return context.check(context.api.vkFlushMappedMemoryRanges(context.device, 1, &range),
                       "vkFlushMappedMemoryRanges");
}

} // namespace

Result<HostPages> HostPages::map(uint64_t size) {
  HostPages result;
  const uint64_t bytes = roundUp(size, uint64_t(::sysconf(_SC_PAGESIZE)));
  void *address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    return Status(Code::OutOfMemory) << "no memory for " << bytes
                                     << " bytes of a model or its adapters; use a smaller one";
  result.address = address;
  result.bytes = bytes;
  return result;
}

HostPages::~HostPages() {
  if (address)
    ::munmap(address, bytes);
}

Result<Allocation> allocate(Context &context, const AllocationPlan &plan, VkBufferUsageFlags usage,
                            DeviceCounters &counters, std::span<const uint8_t> contents) {
  const DeviceApi &api = context.api;
  Allocation result;
  result.offset = plan.offset;
  result.size = plan.size;
  result.coherent = plan.coherent;
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = roundUp(plan.size, SizeAlignment);
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  constexpr VkExternalMemoryHandleTypeFlagBits OfHost =
      VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VkExternalMemoryBufferCreateInfo external = {VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, nullptr,
                                               OfHost};
  if (plan.hostPages)
    info.pNext = &external;
  LORAC_ASSIGN(result.buffer, context.make(api.vkCreateBuffer, api.vkDestroyBuffer, info, "vkCreateBuffer"));
  VkMemoryRequirements requirements;
  api.vkGetBufferMemoryRequirements(context.device, result.buffer.get(), &requirements);
  if (!(requirements.memoryTypeBits >> plan.memoryType & 1))
    return Status(Code::Internal) << "vulkan: a buffer does not go into memory type " << plan.memoryType
                                  << "; report it with this message";
  VkMemoryAllocateInfo memoryInfo = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  memoryInfo.allocationSize = requirements.size;
  memoryInfo.memoryTypeIndex = plan.memoryType;
  VkImportMemoryHostPointerInfoEXT import = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT, nullptr,
                                             OfHost, nullptr};
  VkDeviceSize inside = 0; // where the buffer begins in its memory
  const auto importWhereTaken = [&](void *pages, uint64_t bytes) -> Result<bool> {
    VkMemoryHostPointerPropertiesEXT takes = {VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
    LORAC_TRY(context.check(api.vkGetMemoryHostPointerPropertiesEXT(context.device, OfHost, pages, &takes),
                            "vkGetMemoryHostPointerPropertiesEXT"));
    if (!(takes.memoryTypeBits >> plan.memoryType & 1))
      return false;
    import.pHostPointer = pages;
    memoryInfo.pNext = &import;
    memoryInfo.allocationSize = bytes;
    return true;
  };
  if (plan.hostPages) {
    const uint64_t alignment = context.caps.hostPageAlignment;
    if (std::optional<PageRange> range = pagesOf(contents, requirements, alignment)) {
      LORAC_ASSIGN(result.filled, importWhereTaken(range->pages, range->bytes));
      inside = result.filled ? range->inside : 0;
    }
    if (!result.filled) {
      LORAC_ASSIGN(result.pages, HostPages::map(roundUp(requirements.size, alignment)));
      LORAC_TRY(importWhereTaken(result.pages.data(), result.pages.size()).status());
    }
  }
  LORAC_ASSIGN(result.memory,
               context.make(api.vkAllocateMemory, api.vkFreeMemory, memoryInfo, "vkAllocateMemory"));
  ++counters.allocations;
  counters.allocatedBytes += requirements.size;
  LORAC_TRY(
      context.check(api.vkBindBufferMemory(context.device, result.buffer.get(), result.memory.get(), inside),
                    "vkBindBufferMemory"));
  if (plan.mapped && !result.filled) {
    void *address = nullptr;
    LORAC_TRY(context.check(
        api.vkMapMemory(context.device, result.memory.get(), 0, VK_WHOLE_SIZE, 0, &address), "vkMapMemory"));
    result.mapped = static_cast<uint8_t *>(address);
    preferLargePages(result.mapped, result.size);
  }
  return result;
}

void recordZeros(const DeviceApi &api, VkCommandBuffer commands, VkBuffer buffer, uint64_t offset,
                 uint64_t size) {
  for (uint64_t done = 0; done < size; done += FillBytes)
    api.vkCmdFillBuffer(commands, buffer, offset + done, std::min(FillBytes, size - done), 0);
}

Result<Memory> Memory::create(Context &context, const DevicePlan &plan, std::span<const uint8_t> weights,
                              DeviceCounters &counters) {
  Memory memory;
  for (size_t space = 0; space < SpaceCount; ++space) {
    const bool isWeights = space == size_t(fbs::Space::Weight);
    for (const AllocationPlan &entry : plan.spaces[space]) {
      const bool isThere = isWeights && entry.offset < weights.size();
      LORAC_ASSIGN(Allocation allocation,
                   allocate(context, entry, BufferUsage, counters,
                            isThere ? weights.subspan(entry.offset) : std::span<const uint8_t>()));
      memory.spaces[space].push_back(std::move(allocation));
    }
  }
  if (plan.stagingNeeded) {
    AllocationPlan entry = {0, plan.stagingBytes, plan.stagingMemoryType, true, plan.stagingCoherent};
    LORAC_ASSIGN(memory.staging, allocate(context, entry, BufferUsage, counters));
  }
  for (fbs::Space space : {fbs::Space::Step, fbs::Space::Out}) {
    for (const Allocation &allocation : memory.allocations(space))
      std::memset(allocation.mapped, 0, allocation.size);
    LORAC_TRY(memory.flush(context, space));
  }
  LORAC_ASSIGN(VkCommandBuffer commands, context.beginOnce());
  for (fbs::Space space : {fbs::Space::Arena, fbs::Space::Cache})
    for (const Allocation &allocation : memory.allocations(space))
      recordZeros(context.api, commands, allocation.buffer.get(), 0, roundUp(allocation.size, SizeAlignment));
  LORAC_TRY(context.endOnce(commands));
  return memory;
}

std::optional<Location> Memory::find(fbs::Space space, uint64_t offset, uint64_t size) const {
  const std::vector<Allocation> &all = spaces[size_t(space)];
  auto after =
      std::upper_bound(all.begin(), all.end(), offset, [](uint64_t value, const Allocation &allocation) {
        return value < allocation.offset;
      });
  if (after == all.begin())
    return std::nullopt;
  const Allocation &allocation = *std::prev(after);
  uint64_t inside = offset - allocation.offset;
  if (!rangeInside(inside, size, allocation.size))
    return std::nullopt;
  return Location{&allocation, inside};
}

Status Memory::write(Context &context, const Location &to, std::span<const uint8_t> bytes) {
  if (bytes.empty())
    return Status::ok();
  if (to.allocation->mapped) {
    copyBytes(to.allocation->mapped + to.offset, bytes);
    return flushAllocation(context, *to.allocation);
  }
  for (uint64_t done = 0; done < bytes.size();) {
    uint64_t piece = std::min<uint64_t>(bytes.size() - done, staging->size);
    std::memcpy(staging->mapped, bytes.data() + done, piece);
    LORAC_TRY(flushAllocation(context, *staging));
    LORAC_ASSIGN(VkCommandBuffer commands, context.beginOnce());
    VkBufferCopy region = {0, to.offset + done, piece};
    context.api.vkCmdCopyBuffer(commands, staging->buffer.get(), to.allocation->buffer.get(), 1, &region);
    LORAC_TRY(context.endOnce(commands));
    done += piece;
  }
  return Status::ok();
}

Status Memory::flush(Context &context, fbs::Space space) const {
  for (const Allocation &allocation : allocations(space))
    LORAC_TRY(flushAllocation(context, allocation));
  return Status::ok();
}

Status Memory::invalidate(Context &context, fbs::Space space) const {
  for (const Allocation &allocation : allocations(space)) {
    if (allocation.coherent)
      continue;
    VkMappedMemoryRange range = wholeRange(allocation);
    LORAC_TRY(context.check(context.api.vkInvalidateMappedMemoryRanges(context.device, 1, &range),
                            "vkInvalidateMappedMemoryRanges"));
  }
  return Status::ok();
}

} // namespace lorac::vulkan
