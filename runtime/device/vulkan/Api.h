//===- Api.h - the Vulkan functions that Lorac calls ------------*- C++ -*-===//
// The loader is opened at run time, so nothing here needs a Vulkan library to link or to start.
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_API_H
#define LORAC_RUNTIME_DEVICE_VULKAN_API_H

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <vulkan/vulkan_core.h>

#define LORAC_VULKAN_GLOBAL_FUNCTIONS(X)                                                                     \
  X(vkEnumerateInstanceVersion)                                                                              \
  X(vkEnumerateInstanceLayerProperties)                                                                      \
  X(vkEnumerateInstanceExtensionProperties)                                                                  \
  X(vkCreateInstance)

#define LORAC_VULKAN_INSTANCE_FUNCTIONS(X)                                                                   \
  X(vkDestroyInstance)                                                                                       \
  X(vkEnumeratePhysicalDevices)                                                                              \
  X(vkEnumerateDeviceExtensionProperties)                                                                    \
  X(vkGetPhysicalDeviceProperties)                                                                           \
  X(vkGetPhysicalDeviceProperties2)                                                                          \
  X(vkGetPhysicalDeviceFeatures)                                                                             \
  X(vkGetPhysicalDeviceFormatProperties)                                                                     \
  X(vkGetPhysicalDeviceMemoryProperties)                                                                     \
  X(vkGetPhysicalDeviceQueueFamilyProperties)                                                                \
  X(vkCreateDevice)                                                                                          \
  X(vkGetDeviceProcAddr)

#define LORAC_VULKAN_DEVICE_FUNCTIONS(X)                                                                     \
  X(vkDestroyDevice)                                                                                         \
  X(vkDeviceWaitIdle)                                                                                        \
  X(vkGetDeviceQueue)                                                                                        \
  X(vkCreateBuffer)                                                                                          \
  X(vkDestroyBuffer)                                                                                         \
  X(vkGetBufferMemoryRequirements)                                                                           \
  X(vkAllocateMemory)                                                                                        \
  X(vkFreeMemory)                                                                                            \
  X(vkGetMemoryHostPointerPropertiesEXT) /* null where the extension is not enabled */                       \
  X(vkBindBufferMemory)                                                                                      \
  X(vkMapMemory)                                                                                             \
  X(vkFlushMappedMemoryRanges)                                                                               \
  X(vkInvalidateMappedMemoryRanges)                                                                          \
  X(vkCreateBufferView)                                                                                      \
  X(vkDestroyBufferView)                                                                                     \
  X(vkCreateShaderModule)                                                                                    \
  X(vkDestroyShaderModule)                                                                                   \
  X(vkCreateDescriptorSetLayout)                                                                             \
  X(vkDestroyDescriptorSetLayout)                                                                            \
  X(vkCreatePipelineLayout)                                                                                  \
  X(vkDestroyPipelineLayout)                                                                                 \
  X(vkCreatePipelineCache)                                                                                   \
  X(vkDestroyPipelineCache)                                                                                  \
  X(vkGetPipelineCacheData)                                                                                  \
  X(vkCreateComputePipelines)                                                                                \
  X(vkDestroyPipeline)                                                                                       \
  X(vkCreateDescriptorPool)                                                                                  \
  X(vkDestroyDescriptorPool)                                                                                 \
  X(vkAllocateDescriptorSets)                                                                                \
  X(vkUpdateDescriptorSets)                                                                                  \
  X(vkCreateCommandPool)                                                                                     \
  X(vkDestroyCommandPool)                                                                                    \
  X(vkAllocateCommandBuffers)                                                                                \
  X(vkBeginCommandBuffer)                                                                                    \
  X(vkEndCommandBuffer)                                                                                      \
  X(vkCmdBindPipeline)                                                                                       \
  X(vkCmdBindDescriptorSets)                                                                                 \
  X(vkCmdPushConstants)                                                                                      \
  X(vkCmdDispatch)                                                                                           \
  X(vkCmdPipelineBarrier)                                                                                    \
  X(vkCmdFillBuffer)                                                                                         \
  X(vkCmdCopyBuffer)                                                                                         \
  X(vkCreateQueryPool)                                                                                       \
  X(vkDestroyQueryPool)                                                                                      \
  X(vkGetQueryPoolResults)                                                                                   \
  X(vkCmdResetQueryPool)                                                                                     \
  X(vkCmdWriteTimestamp)                                                                                     \
  X(vkCreateFence)                                                                                           \
  X(vkDestroyFence)                                                                                          \
  X(vkResetFences)                                                                                           \
  X(vkWaitForFences)                                                                                         \
  X(vkQueueSubmit)

namespace lorac::vulkan {

#define LORAC_MEMBER(NAME) PFN_##NAME NAME = nullptr;
struct GlobalApi {
  PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr = nullptr;
  LORAC_VULKAN_GLOBAL_FUNCTIONS(LORAC_MEMBER)
};
struct InstanceApi {
  LORAC_VULKAN_INSTANCE_FUNCTIONS(LORAC_MEMBER)
};
struct DeviceApi {
  LORAC_VULKAN_DEVICE_FUNCTIONS(LORAC_MEMBER)
};
#undef LORAC_MEMBER

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_API_H
