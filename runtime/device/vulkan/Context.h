//===- Context.h - one VkDevice, its queue, and handles of it ---*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_CONTEXT_H
#define LORAC_RUNTIME_DEVICE_VULKAN_CONTEXT_H

#include "runtime/device/vulkan/CoreKeeper.h"
#include "runtime/device/vulkan/Instance.h"

#include <functional>
#include <memory>
#include <utility>

namespace lorac::vulkan {

/// Owns one object of a VkDevice, which must outlive it.
template <typename T> class Handle {
public:
  using Destroy = void(VKAPI_PTR *)(VkDevice, T, const VkAllocationCallbacks *);
  Handle() = default;
  Handle(VkDevice device, T object, Destroy destroy) : device(device), object(object), destroy(destroy) {}
  ~Handle() { reset(); }
  Handle(Handle &&other) noexcept
      : device(other.device), object(std::exchange(other.object, VK_NULL_HANDLE)), destroy(other.destroy) {}
  Handle &operator=(Handle &&other) noexcept {
    if (this != &other) {
      reset();
      device = other.device;
      object = std::exchange(other.object, VK_NULL_HANDLE);
      destroy = other.destroy;
    }
    return *this;
  }
  Handle(const Handle &) = delete;
  Handle &operator=(const Handle &) = delete;

  T get() const { return object; }
  void reset() {
    if (object != VK_NULL_HANDLE)
      destroy(device, std::exchange(object, VK_NULL_HANDLE), nullptr);
  }

private:
  VkDevice device = VK_NULL_HANDLE;
  T object = VK_NULL_HANDLE;
  Destroy destroy = nullptr;
};

/// How the cores wait while a CPU device works. Awake is for many short dispatches: none of them falls asleep
/// in between (CoreKeeper.h). Not for what a driver compiles or maps memory for: each change of a mapping
/// would interrupt the core that is kept awake. For any other device they are always asleep.
enum class Waiting { Asleep, Awake };

/// A VkDevice with one compute queue. Not thread-safe; different contexts are independent.
class Context {
public:
  /// `adjustApi` (may be empty) changes the function table before its first use: tests make calls fail with
  /// it.
  static Result<std::unique_ptr<Context>> create(std::shared_ptr<Instance> instance,
                                                 const PhysicalDevice &physical,
                                                 const std::function<void(DeviceApi &)> &adjustApi);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  /// resultStatus of a call, or what the validation layer said of it. DeviceLost is kept: see lost().
  Status check(VkResult result, const char *call);
  /// Ok, or the error after which nothing may be asked of the device any more.
  const Status &lost() const { return lostStatus; }

  /// An info and its function, as vkCreateX takes them, to an owned handle.
  template <typename T, typename Info>
  Result<Handle<T>> make(VkResult(VKAPI_PTR *create)(VkDevice, const Info *, const VkAllocationCallbacks *,
                                                     T *),
                         typename Handle<T>::Destroy destroy, const Info &info, const char *call) {
    T object = VK_NULL_HANDLE;
    LORAC_TRY(check(create(device, &info, nullptr, &object), call));
    return Handle<T>(device, object, destroy);
  }

  Result<VkCommandBuffer> allocateCommands();
  /// For commands that run once; the same buffer each time.
  Result<VkCommandBuffer> beginOnce();
  /// Submits and waits for the end, however long that takes.
  Status submitAndWait(VkCommandBuffer commands, Waiting waiting);
  /// Ends what beginOnce began, submits it and waits.
  Status endOnce(VkCommandBuffer commands);

  std::shared_ptr<Instance> instance;
  DeviceCaps caps; ///< complete, bufferMemoryTypes too
  DeviceApi api;
  VkDevice device = VK_NULL_HANDLE;

private:
  Context() = default;
  Status probeBufferMemory();

  CoreKeeper coreKeeper;
  Status lostStatus;
  VkQueue queue = VK_NULL_HANDLE;
  Handle<VkCommandPool> commandPool;
  Handle<VkFence> fence;
  VkCommandBuffer once = VK_NULL_HANDLE;
};

/// Usage of every buffer that kernels see, so that all have the same memory types.
constexpr VkBufferUsageFlags BufferUsage =
    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_CONTEXT_H
