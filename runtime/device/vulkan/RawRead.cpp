//===- RawRead.cpp - how fast a device reads at all -------------------------===//
#include "runtime/device/vulkan/RawRead.h"

#include "runtime/device/vulkan/Memory.h"
#include "runtime/device/vulkan/Timestamps.h"
#include "support/Checked.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace lorac::vulkan {
namespace {

constexpr uint64_t PieceBytes = 16;
/// What a group reads: long enough that a CPU device's cost of a group does not show, short enough that 128
/// MiB fill a GPU.
constexpr uint64_t GroupPieces = 8192;
/// Memory that nobody wrote may be one page of zeros that an operating system maps everywhere.
constexpr uint32_t FillWord = 0x9e3779b9;

class Reader {
public:
  Reader(Context &context, const ReadKernel &kernel) : context(context), api(context.api), kernel(kernel) {}

  Result<ReadTimes> run(const AllocationPlan &like, uint64_t asked, uint32_t repetitions) {
    uint64_t limit = kernel.texel ? uint64_t(context.caps.maxTexelBufferElements) * PieceBytes
                                  : context.caps.maxStorageBufferRange;
    limit = std::min({limit, context.caps.maxMemoryAllocationSize, context.caps.maxBufferSize,
                      context.caps.maxWorkGroupCount[0] * GroupPieces * PieceBytes});
    uint64_t wanted = std::min(asked, limit);
    pieces = std::min(GroupPieces, wanted / PieceBytes);
    if (pieces == 0)
      return Status(Code::InvalidArgument)
             << "vulkan: a read of " << asked << " bytes was asked for; ask for at least " << PieceBytes;
    groups = uint32_t(wanted / (pieces * PieceBytes));
    ReadTimes times;
    times.bytes = uint64_t(groups) * pieces * PieceBytes;
    LORAC_TRY(makeBuffers(like, times.bytes));
    LORAC_TRY(makePipeline());
    LORAC_TRY(makeSet());
    LORAC_TRY(fill());
    for (uint32_t i = 0; i <= repetitions; ++i) {
      LORAC_ASSIGN(double seconds, once());
      if (i > 0)
        times.seconds.push_back(seconds);
    }
    return times;
  }

private:
  Status makeBuffers(const AllocationPlan &like, uint64_t bytes) {
    DeviceCounters aside;       // this is no memory of the model's
    AllocationPlan plan = like; // a mapping may decide what pages the memory has
    plan.offset = 0;
    plan.size = bytes;
    LORAC_ASSIGN(source, allocate(context, plan, BufferUsage, aside));
    plan.size = uint64_t(groups) * kernel.lanes * sizeof(uint32_t);
    LORAC_ASSIGN(sums, allocate(context, plan, BufferUsage, aside));
    return Status::ok();
  }

  VkDescriptorType sourceType() const {
    return kernel.texel ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  }

  Status makePipeline() {
    std::array<VkDescriptorSetLayoutBinding, 2> bindings = {
        {{0, sourceType(), 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
         {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}}};
    VkDescriptorSetLayoutCreateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
    setInfo.bindingCount = uint32_t(bindings.size());
    setInfo.pBindings = bindings.data();
    LORAC_ASSIGN(setLayout, context.make(api.vkCreateDescriptorSetLayout, api.vkDestroyDescriptorSetLayout,
                                         setInfo, "vkCreateDescriptorSetLayout"));
    VkDescriptorSetLayout set = setLayout.get();
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)};
    VkPipelineLayoutCreateInfo layoutInfo = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
    layoutInfo.setLayoutCount = 1;
    layoutInfo.pSetLayouts = &set;
    layoutInfo.pushConstantRangeCount = 1;
    layoutInfo.pPushConstantRanges = &range;
    LORAC_ASSIGN(layout, context.make(api.vkCreatePipelineLayout, api.vkDestroyPipelineLayout, layoutInfo,
                                      "vkCreatePipelineLayout"));
    VkShaderModuleCreateInfo moduleInfo = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
    moduleInfo.codeSize = kernel.spirv.size() * sizeof(uint32_t);
    moduleInfo.pCode = kernel.spirv.data();
    LORAC_ASSIGN(Handle<VkShaderModule> module,
                 context.make(api.vkCreateShaderModule, api.vkDestroyShaderModule, moduleInfo,
                              "vkCreateShaderModule"));
    VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module.get();
    info.stage.pName = "main";
    info.layout = layout.get();
    VkPipeline handle = VK_NULL_HANDLE;
    LORAC_TRY(context.check(
        api.vkCreateComputePipelines(context.device, VK_NULL_HANDLE, 1, &info, nullptr, &handle),
        "vkCreateComputePipelines"));
    pipeline = Handle<VkPipeline>(context.device, handle, api.vkDestroyPipeline);
    return Status::ok();
  }

  Status makeSet() {
    std::array<VkDescriptorPoolSize, 2> sizes = {
        {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2}, {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 1}}};
    VkDescriptorPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    poolInfo.maxSets = 1;
    poolInfo.poolSizeCount = uint32_t(sizes.size());
    poolInfo.pPoolSizes = sizes.data();
    LORAC_ASSIGN(pool, context.make(api.vkCreateDescriptorPool, api.vkDestroyDescriptorPool, poolInfo,
                                    "vkCreateDescriptorPool"));
    VkDescriptorSetLayout layouts = setLayout.get();
    VkDescriptorSetAllocateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
    setInfo.descriptorPool = pool.get();
    setInfo.descriptorSetCount = 1;
    setInfo.pSetLayouts = &layouts;
    LORAC_TRY(context.check(api.vkAllocateDescriptorSets(context.device, &setInfo, &set),
                            "vkAllocateDescriptorSets"));
    if (kernel.texel) {
      VkBufferViewCreateInfo viewInfo = {VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
      viewInfo.buffer = source.buffer.get();
      viewInfo.format = VK_FORMAT_R32G32B32A32_UINT;
      viewInfo.range = source.size;
      LORAC_ASSIGN(texels, context.make(api.vkCreateBufferView, api.vkDestroyBufferView, viewInfo,
                                        "vkCreateBufferView"));
    }
    VkBufferView view = texels.get();
    std::array<VkDescriptorBufferInfo, 2> buffers = {
        {{source.buffer.get(), 0, source.size}, {sums.buffer.get(), 0, sums.size}}};
    std::array<VkWriteDescriptorSet, 2> writes = {};
    for (uint32_t i = 0; i < writes.size(); ++i) {
      writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
      writes[i].dstSet = set;
      writes[i].dstBinding = i;
      writes[i].descriptorCount = 1;
      writes[i].descriptorType = i == 0 ? sourceType() : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      writes[i].pBufferInfo = &buffers[i];
      writes[i].pTexelBufferView = &view;
    }
    api.vkUpdateDescriptorSets(context.device, uint32_t(writes.size()), writes.data(), 0, nullptr);
    return Status::ok();
  }

  Status fill() {
    LORAC_ASSIGN(VkCommandBuffer commands, context.beginOnce());
    api.vkCmdFillBuffer(commands, source.buffer.get(), 0, source.size, FillWord);
    return context.endOnce(commands);
  }

  /// By the device's clock where it has one: a submission takes a GPU as long as reading some megabytes.
  Result<double> once() {
    LORAC_ASSIGN(VkCommandBuffer commands, context.beginOnce());
    bool clock = context.caps.timestampBits > 0;
    if (clock) {
      Status reset = timestamps.reset(context, commands, 1);
      if (!reset) {
        (void)api.vkEndCommandBuffer(commands); // a recording that was begun is ended
        return reset;
      }
      timestamps.begin(api, commands);
    }
    auto elements = uint32_t(pieces);
    api.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.get());
    api.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout.get(), 0, 1, &set, 0,
                                nullptr);
    api.vkCmdPushConstants(commands, layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof elements,
                           &elements);
    api.vkCmdDispatch(commands, groups, 1, 1);
    if (clock)
      timestamps.end(api, commands);
    auto began = std::chrono::steady_clock::now();
    LORAC_TRY(context.endOnce(commands));
    double host = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (!clock)
      return host;
    LORAC_ASSIGN(std::vector<double> spans, timestamps.read(context));
    return spans[0];
  }

  Context &context;
  const DeviceApi &api;
  const ReadKernel &kernel;
  uint64_t pieces = 0; // of a group
  uint32_t groups = 0;
  Allocation source, sums;
  Handle<VkBufferView> texels;
  Handle<VkDescriptorSetLayout> setLayout;
  Handle<VkPipelineLayout> layout;
  Handle<VkPipeline> pipeline;
  Handle<VkDescriptorPool> pool;
  VkDescriptorSet set = VK_NULL_HANDLE;
  Timestamps timestamps;
};

} // namespace

Result<ReadTimes> timeReads(Context &context, const ReadKernel &kernel, const AllocationPlan &like,
                            uint64_t bytes, uint32_t repetitions) {
  return Reader(context, kernel).run(like, bytes, repetitions);
}

} // namespace lorac::vulkan
