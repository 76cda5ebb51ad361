//===- Pipelines.cpp - kernels as compute pipelines -------------------------===//
#include "runtime/device/vulkan/Pipelines.h"

#include "runtime/device/vulkan/PipelineCache.h"
#include "runtime/device/vulkan/Stopwatch.h"
#include "runtime/files/ModelFile.h"

#include <cstring>
#include <exception>

namespace lorac::vulkan {

Result<Pipelines> Pipelines::create(Context &context, const ModelFile &model, std::vector<uint32_t> variants,
                                    const std::string &cacheFolder, DeviceCounters &counters) {
  Stopwatch watch(counters.pipelineNanoseconds);
  Pipelines result;
  result.model = &model;
  result.pipelines.resize(variants.size());
  result.variants = std::move(variants);
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

Result<const Pipeline *> Pipelines::get(Context &context, uint32_t index, DeviceCounters &counters) {
  if (!pipelines[index]) {
    Stopwatch watch(counters.pipelineNanoseconds);
    const fbs::Kernel &kernel = *model->metadata().kernels()->Get(index);
    LORAC_ASSIGN(pipelines[index], build(context, kernel, *kernel.variants()->Get(variants[index])));
    ++counters.pipelinesMade;
    anyMade = true;
  }
  return &*pipelines[index];
}

Result<Pipeline> Pipelines::build(Context &context, const fbs::Kernel &kernel, const fbs::Variant &variant) {
  const DeviceApi &api = context.api;
  Pipeline result;
  for (const fbs::Binding *binding : *kernel.bindings()) {
    bool texel = variant.texel() && binding->access() == fbs::Access::Read;
    result.types.push_back(texel ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                 : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
  }
  uint32_t pushBytes = kernel.push() ? kernel.push()->size() * 4 : 0;
  LORAC_ASSIGN(result.setLayout, setLayout(context, result.types));
  LORAC_ASSIGN(result.layout, pipelineLayout(context, result.setLayout, pushBytes));

  const std::vector<uint32_t> words = model->code(variant);
  LORAC_ASSIGN(ShaderFacts shader, readShader(words));
  VkShaderModuleCreateInfo moduleInfo = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  moduleInfo.codeSize = words.size() * 4;
  moduleInfo.pCode = words.data();
  LORAC_ASSIGN(
      Handle<VkShaderModule> module,
      context.make(api.vkCreateShaderModule, api.vkDestroyShaderModule, moduleInfo, "vkCreateShaderModule"));

  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module.get();
  info.stage.pName = shader.entryPoint.c_str();
  info.layout = result.layout;
  VkPipeline handle = VK_NULL_HANDLE;
  LORAC_TRY(
      context.check(api.vkCreateComputePipelines(context.device, cache.get(), 1, &info, nullptr, &handle),
                    "vkCreateComputePipelines"));
  result.handle = Handle<VkPipeline>(context.device, handle, api.vkDestroyPipeline);
  return result;
}

} // namespace lorac::vulkan
