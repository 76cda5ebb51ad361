//===- Pipelines.cpp - kernels as compute pipelines -------------------------===//
#include "runtime/device/vulkan/Pipelines.h"

#include "runtime/device/vulkan/PipelineCache.h"
#include "runtime/device/vulkan/Stopwatch.h"
#include "runtime/device/vulkan/TexelFormat.h"
#include "runtime/files/Chain.h"
#include "runtime/files/ModelFile.h"
#include "support/Threads.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>

namespace lorac::vulkan {

Result<Pipelines> Pipelines::create(Context &context, const ModelFile &model, const DevicePlan &plan,
                                    const std::string &cacheFolder, DeviceCounters &counters) {
  Stopwatch watch(counters.pipelineNanoseconds);
  Pipelines result;
  result.model = &model;
  result.pipelines.resize(plan.variants.size() + plan.chains.size());
  result.variants = plan.variants;
  result.chains = plan.chains;
  result.cacheFolder = cacheFolder;
  VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  auto make = [&] {
    return context.make(context.api.vkCreatePipelineCache, context.api.vkDestroyPipelineCache, info,
                        "vkCreatePipelineCache");
  };
  std::vector<uint8_t> data;
  if (!cacheFolder.empty())
    data = pipelinecache::read(cacheFolder, context.caps.identity);
  if (!data.empty()) {
    info.initialDataSize = data.size();
    info.pInitialData = data.data();
    if (auto made = make()) {
      result.cache = *std::move(made);
      result.cacheRead = sha256(data);
      counters.pipelineCacheBytes = data.size();
      return result;
    }
    LORAC_TRY(context.lost());
    info.initialDataSize = 0; // a driver that does not take its own data starts without them
    info.pInitialData = nullptr;
  }
  LORAC_ASSIGN(result.cache, make());
  return result;
}

void Pipelines::save(Context &context) noexcept {
  try {
    if (cacheFolder.empty() || !anyMade || !context.lost().isOk())
      return;
    const DeviceApi &api = context.api;
    size_t size = 0;
    if (api.vkGetPipelineCacheData(context.device, cache.get(), &size, nullptr) != VK_SUCCESS || size == 0)
      return;
    std::vector<uint8_t> data(size);
    if (api.vkGetPipelineCacheData(context.device, cache.get(), &size, data.data()) != VK_SUCCESS)
      return; // incomplete ones too: the next process has another try
    data.resize(size);
    if (sha256(data) != cacheRead)
      pipelinecache::write(cacheFolder, context.caps.identity, data);
  } catch (const std::exception &) {
    cacheFolder.clear(); // no memory for it: pipelines will be made anew
  }
}

Result<VkDescriptorSetLayout> Pipelines::setLayout(Context &context,
                                                   const std::vector<VkDescriptorType> &types) {
  if (auto found = setLayouts.find(types); found != setLayouts.end())
    return found->second.get();
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (size_t i = 0; i < types.size(); ++i)
    bindings.push_back({uint32_t(i), types[i], 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  VkDescriptorSetLayoutCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.bindingCount = uint32_t(bindings.size());
  info.pBindings = bindings.data();
  LORAC_ASSIGN(Handle<VkDescriptorSetLayout> handle,
               context.make(context.api.vkCreateDescriptorSetLayout, context.api.vkDestroyDescriptorSetLayout,
                            info, "vkCreateDescriptorSetLayout"));
  return setLayouts.emplace(types, std::move(handle)).first->second.get();
}

Result<VkPipelineLayout> Pipelines::pipelineLayout(Context &context, VkDescriptorSetLayout set,
                                                   uint32_t pushBytes) {
  if (auto found = layouts.find({set, pushBytes}); found != layouts.end())
    return found->second.get();
  VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, pushBytes};
  VkPipelineLayoutCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = 1;
  info.pSetLayouts = &set;
  info.pushConstantRangeCount = pushBytes > 0 ? 1 : 0;
  info.pPushConstantRanges = &range;
  LORAC_ASSIGN(Handle<VkPipelineLayout> handle,
               context.make(context.api.vkCreatePipelineLayout, context.api.vkDestroyPipelineLayout, info,
                            "vkCreatePipelineLayout"));
  return layouts.emplace(std::pair(set, pushBytes), std::move(handle)).first->second.get();
}

/// All that a pipeline is made of.
struct Pipelines::Order {
  uint32_t kernel = 0;
  Pipeline pipeline; ///< without its handle
  std::string entryPoint;
  size_t codeBytes = 0;
  Handle<VkShaderModule> module;
  VkPipeline made = VK_NULL_HANDLE;
  VkResult result = VK_SUCCESS;
};

Result<Pipelines::Order> Pipelines::order(Context &context, uint32_t index) {
  const auto &kernels = *model->metadata().kernels();
  const bool isChain = index >= kernels.size();
  const fbs::Chain *chain = isChain ? model->metadata().chains()->Get(index - kernels.size()) : nullptr;
  const fbs::Variant &variant = isChain ? *chain->variants()->Get(*chains[index - kernels.size()])
                                        : *kernels[index]->variants()->Get(variants[index]);
  Order result;
  result.kernel = index;
  std::vector<const fbs::Binding *> bindings;
  if (isChain)
    bindings = bindingsOf(model->metadata(), *chain);
  else
    bindings.assign(kernels[index]->bindings()->begin(), kernels[index]->bindings()->end());
  for (const fbs::Binding *binding : bindings) {
    const bool texel = variant.texel() && binding->access() == fbs::Access::Read;
    result.pipeline.types.push_back(texel ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                          : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
    result.pipeline.formats.push_back(texel ? texelFormat(binding->element()) : VK_FORMAT_UNDEFINED);
  }
  if (isChain) { // its words
    result.pipeline.types.push_back(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
    result.pipeline.formats.push_back(VK_FORMAT_UNDEFINED);
  }
  const uint32_t pushBytes = isChain || !kernels[index]->push() ? 0 : kernels[index]->push()->size() * 4;
  LORAC_ASSIGN(result.pipeline.setLayout, setLayout(context, result.pipeline.types));
  LORAC_ASSIGN(result.pipeline.layout, pipelineLayout(context, result.pipeline.setLayout, pushBytes));

  LORAC_ASSIGN(const std::vector<uint32_t> words, model->code(variant));
  LORAC_ASSIGN(ShaderFacts shader, readShader(words));
  result.entryPoint = std::move(shader.entryPoint);
  VkShaderModuleCreateInfo moduleInfo = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  moduleInfo.codeSize = result.codeBytes = words.size() * 4;
  moduleInfo.pCode = words.data();
  LORAC_ASSIGN(result.module,
               context.make(context.api.vkCreateShaderModule, context.api.vkDestroyShaderModule, moduleInfo,
                            "vkCreateShaderModule"));
  return result;
}

Status Pipelines::make(Context &context, const std::set<uint32_t> &kernels, DeviceCounters &counters) {
  Stopwatch watch(counters.pipelineNanoseconds);
  const DeviceApi &api = context.api;
  std::vector<Order> orders;
  for (uint32_t kernel : kernels)
    if (!pipelines[kernel]) {
      LORAC_ASSIGN(Order next, order(context, kernel));
      orders.push_back(std::move(next));
    }
  // The longest first, so that none is left alone at the end.
  std::stable_sort(orders.begin(), orders.end(),
                   [](const Order &a, const Order &b) { return a.codeBytes > b.codeBytes; });
  const size_t threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  forEachOnThreads(orders.size(), threads, [&](size_t i) {
    Order &order = orders[i];
    VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = order.module.get();
    info.stage.pName = order.entryPoint.c_str();
    info.layout = order.pipeline.layout;
    order.result = api.vkCreateComputePipelines(context.device, cache.get(), 1, &info, nullptr, &order.made);
  });
  Status status;
  for (Order &order : orders) {
    Status one = context.check(order.result, "vkCreateComputePipelines");
    if (!one) {
      if (status.isOk())
        status = one;
      continue;
    }
    order.pipeline.handle = Handle<VkPipeline>(context.device, order.made, api.vkDestroyPipeline);
    pipelines[order.kernel] = std::move(order.pipeline);
    ++counters.pipelinesMade;
    anyMade = true;
  }
  return status;
}

} // namespace lorac::vulkan
