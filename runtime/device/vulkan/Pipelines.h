//===- Pipelines.h - kernels as compute pipelines ---------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_PIPELINES_H
#define LORAC_RUNTIME_DEVICE_VULKAN_PIPELINES_H

#include "runtime/device/vulkan/Context.h"
#include "runtime/device/vulkan/Plan.h"
#include "schemas/model_generated.h"
#include "support/Digest.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace lorac::vulkan {

/// A kernel ready to be dispatched. Binding i of set 0 is the kernel's binding i.
struct Pipeline {
  Handle<VkPipeline> handle;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout setLayout = VK_NULL_HANDLE;
  std::vector<VkDescriptorType> types;
  std::vector<VkFormat> formats; ///< of each binding; VK_FORMAT_UNDEFINED: a storage buffer
};

/// Makes each kernel's pipeline when the first program that has it is made; programs share them, and kernels
/// of one shape share their layouts. Chains are numbered after the kernels.
class Pipelines {
public:
  /// `model` must outlive this; `cacheFolder` as DeviceOptions has it.
  static Result<Pipelines> create(Context &context, const ModelFile &model, const DevicePlan &plan,
                                  const std::string &cacheFolder, DeviceCounters &counters);
  /// Makes those of `kernels` that are not there yet, on several threads: drivers compile here. Those that
  /// could be made stay where one fails.
  Status make(Context &context, const std::set<uint32_t> &kernels, DeviceCounters &counters);
  /// One that make() has made.
  const Pipeline *get(uint32_t kernel) const { return &*pipelines[kernel]; }
  /// Whether the device runs a chain of the file.
  bool runsChain(uint32_t chain) const { return chains[chain].has_value(); }
  /// The number of a chain among the pipelines.
  uint32_t numberOf(uint32_t chain) const { return uint32_t(variants.size()) + chain; }
  /// Writes the cache on disk if it is wanted and would differ from what was read. What fails is left out.
  void save(Context &context) noexcept;

private:
  struct Order;
  Result<Order> order(Context &context, uint32_t kernel);
  Result<VkDescriptorSetLayout> setLayout(Context &context, const std::vector<VkDescriptorType> &types);
  Result<VkPipelineLayout> pipelineLayout(Context &context, VkDescriptorSetLayout set, uint32_t pushBytes);

  const ModelFile *model = nullptr;
  std::vector<uint32_t> variants;
  std::vector<std::optional<uint32_t>> chains;
  Handle<VkPipelineCache> cache;
  std::string cacheFolder;
  bool anyMade = false;
  Digest cacheRead = {}; ///< of the data that the disk gave
  std::map<std::vector<VkDescriptorType>, Handle<VkDescriptorSetLayout>> setLayouts;
  std::map<std::pair<VkDescriptorSetLayout, uint32_t>, Handle<VkPipelineLayout>> layouts;
  std::vector<std::optional<Pipeline>> pipelines;
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_PIPELINES_H
