//===- Needs.cpp - what a model file asks of a device -----------------------===//
#include "runtime/device/vulkan/Plan.h"
#include "runtime/files/Chain.h"
#include "runtime/files/Expression.h"
#include "runtime/files/ModelFile.h"
#include "schemas/Catalog.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace lorac::vulkan {
namespace {

class NeedsReader {
public:
  NeedsReader(const ModelFile &model, const LoadSymbols &load)
      : model(model), load(load), root(model.metadata()) {}

  Result<ModelNeeds> read() {
    needs.path = model.path();
    LORAC_TRY(model.checkSizes(symbolValues(model, load, {})));
    for (const fbs::Kernel *kernel : *root.kernels())
      LORAC_TRY(addKernel(*kernel));
    for (uint32_t i = 0; root.chains() && i < root.chains()->size(); ++i)
      LORAC_TRY(addChain(*root.chains()->Get(i)));
    for (const fbs::Program *program : *root.programs())
      addProgram(*program);
    return std::move(needs);
  }

private:
  static BindingNeeds needsOf(const fbs::Binding &binding) {
    return {binding.role()->str(), binding.access() == fbs::Access::Read,
            uint32_t(catalog::elementBytes(binding.element())), 0};
  }

  Status addKernel(const fbs::Kernel &kernel) {
    KernelNeeds entry;
    entry.name = kernel.name()->str();
    for (const fbs::Binding *binding : *kernel.bindings())
      entry.bindings.push_back(needsOf(*binding));
    entry.pushBytes = kernel.push() ? kernel.push()->size() * 4 : 0;
    LORAC_TRY(addVariants(entry, *kernel.variants()));
    needs.kernels.push_back(std::move(entry));
    return Status::ok();
  }

  /// After the kernels.
  Status addChain(const fbs::Chain &chain) {
    KernelNeeds entry;
    entry.name = chain.name()->str();
    for (const fbs::Binding *binding : bindingsOf(root, chain))
      entry.bindings.push_back(needsOf(*binding));
    entry.bindings.push_back({"words", false, 4, 0});
    LORAC_TRY(addVariants(entry, *chain.variants()));
    needs.chains.push_back(std::move(entry));
    return Status::ok();
  }

  Status addVariants(KernelNeeds &entry,
                     const flatbuffers::Vector<flatbuffers::Offset<fbs::Variant>> &variants) {
    for (const fbs::Variant *variant : variants) {
      auto words = model.code(*variant);
      auto shader = words ? readShader(*words) : words.status();
      if (!shader)
        return Status(Code::CorruptFile)
               << model.path() << ": kernel '" << entry.name << "', variant '" << variant->name()->str()
               << "': " << shader.status().message() << "; compile the model again";
      entry.variants.push_back({variant->name()->str(), variant->features(), variant->texel(),
                                variant->lanes(), std::move(*shader)});
      LORAC_TRY(checkInterface(entry, entry.variants.back()));
    }
    return Status::ok();
  }

  /// What the code binds must be what its pipeline layout will have: drivers trust that.
  Status checkInterface(const KernelNeeds &kernel, const VariantNeeds &variant) const {
    const auto corrupt = [&] {
      return Status(Code::CorruptFile) << model.path() << ": kernel '" << kernel.name << "', variant '"
                                       << variant.name << "': its code ";
    };
    if (variant.shader.pushBytes > kernel.pushBytes)
      return corrupt() << "takes " << variant.shader.pushBytes << " bytes of push constants, the kernel has "
                       << kernel.pushBytes << "; compile the model again";
    for (const ShaderBinding &binding : variant.shader.bindings) {
      if (binding.binding >= kernel.bindings.size())
        return corrupt() << "has binding " << binding.binding << " of " << kernel.bindings.size()
                         << "; compile the model again";
      const bool texel = variant.texel && kernel.bindings[binding.binding].read;
      if (binding.texel != texel)
        return corrupt() << "takes binding " << binding.binding << " as a "
                         << (binding.texel ? "texel" : "storage") << " buffer, the file says a "
                         << (texel ? "texel" : "storage") << " buffer; compile the model again";
    }
    return Status::ok();
  }

  /// Every expression here has a value: checkSizes passed, and grids were verified at the symbols' maxima.
  void addProgram(const fbs::Program &program) {
    std::vector<uint64_t> values = symbolValues(model, load, {program.rows_max(), program.rows_max(), 1});
    auto value = [&](uint32_t expression) { return evaluate(root, expression, values).value_or(0); };
    for (const fbs::Buffer *buffer : *program.buffers()) {
      uint64_t offset = value(buffer->offset()), size = value(buffer->size());
      if (size != 0 && seen.insert({buffer->space(), offset, size}).second)
        needs.spaces[size_t(buffer->space())].push_back({offset, size, buffer->name()->str()});
    }
    for (uint32_t at = 0; at < program.commands()->size(); ++at) {
      const fbs::Command *command = program.commands()->Get(at);
      if (command->kind() == fbs::CommandKind::Run) {
        const auto &kernels = *root.chains()->Get(command->kernel())->kernels();
        size_t binding = 0;
        for (uint32_t i = 0; i < command->link(); ++i)
          binding += needs.kernels[kernels[i]].bindings.size();
        for (const fbs::Command *link : linksOfRun(program, at))
          for (const fbs::View *view : *link->views()) {
            uint64_t &bytes = needs.chains[command->kernel()].bindings[binding++].bytes;
            bytes = std::max(bytes, value(view->size()));
          }
      }
      if (command->kind() != fbs::CommandKind::Dispatch)
        continue;
      KernelNeeds &kernel = needs.kernels[command->kernel()];
      for (uint32_t i = 0; i < command->views()->size(); ++i)
        kernel.bindings[i].bytes =
            std::max(kernel.bindings[i].bytes, value(command->views()->Get(i)->size()));
      for (uint32_t axis = 0; axis < 3; ++axis)
        kernel.grid[axis] = std::max(kernel.grid[axis], value(command->grid()->Get(axis)));
    }
  }

  const ModelFile &model;
  const LoadSymbols &load;
  const fbs::Model &root;
  ModelNeeds needs;
  std::set<std::tuple<fbs::Space, uint64_t, uint64_t>> seen;
};

} // namespace

Result<ModelNeeds> modelNeeds(const ModelFile &model, const LoadSymbols &symbols) {
  return NeedsReader(model, symbols).read();
}

} // namespace lorac::vulkan
