//===- Instance.h - the loader, an instance, its devices --------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_INSTANCE_H
#define LORAC_RUNTIME_DEVICE_VULKAN_INSTANCE_H

#include "runtime/device/vulkan/Api.h"
#include "runtime/device/vulkan/Capabilities.h"
#include "support/Status.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace lorac::vulkan {

/// Ok for results >= 0. The text says which call failed; the code what follows from it: OutOfMemory,
/// DeviceLost, DeviceUnavailable, else Internal.
Status resultStatus(VkResult result, const char *call);

struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  uint32_t queueFamily = 0;
  std::vector<const char *> extensions; ///< offered, and to be enabled
  DeviceCaps caps;                      ///< bufferMemoryTypes is not known yet
};

/// One VkInstance with its function table. Instances share nothing but the loader's library. Thread-safe.
class Instance {
public:
  /// `validation`: with VK_LAYER_KHRONOS_validation, whose messages validationStatus() gives.
  /// DeviceUnavailable where there is no loader, no driver or no layer.
  static Result<std::shared_ptr<Instance>> create(bool validation);
  ~Instance();
  Instance(const Instance &) = delete;
  Instance &operator=(const Instance &) = delete;

  /// Those that Lorac can open (Vulkan 1.1, a compute queue), in the driver's order.
  Result<std::vector<PhysicalDevice>> devices() const;
  /// Internal with the first message since the last call; Ok where there was none.
  Status validationStatus();
  bool validates() const { return messenger != VK_NULL_HANDLE; }

  InstanceApi api;
  VkInstance handle = VK_NULL_HANDLE;

private:
  Instance() = default;
  static VkBool32 VKAPI_PTR onMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                      VkDebugUtilsMessageTypeFlagsEXT types,
                                      const VkDebugUtilsMessengerCallbackDataEXT *data, void *self);
  PhysicalDevice describe(VkPhysicalDevice device,
                          const std::vector<VkExtensionProperties> &extensions) const;

  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  PFN_vkDestroyDebugUtilsMessengerEXT destroyMessenger = nullptr;
  std::mutex mutex;
  std::vector<std::string> messages;
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_INSTANCE_H
