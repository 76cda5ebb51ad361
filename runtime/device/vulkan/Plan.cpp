//===- Plan.cpp - kernel variants and memory for one device -----------------===//
#include "runtime/device/vulkan/Plan.h"

#include "support/Checked.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <tuple>

namespace lorac::vulkan {
namespace {

constexpr unsigned bitOf(std::string_view feature) {
#define FEATURE(NAME, BIT, MEANING)                                                                          \
  if (feature == #NAME)                                                                                      \
    return BIT;
#include "schemas/Features.def"
#undef FEATURE
  return 64;
}
constexpr unsigned SubgroupBit = bitOf("subgroup");
static_assert(SubgroupBit < 64);

/// A reason why a variant does not run: the feature of Features.def (or the limit) and what is short.
std::string lacks(const char *feature, const std::string &why) {
  return std::string(feature) + " (" + why + ")";
}

std::string needHave(const std::string &what, uint64_t need, uint64_t have) {
  return what + " " + std::to_string(need) + ", the device has " + std::to_string(have);
}

/// Whether the device runs modules with this capability (SPIR-V specification, 3.31). Others need features
/// that Features.def does not name and that are never enabled.
bool offersCapability(const DeviceCaps &caps, uint32_t capability) {
  switch (capability) {
  case 0:  // Matrix
  case 1:  // Shader
  case 46: // SampledBuffer
  case 50: // ImageQuery
    return true;
  case 61:
    return caps.subgroupInCompute && caps.subgroupBasic;
  case 62:
    return caps.subgroupInCompute && caps.subgroupVote;
  case 63:
    return caps.subgroupInCompute && caps.subgroupArithmetic;
  case 64:
    return caps.subgroupInCompute && caps.subgroupBallot;
  case 65:
    return caps.subgroupInCompute && caps.subgroupShuffle;
  case 66:
    return caps.subgroupInCompute && caps.subgroupShuffleRelative;
  case 67:
    return caps.subgroupInCompute && caps.subgroupClustered;
  case 68:
    return caps.subgroupInCompute && caps.subgroupQuad;
  default:
    return false;
  }
}

/// What of the features that `variant` names the device does not have.
std::optional<std::string> missingFeature(const DeviceCaps &caps, const VariantNeeds &variant) {
  uint64_t left = variant.features;
#define FEATURE(NAME, BIT, MEANING)                                                                          \
  if (variant.features >> BIT & 1) {                                                                         \
    left &= ~(uint64_t(1) << BIT);                                                                           \
    if (caps.denies(#NAME))                                                                                  \
      return lacks(#NAME, "denied");                                                                         \
  }
#include "schemas/Features.def"
#undef FEATURE
  if (left != 0)
    return "feature bits " + std::to_string(left) + " (unknown to this version)";
  if (variant.texel && caps.denies("texel"))
    return lacks("texel", "denied");
  // Code that names subgroups takes groups of several of them too, as long as each has 8 lanes.
  if (variant.features >> SubgroupBit & 1 && !caps.hasSubgroups())
    return lacks("subgroup", "the device lacks 8 lanes, or ballot, shuffle or arithmetic in compute shaders");
  return std::nullopt;
}

/// What of the kernel's sizes the device cannot bind.
std::optional<std::string> missingRange(const DeviceCaps &caps, const KernelNeeds &kernel,
                                        const VariantNeeds &variant) {
  uint32_t texelBuffers = 0, storageBuffers = 0;
  for (const BindingNeeds &binding : kernel.bindings) {
    if (variant.texel && binding.read) {
      ++texelBuffers;
      uint64_t elements = binding.bytes / binding.elementBytes;
      if (elements > caps.maxTexelBufferElements)
        return lacks("texel",
                     needHave("elements of '" + binding.role + "'", elements, caps.maxTexelBufferElements));
    } else {
      ++storageBuffers;
      if (binding.bytes > caps.maxStorageBufferRange)
        return lacks("storage",
                     needHave("bytes of '" + binding.role + "'", binding.bytes, caps.maxStorageBufferRange));
    }
  }
  if (texelBuffers > 0 && !caps.texelFormats)
    return lacks("texel", "no uniform texel buffers of 32-bit formats");
  if (texelBuffers > caps.maxTexelBuffersPerStage)
    return lacks("texel", needHave("buffers", texelBuffers, caps.maxTexelBuffersPerStage));
  if (storageBuffers > caps.maxStorageBuffersPerStage)
    return lacks("storage", needHave("buffers", storageBuffers, caps.maxStorageBuffersPerStage));
  return std::nullopt;
}

/// What of the code itself the device does not take.
std::optional<std::string> missingForShader(const DeviceCaps &caps, const KernelNeeds &kernel,
                                            const VariantNeeds &variant) {
  const ShaderFacts &shader = variant.shader;
  if (shader.version > caps.spirvVersion)
    return "SPIR-V 1." + std::to_string(shader.version >> 8 & 0xff) + " (the device takes 1." +
           std::to_string(caps.spirvVersion >> 8 & 0xff) + ")";
  for (uint32_t capability : shader.capabilities)
    if (!offersCapability(caps, capability))
      return "SPIR-V capability " + std::to_string(capability);
  if (shader.localSize != std::array<uint32_t, 3>{variant.lanes, 1, 1})
    return "code of " + std::to_string(variant.lanes) + " lanes (it has " +
           std::to_string(shader.localSize[0]) + "x" + std::to_string(shader.localSize[1]) + "x" +
           std::to_string(shader.localSize[2]) + ")";
  if (variant.lanes > std::min(caps.maxWorkGroupSize[0], caps.maxWorkGroupInvocations))
    return "workgroup size (" +
           needHave("lanes", variant.lanes,
                    std::min(caps.maxWorkGroupSize[0], caps.maxWorkGroupInvocations)) +
           ")";
  if (shader.sharedBytes > caps.maxSharedMemorySize)
    return "shared memory (" + needHave("bytes", shader.sharedBytes, caps.maxSharedMemorySize) + ")";
  if (kernel.pushBytes > caps.maxPushConstantsSize)
    return "push constants (" + needHave("bytes", kernel.pushBytes, caps.maxPushConstantsSize) + ")";
  return std::nullopt;
}

std::optional<std::string> whatIsMissing(const DeviceCaps &caps, const KernelNeeds &kernel,
                                         const VariantNeeds &variant) {
  std::optional<std::string> missing = missingFeature(caps, variant);
  if (!missing)
    missing = missingRange(caps, kernel, variant);
  if (!missing)
    missing = missingForShader(caps, kernel, variant);
  return missing;
}

Result<uint32_t> chooseVariant(const DeviceCaps &caps, const ModelNeeds &needs, const KernelNeeds &kernel) {
  std::string reasons;
  for (size_t i = 0; i < kernel.variants.size(); ++i) {
    const VariantNeeds &variant = kernel.variants[i];
    std::optional<std::string> missing = whatIsMissing(caps, kernel, variant);
    if (!missing)
      return uint32_t(i);
    reasons += (reasons.empty() ? "" : "; ") + ("variant '" + variant.name + "' needs " + *missing);
  }
  return Status(Code::Incompatible) << needs.path << ": kernel '" << kernel.name << "' has no variant for "
                                    << caps.name << ": " << reasons
                                    << "; choose another device or a smaller session, or deny less";
}

/// A chain is a faster way to run its links, which run without it as well: where it does not fit, it is left.
std::optional<uint32_t> chooseChain(const DeviceCaps &caps, const KernelNeeds &chain) {
  if (!caps.groupsMeet || caps.denies("chains"))
    return std::nullopt;
  for (size_t i = 0; i < chain.variants.size(); ++i)
    if (!whatIsMissing(caps, chain, chain.variants[i]))
      return uint32_t(i);
  return std::nullopt;
}

/// Neighbouring buffers share an allocation up to `limit`; overlapping ones always do.
Result<std::vector<AllocationPlan>> partition(const DeviceCaps &caps, const ModelNeeds &needs,
                                              std::vector<BufferNeeds> buffers, uint64_t limit) {
  std::sort(buffers.begin(), buffers.end(), [](const BufferNeeds &a, const BufferNeeds &b) {
    return std::tie(a.offset, a.size) < std::tie(b.offset, b.size);
  });
  uint64_t most = std::min(caps.maxMemoryAllocationSize, caps.maxBufferSize);
  limit = std::min(limit, most);
  std::vector<AllocationPlan> allocations;
  for (size_t i = 0; i < buffers.size();) {
    // A run of buffers that overlap cannot be cut.
    uint64_t start = buffers[i].offset, end = start + buffers[i].size;
    const std::string &name = buffers[i].name;
    for (++i; i < buffers.size() && buffers[i].offset < end; ++i)
      end = std::max(end, buffers[i].offset + buffers[i].size);
    if (end - start > most)
      return Status(Code::Incompatible) << needs.path << ": buffer '" << name << "' needs " << end - start
                                        << " bytes in one allocation, " << caps.name << " allows " << most
                                        << "; choose another device or a smaller session";
    if (!allocations.empty() && end - allocations.back().offset <= limit)
      allocations.back().size = end - allocations.back().offset;
    else
      allocations.push_back({start, end - start});
  }
  return allocations;
}

/// The best type that `usable` accepts by `score` (higher is better; the first of equals, as drivers order
/// them).
std::optional<uint32_t> chooseMemory(const DeviceCaps &caps,
                                     const std::function<bool(const MemoryType &)> &usable,
                                     const std::function<uint64_t(const MemoryType &)> &score) {
  std::optional<uint32_t> best;
  for (uint32_t i = 0; i < caps.memoryTypes.size(); ++i) {
    const MemoryType &type = caps.memoryTypes[i];
    if (!(caps.bufferMemoryTypes >> i & 1) || !usable(type))
      continue;
    if (!best || score(type) > score(caps.memoryTypes[*best]))
      best = i;
  }
  return best;
}

/// Weights, arena, cache and pool: the largest device-local heap; mapped where the host sees all of it.
std::optional<uint32_t> deviceMemoryType(const DeviceCaps &caps) {
  bool avoidHost = caps.denies("hostvisible");
  return chooseMemory(
      caps, [](const MemoryType &type) { return type.deviceLocal; },
      [&](const MemoryType &type) { // the heap's size decides, its low bits give way to the flags
        return caps.heaps[type.heap] / 4096 * 4 + (type.hostVisible != avoidHost ? 2 : 0) +
               (type.hostCoherent ? 1 : 0);
      });
}

/// Step buffers: written by the host front to back, read by the device.
std::optional<uint32_t> stepMemoryType(const DeviceCaps &caps) {
  return chooseMemory(
      caps, [](const MemoryType &type) { return type.hostVisible; },
      [](const MemoryType &type) { return (type.hostCoherent ? 2 : 0) + (type.deviceLocal ? 1 : 0); });
}

/// Out buffers: read by the host, so cached memory above all.
std::optional<uint32_t> outMemoryType(const DeviceCaps &caps) {
  return chooseMemory(
      caps, [](const MemoryType &type) { return type.hostVisible; },
      [](const MemoryType &type) { return (type.hostCached ? 2 : 0) + (type.hostCoherent ? 1 : 0); });
}

std::optional<uint32_t> stagingMemoryType(const DeviceCaps &caps) {
  return chooseMemory(
      caps, [](const MemoryType &type) { return type.hostVisible; },
      [](const MemoryType &type) { return (type.hostCoherent ? 2 : 0) + (type.deviceLocal ? 0 : 1); });
}

} // namespace

Result<DevicePlan> planDevice(const DeviceCaps &caps, const ModelNeeds &needs, const PlanLimits &limits) {
  DevicePlan plan;
  for (const KernelNeeds &kernel : needs.kernels) {
    LORAC_ASSIGN(uint32_t variant, chooseVariant(caps, needs, kernel));
    plan.variants.push_back(variant);
    for (size_t axis = 0; axis < 3; ++axis)
      if (kernel.grid[axis] > caps.maxWorkGroupCount[axis])
        return Status(Code::Incompatible) << needs.path << ": kernel '" << kernel.name << "' needs "
                                          << needHave("groups along axis " + std::to_string(axis),
                                                      kernel.grid[axis], caps.maxWorkGroupCount[axis])
                                          << "; choose another device";
  }

  std::optional<uint32_t> device = deviceMemoryType(caps), step = stepMemoryType(caps),
                          out = outMemoryType(caps), staging = stagingMemoryType(caps);
  if (!device || !step || !out || !staging)
    return Status(Code::DeviceUnavailable)
           << caps.name << ": offers no memory that is device local, or none that the host can map"
           << "; choose another device";
  plan.words.memoryType = *step;
  plan.words.mapped = true;
  plan.words.coherent = caps.memoryTypes[*step].hostCoherent;
  for (const KernelNeeds &chain : needs.chains)
    plan.chains.push_back(plan.words.coherent ? chooseChain(caps, chain) : std::nullopt);

  std::map<uint32_t, uint64_t> heapBytes;
  std::array<uint64_t, SpaceCount> spaceBytes = {};
  for (size_t space = 0; space < SpaceCount; ++space) {
    LORAC_ASSIGN(plan.spaces[space], partition(caps, needs, needs.spaces[space], limits.allocationBytes));
    bool isStep = space == size_t(fbs::Space::Step), isOut = space == size_t(fbs::Space::Out);
    uint32_t memoryType = isStep ? *step : isOut ? *out : *device;
    const MemoryType &type = caps.memoryTypes[memoryType];
    for (AllocationPlan &allocation : plan.spaces[space]) {
      allocation.memoryType = memoryType;
      // Arena and cache are the device's alone.
      bool hostWrites = space == size_t(fbs::Space::Weight) || space == size_t(fbs::Space::Pool);
      allocation.mapped = isStep || isOut || (hostWrites && type.hostVisible && !caps.denies("hostvisible"));
      allocation.coherent = type.hostCoherent;
      allocation.hostPages =
          hostWrites && allocation.mapped && allocation.coherent && caps.hostPageAlignment > 0;
      plan.stagingNeeded |= hostWrites && !allocation.mapped;
      heapBytes[type.heap] += allocation.size;
      spaceBytes[space] += allocation.size;
      plan.totalBytes += allocation.size;
    }
  }
  plan.stagingMemoryType = *staging;
  plan.stagingCoherent = caps.memoryTypes[*staging].hostCoherent;
  plan.stagingBytes = limits.stagingBytes;
  if (plan.stagingNeeded) {
    heapBytes[caps.memoryTypes[*staging].heap] += plan.stagingBytes;
    plan.totalBytes += plan.stagingBytes;
  }
  for (auto [heap, bytes] : heapBytes)
    if (bytes > caps.heaps[heap])
      return Status(Code::OutOfMemory)
             << needs.path << ": needs " << bytes << " bytes of memory (weights "
             << spaceBytes[size_t(fbs::Space::Weight)] << ", arena " << spaceBytes[size_t(fbs::Space::Arena)]
             << ", cache " << spaceBytes[size_t(fbs::Space::Cache)] << ", adapters "
             << spaceBytes[size_t(fbs::Space::Pool)] << "), " << caps.name << " has " << caps.heaps[heap]
             << "; use a smaller context, fewer adapters or another device";
  return plan;
}

} // namespace lorac::vulkan
