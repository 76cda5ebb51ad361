//===- Context.cpp - one VkDevice and its queue -----------------------------===//
#include "runtime/device/vulkan/Context.h"

#include "runtime/device/vulkan/DriverThreads.h"

namespace lorac::vulkan {
namespace {

constexpr const char *DriverThreadName = "lorac-driver";

} // namespace

Result<std::unique_ptr<Context>> Context::create(std::shared_ptr<Instance> instance,
                                                 const PhysicalDevice &physical,
                                                 const std::function<void(DeviceApi &)> &adjustApi) {
  std::unique_ptr<Context> context(new Context());
  const InstanceApi &api = instance->api;
  context->instance = instance;
  context->caps = physical.caps;

  float priority = 1.0f;
  VkDeviceQueueCreateInfo queueInfo = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queueInfo.queueFamilyIndex = physical.queueFamily;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  VkPhysicalDeviceFeatures features = {};
  features.robustBufferAccess = physical.caps.robustBufferAccess;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queueInfo;
  info.enabledExtensionCount = uint32_t(physical.extensions.size());
  info.ppEnabledExtensionNames = physical.extensions.data();
  info.pEnabledFeatures = &features;
  VkDevice device = VK_NULL_HANDLE;
  {
    ThreadNames names(DriverThreadName);
    LORAC_TRY(context->check(api.vkCreateDevice(physical.handle, &info, nullptr, &device), "vkCreateDevice"));
  }
  context->device = device; // only now: a failed call may leave anything in it
#define LORAC_LOAD(NAME)                                                                                     \
  context->api.NAME = reinterpret_cast<PFN_##NAME>(api.vkGetDeviceProcAddr(context->device, #NAME));
  LORAC_VULKAN_DEVICE_FUNCTIONS(LORAC_LOAD)
#undef LORAC_LOAD
  if (adjustApi)
    adjustApi(context->api);
  context->api.vkGetDeviceQueue(context->device, physical.queueFamily, 0, &context->queue);

  VkCommandPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  poolInfo.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  poolInfo.queueFamilyIndex = physical.queueFamily;
  LORAC_ASSIGN(context->commandPool,
               context->make(context->api.vkCreateCommandPool, context->api.vkDestroyCommandPool, poolInfo,
                             "vkCreateCommandPool"));
  VkFenceCreateInfo fenceInfo = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  LORAC_ASSIGN(context->fence, context->make(context->api.vkCreateFence, context->api.vkDestroyFence,
                                             fenceInfo, "vkCreateFence"));
  LORAC_ASSIGN(context->once, context->allocateCommands());
  LORAC_TRY(context->probeBufferMemory());
  if (context->caps.isLavapipe)
    giveWorkersCores(DriverThreadName);
  return context;
}

Context::~Context() {
  if (device == VK_NULL_HANDLE)
    return;
  if (api.vkDeviceWaitIdle)
    (void)api.vkDeviceWaitIdle(device); // a lost device has nothing left to wait for
  fence.reset();
  commandPool.reset();
  if (api.vkDestroyDevice)
    api.vkDestroyDevice(device, nullptr);
}

Status Context::check(VkResult result, const char *call) {
  if (result >= 0)
    return Status::ok();
  LORAC_TRY(instance->validationStatus());
  Status status = resultStatus(result, call);
  if (status.code() == Code::DeviceLost)
    lostStatus = status;
  return status;
}

/// Vulkan promises the same memory types for all buffers of one usage, so one small buffer tells them.
Status Context::probeBufferMemory() {
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 256;
  info.usage = BufferUsage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  LORAC_ASSIGN(Handle<VkBuffer> buffer,
               make(api.vkCreateBuffer, api.vkDestroyBuffer, info, "vkCreateBuffer"));
  VkMemoryRequirements requirements;
  api.vkGetBufferMemoryRequirements(device, buffer.get(), &requirements);
  caps.bufferMemoryTypes = requirements.memoryTypeBits;
  return Status::ok();
}

Result<VkCommandBuffer> Context::allocateCommands() {
  VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = commandPool.get();
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  LORAC_TRY(check(api.vkAllocateCommandBuffers(device, &info, &commands), "vkAllocateCommandBuffers"));
  return commands;
}

Result<VkCommandBuffer> Context::beginOnce() {
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  LORAC_TRY(check(api.vkBeginCommandBuffer(once, &info), "vkBeginCommandBuffer"));
  return once;
}

Status Context::endOnce(VkCommandBuffer commands) {
  LORAC_TRY(check(api.vkEndCommandBuffer(commands), "vkEndCommandBuffer"));
  return submitAndWait(commands, Waiting::Asleep);
}

Status Context::submitAndWait(VkCommandBuffer commands, Waiting waiting) {
  LORAC_TRY(lostStatus);
  VkFence raised = fence.get();
  LORAC_TRY(check(api.vkResetFences(device, 1, &raised), "vkResetFences"));
  VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  LORAC_TRY(check(api.vkQueueSubmit(queue, 1, &info, raised), "vkQueueSubmit"));
  if (waiting == Waiting::Awake && caps.deviceClass == DeviceClass::Cpu)
    coreKeeper.begin();
  VkResult result = VK_TIMEOUT; // a driver may cut the longest wait short
  while (result == VK_TIMEOUT)
    result = api.vkWaitForFences(device, 1, &raised, VK_TRUE, UINT64_MAX);
  coreKeeper.end();
  Status waited = check(result, "vkWaitForFences");
  // After a failed wait nobody knows what the device still writes: nothing of it may be used again, whatever
  // the reason was.
  if (!waited.isOk() && lostStatus.isOk())
    lostStatus = Status(Code::DeviceLost) << waited.message() << "; open a new session";
  return lostStatus;
}

} // namespace lorac::vulkan
