//===- Memory.h - spaces in device memory -----------------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_MEMORY_H
#define LORAC_RUNTIME_DEVICE_VULKAN_MEMORY_H

#include "runtime/device/vulkan/Context.h"
#include "runtime/device/vulkan/Plan.h"

#include <optional>
#include <span>

namespace lorac::vulkan {

/// Pages of this process that hold zeros at first. A CPU device's driver may take its memory where the kernel
/// gives no large pages (Mesa 25: a file in memory); ours may be large, and are filled in half the time then.
class HostPages {
public:
  HostPages() = default;
  /// At least `size` bytes, whole pages. OutOfMemory.
  static Result<HostPages> map(uint64_t size);
  ~HostPages();
  HostPages(HostPages &&other) noexcept
      : address(std::exchange(other.address, nullptr)), bytes(std::exchange(other.bytes, 0)) {}
  HostPages &operator=(HostPages &&other) noexcept {
    std::swap(address, other.address);
    std::swap(bytes, other.bytes);
    return *this;
  }
  void *data() const { return address; }
  uint64_t size() const { return bytes; }

private:
  void *address = nullptr;
  uint64_t bytes = 0;
};

/// One VkBuffer in memory of its own.
struct Allocation {
  uint64_t offset = 0; ///< in its space
  uint64_t size = 0;
  bool coherent = true;
  uint8_t *mapped = nullptr;     ///< for as long as the allocation lives, or none
  bool filled = false;           ///< made of pages that held its contents: nothing is to be written
  HostPages pages;               // what `memory` is made of, if it is of the process's own
  Handle<VkDeviceMemory> memory; // declared before the buffer, so that it goes after it
  Handle<VkBuffer> buffer;
};

/// Where a range of a space lies.
struct Location {
  const Allocation *allocation = nullptr;
  uint64_t offset = 0; ///< in the allocation's buffer
};

/// One allocation with its buffer, mapped where the plan says so; counted in `counters`. Where the plan wants
/// host pages and the driver takes those of `contents`, whole pages of a mapping that outlives the allocation
/// and begins with what it shall hold, it is made of them, filled and not mapped.
Result<Allocation> allocate(Context &context, const AllocationPlan &plan, VkBufferUsageFlags usage,
                            DeviceCounters &counters, std::span<const uint8_t> contents = {});

/// All memory of an open model.
class Memory {
public:
  /// Allocates what the plan says; arena, cache and mapped buffers for steps and outputs are zero afterwards.
  /// `weights`: ModelFile::mappedWeights, of which the weights' allocations are made where that can be.
  static Result<Memory> create(Context &context, const DevicePlan &plan, std::span<const uint8_t> weights,
                               DeviceCounters &counters);

  /// Nothing where no allocation holds the whole range.
  std::optional<Location> find(fbs::Space space, uint64_t offset, uint64_t size) const;
  const std::vector<Allocation> &allocations(fbs::Space space) const { return spaces[size_t(space)]; }

  /// Copies bytes into a space: straight into mapped memory, else through the staging buffer, a piece at a
  /// time.
  Status write(Context &context, const Location &to, std::span<const uint8_t> bytes);
  /// Makes host writes of a mapped space visible to the device, or the device's to the host. No-ops for
  /// coherent memory.
  Status flush(Context &context, fbs::Space space) const;
  Status invalidate(Context &context, fbs::Space space) const;

private:
  std::array<std::vector<Allocation>, SpaceCount> spaces;
  std::optional<Allocation> staging;
};

/// Records zeros over a range whose size is a multiple of 4, in pieces that drivers take.
void recordZeros(const DeviceApi &api, VkCommandBuffer commands, VkBuffer buffer, uint64_t offset,
                 uint64_t size);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_MEMORY_H
