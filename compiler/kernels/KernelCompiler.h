//===- KernelCompiler.h - kernel bodies to device code ----------*- C++ -*-===//
// One body of shaders/ in all its variants. Deterministic: the same request gives the same words.
#ifndef LORAC_COMPILER_KERNELS_KERNELCOMPILER_H
#define LORAC_COMPILER_KERNELS_KERNELCOMPILER_H

#include "compiler/kernels/KernelCache.h"
#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

struct KernelRequest {
  std::string catalog;                      ///< name in schemas/Catalog.def
  std::map<std::string, int64_t> constants; ///< exactly those that the catalog lists for it
  std::vector<fbs::EpilogueTerm>
      epilogue; ///< linear and map; empty on a linear with COMBINE = 1: y = segment 0
};

/// One compiled form; the fields of fbs::Variant.
struct CompiledVariant {
  std::string name;      ///< "texel", "storage", "plain"
  uint64_t features = 0; ///< bits of schemas/Features.def that the device must have
  bool texel = false;    ///< Read bindings are uniform texel buffers
  uint32_t lanes = 0;    ///< workgroup size along x
  std::vector<uint32_t> spirv;
};

/// Workgroup size of all Vulkan variants: what grids in terms of LANES count with.
constexpr uint32_t VulkanLanes = 8;

/// SPIR-V 1.3 for Vulkan 1.1, optimised and validated, in order of preference. The entry point is "main";
/// binding i of descriptor set 0 is element i of catalog::bindings(name, constants); push constants are the
/// catalog's, u32 each from offset 0. NotFound for an unknown kernel; InvalidArgument names the constant that
/// is missing, unknown or out of range, or the epilogue's mistake. Any number of threads may call it.
/// With a cache, what it has is not compiled again. `only` names the one variant to compile; empty: all.
Result<std::vector<CompiledVariant>>
compileVulkan(const KernelRequest &request, const KernelCache *cache = nullptr, std::string_view only = {});

/// One of the dispatches that a chain stands for.
struct ChainLink {
  KernelRequest kernel;
  bool waits = false; ///< a barrier stands before it
};
/// The links as one module (docs/decisions/0019), in the one variant that chains are run in. Bindings are
/// those of the links in order, then the chain's words, a storage buffer (schemas/Chain.h). Errors and
/// threads: as compileVulkan.
Result<CompiledVariant> compileChain(std::span<const ChainLink> links, const KernelCache *cache = nullptr);

/// shaders/raw_read.kernel, which no model uses and no catalog lists: what a device reads at most, through
/// one texel buffer or one storage buffer, in groups of `lanes`.
Result<std::vector<uint32_t>> compileRawRead(bool texel, uint32_t lanes);

} // namespace lorac

#endif // LORAC_COMPILER_KERNELS_KERNELCOMPILER_H
