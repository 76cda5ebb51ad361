// KernelRunner.cpp - as little Vulkan as one pipeline and a row of dispatches need.
#include "bench/KernelRunner.h"

#include "runtime/device/vulkan/TexelFormat.h"
#include "schemas/Catalog.h"

#include <chrono>

namespace lorac::bench {
namespace {

void check(VkResult result, const char *what) {
  if (result != VK_SUCCESS)
    throw VulkanFailure(std::string(what) + " gave " + std::to_string(result));
}

} // namespace

KernelRunner::KernelRunner() {
  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.apiVersion = VK_API_VERSION_1_2;
  VkInstanceCreateInfo instanceInfo = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  instanceInfo.pApplicationInfo = &application;
  check(vkCreateInstance(&instanceInfo, nullptr, &instance), "vkCreateInstance");
  uint32_t count = 1;
  if (VkResult result = vkEnumeratePhysicalDevices(instance, &count, &physical);
      (result != VK_SUCCESS && result != VK_INCOMPLETE) || count == 0)
    throw VulkanFailure("there is no Vulkan device");

  VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
  vkGetPhysicalDeviceProperties2(physical, &properties);
  deviceText =
      std::string(properties.properties.deviceName) + ", " + driver.driverName + ", " + driver.driverInfo;
  texelLimit = properties.properties.limits.maxTexelBufferElements;

  uint32_t families = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &families, nullptr);
  std::vector<VkQueueFamilyProperties> family(families);
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &families, family.data());
  uint32_t chosen = 0;
  while (chosen < families && !(family[chosen].queueFlags & VK_QUEUE_COMPUTE_BIT))
    ++chosen;
  if (chosen == families)
    throw VulkanFailure("the Vulkan device computes nothing");
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queueInfo = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queueInfo.queueFamilyIndex = chosen;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  VkDeviceCreateInfo deviceInfo = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  deviceInfo.queueCreateInfoCount = 1;
  deviceInfo.pQueueCreateInfos = &queueInfo;
  check(vkCreateDevice(physical, &deviceInfo, nullptr, &handle), "vkCreateDevice");
  vkGetDeviceQueue(handle, chosen, 0, &queue);

  VkPhysicalDeviceMemoryProperties memory;
  vkGetPhysicalDeviceMemoryProperties(physical, &memory);
  const VkMemoryPropertyFlags wanted =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  while (memoryType < memory.memoryTypeCount &&
         (memory.memoryTypes[memoryType].propertyFlags & wanted) != wanted)
    ++memoryType;
  VkCommandPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  poolInfo.queueFamilyIndex = chosen;
  check(vkCreateCommandPool(handle, &poolInfo, nullptr, &pool), "vkCreateCommandPool");
  VkFenceCreateInfo fenceInfo = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  check(vkCreateFence(handle, &fenceInfo, nullptr, &fence), "vkCreateFence");
}

KernelRunner::~KernelRunner() {
  if (handle) {
    vkDeviceWaitIdle(handle);
    for (VkBufferView view : views)
      vkDestroyBufferView(handle, view, nullptr);
    for (VkDescriptorPool made : descriptorPools)
      vkDestroyDescriptorPool(handle, made, nullptr);
    for (const Kernel &made : kernels) {
      vkDestroyPipeline(handle, made.pipeline, nullptr);
      vkDestroyPipelineLayout(handle, made.layout, nullptr);
      vkDestroyDescriptorSetLayout(handle, made.setLayout, nullptr);
    }
    for (const Buffer &made : buffers) {
      vkDestroyBuffer(handle, made.handle, nullptr);
      vkFreeMemory(handle, made.memory, nullptr);
    }
    vkDestroyFence(handle, fence, nullptr);
    vkDestroyCommandPool(handle, pool, nullptr);
    vkDestroyDevice(handle, nullptr);
  }
  if (instance)
    vkDestroyInstance(instance, nullptr);
}

const KernelRunner::Buffer *KernelRunner::buffer(size_t bytes) {
  Buffer made = {nullptr, nullptr, nullptr, bytes};
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = bytes;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT;
  check(vkCreateBuffer(handle, &info, nullptr, &made.handle), "vkCreateBuffer");
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(handle, made.handle, &needs);
  VkMemoryAllocateInfo allocation = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  allocation.allocationSize = needs.size;
  allocation.memoryTypeIndex = memoryType;
  check(vkAllocateMemory(handle, &allocation, nullptr, &made.memory), "vkAllocateMemory");
  check(vkBindBufferMemory(handle, made.handle, made.memory, 0), "vkBindBufferMemory");
  void *mapped = nullptr;
  check(vkMapMemory(handle, made.memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
  made.data = static_cast<std::byte *>(mapped);
  return &buffers.emplace_back(made);
}

const KernelRunner::Kernel *KernelRunner::kernel(std::span<const uint32_t> spirv,
                                                 std::vector<VkFormat> formats, size_t pushWords) {
  Kernel made = {std::move(formats), nullptr, nullptr, nullptr};
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (VkFormat format : made.formats) {
    VkDescriptorSetLayoutBinding binding = {uint32_t(bindings.size())};
    binding.descriptorType = format == VK_FORMAT_UNDEFINED ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                           : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
    binding.descriptorCount = 1;
    binding.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    bindings.push_back(binding);
  }
  VkDescriptorSetLayoutCreateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  setInfo.bindingCount = uint32_t(bindings.size());
  setInfo.pBindings = bindings.data();
  check(vkCreateDescriptorSetLayout(handle, &setInfo, nullptr, &made.setLayout),
        "vkCreateDescriptorSetLayout");
  VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, uint32_t(pushWords * 4)};
  VkPipelineLayoutCreateInfo layoutInfo = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  layoutInfo.setLayoutCount = 1;
  layoutInfo.pSetLayouts = &made.setLayout;
  layoutInfo.pushConstantRangeCount = pushWords > 0;
  layoutInfo.pPushConstantRanges = &range;
  check(vkCreatePipelineLayout(handle, &layoutInfo, nullptr, &made.layout), "vkCreatePipelineLayout");
  VkShaderModuleCreateInfo moduleInfo = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  moduleInfo.codeSize = spirv.size_bytes();
  moduleInfo.pCode = spirv.data();
  VkShaderModule code = nullptr;
  check(vkCreateShaderModule(handle, &moduleInfo, nullptr, &code), "vkCreateShaderModule");
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = code;
  info.stage.pName = "main";
  info.layout = made.layout;
  VkResult result = vkCreateComputePipelines(handle, nullptr, 1, &info, nullptr, &made.pipeline);
  vkDestroyShaderModule(handle, code, nullptr);
  check(result, "vkCreateComputePipelines");
  return &kernels.emplace_back(std::move(made));
}

const KernelRunner::Kernel *KernelRunner::kernel(const KernelRequest &request, std::string_view variant) {
  Result<std::vector<CompiledVariant>> compiled = compileVulkan(request, nullptr, variant);
  if (!compiled)
    throw VulkanFailure(compiled.status().message());
  for (const CompiledVariant &candidate : *compiled) {
    if (candidate.name != variant)
      continue;
    std::vector<VkFormat> formats;
    for (const catalog::Binding &binding : catalog::bindings(request.catalog, request.constants))
      formats.push_back(candidate.texel && binding.access == fbs::Access::Read
                            ? vulkan::texelFormat(binding.element)
                            : VK_FORMAT_UNDEFINED);
    return kernel(candidate.spirv, std::move(formats), catalog::pushes(request.catalog).size());
  }
  throw VulkanFailure("kernel " + request.catalog + " has no variant " + std::string(variant));
}

VkBufferView KernelRunner::texels(const View &view, VkFormat format) {
  VkBufferViewCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  info.buffer = view.buffer->handle;
  info.format = format;
  info.offset = view.offset;
  info.range = view.bytes;
  VkBufferView made = nullptr;
  check(vkCreateBufferView(handle, &info, nullptr, &made), "vkCreateBufferView");
  return views.emplace_back(made);
}

VkCommandBuffer KernelRunner::record(std::span<const Dispatch> dispatches) {
  uint32_t texelCount = 1, storageCount = 1;
  for (const Dispatch &dispatch : dispatches)
    for (VkFormat format : dispatch.kernel->formats)
      ++(format == VK_FORMAT_UNDEFINED ? storageCount : texelCount);
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, texelCount},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, storageCount}};
  VkDescriptorPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  poolInfo.maxSets = uint32_t(dispatches.size());
  poolInfo.poolSizeCount = 2;
  poolInfo.pPoolSizes = sizes;
  VkDescriptorPool sets = nullptr;
  check(vkCreateDescriptorPool(handle, &poolInfo, nullptr, &sets), "vkCreateDescriptorPool");
  descriptorPools.push_back(sets);

  VkCommandBufferAllocateInfo allocation = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  allocation.commandPool = pool;
  allocation.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocation.commandBufferCount = 1;
  VkCommandBuffer commands = nullptr;
  check(vkAllocateCommandBuffers(handle, &allocation, &commands), "vkAllocateCommandBuffers");
  VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  check(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
  for (const Dispatch &dispatch : dispatches) {
    const Kernel &kernel = *dispatch.kernel;
    if (dispatch.views.size() != kernel.formats.size())
      throw VulkanFailure("a dispatch of " + std::to_string(dispatch.views.size()) +
                          " views, its kernel has " + std::to_string(kernel.formats.size()) + " bindings");
    VkDescriptorSetAllocateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
    setInfo.descriptorPool = sets;
    setInfo.descriptorSetCount = 1;
    setInfo.pSetLayouts = &kernel.setLayout;
    VkDescriptorSet set = nullptr;
    check(vkAllocateDescriptorSets(handle, &setInfo, &set), "vkAllocateDescriptorSets");
    std::vector<VkBufferView> texelViews(dispatch.views.size());
    std::vector<VkDescriptorBufferInfo> ranges(dispatch.views.size());
    std::vector<VkWriteDescriptorSet> writes;
    for (uint32_t i = 0; i < dispatch.views.size(); ++i) {
      const View &view = dispatch.views[i];
      VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      write.dstSet = set;
      write.dstBinding = i;
      write.descriptorCount = 1;
      if (kernel.formats[i] == VK_FORMAT_UNDEFINED) {
        ranges[i] = {view.buffer->handle, view.offset, view.bytes};
        write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        write.pBufferInfo = &ranges[i];
      } else {
        texelViews[i] = texels(view, kernel.formats[i]);
        write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
        write.pTexelBufferView = &texelViews[i];
      }
      writes.push_back(write);
    }
    vkUpdateDescriptorSets(handle, uint32_t(writes.size()), writes.data(), 0, nullptr);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout, 0, 1, &set, 0, nullptr);
    if (!dispatch.push.empty())
      vkCmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         uint32_t(dispatch.push.size() * 4), dispatch.push.data());
    vkCmdDispatch(commands, dispatch.x, dispatch.y, 1);
  }
  check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
  return commands;
}

double KernelRunner::run(VkCommandBuffer commands) {
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  const auto start = std::chrono::steady_clock::now();
  check(vkQueueSubmit(queue, 1, &submit, fence), "vkQueueSubmit");
  check(vkWaitForFences(handle, 1, &fence, VK_TRUE, UINT64_MAX), "vkWaitForFences");
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  check(vkResetFences(handle, 1, &fence), "vkResetFences");
  return passed.count();
}

} // namespace lorac::bench
