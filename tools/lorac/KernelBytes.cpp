//===- KernelBytes.cpp - what a dispatch has to move ----------------------===//
#include "tools/lorac/KernelBytes.h"

#include "runtime/files/Expression.h"

#include <algorithm>

namespace lorac::cli {
namespace {

/// Of t: the results of one rank tile, f32.
constexpr double TileBytes = 32;

const fbs::Program &programOf(const fbs::Model &model, size_t program) {
  return *model.programs()->Get(uint32_t(program));
}
const fbs::Command &commandOf(const fbs::Model &model, size_t program, uint32_t command) {
  return *programOf(model, program).commands()->Get(command);
}
const fbs::Kernel &kernelOf(const fbs::Model &model, const fbs::Command &command) {
  return *model.kernels()->Get(command.kernel());
}

/// The place of a push constant in its kernel; -1 where it has none of that name.
int pushIndex(const fbs::Kernel &kernel, std::string_view name) {
  for (uint32_t i = 0; kernel.push() && i < kernel.push()->size(); ++i)
    if (kernel.push()->Get(i)->string_view() == name)
      return int(i);
  return -1;
}

double value(const fbs::Model &model, uint32_t expression, std::span<const uint64_t> symbols) {
  return double(evaluate(model, expression, symbols).value_or(0));
}

uint64_t groups(const fbs::Model &model, const fbs::Command &command, std::span<const uint64_t> symbols) {
  uint64_t all = 1;
  for (uint32_t axis : *command.grid())
    all *= evaluate(model, axis, symbols).value_or(0);
  return all;
}

/// "model.layers.3.mlp.up_proj.weight" as "up_proj".
std::string lastPart(std::string_view name) {
  for (std::string_view ending : {".weight", ".bias"})
    if (name.ends_with(ending))
      name.remove_suffix(ending.size());
  return std::string(name.substr(name.rfind('.') + 1));
}

} // namespace

KernelBytes::KernelBytes(const Engine &engine, std::vector<std::shared_ptr<const AdapterFile>> adapters)
    : engine(engine), model(engine.model().metadata()), adapters(std::move(adapters)) {}

std::string KernelBytes::kernel(size_t program, uint32_t command) const {
  return kernelOf(model, commandOf(model, program, command)).catalog()->str();
}

std::string KernelBytes::weights(size_t program, uint32_t command) const {
  const fbs::Command &entry = commandOf(model, program, command);
  std::vector<uint64_t> symbols = engine.symbolValues({});
  for (const fbs::View *view : *entry.views()) {
    const fbs::Buffer &buffer = *programOf(model, program).buffers()->Get(view->buffer());
    if (buffer.space() != fbs::Space::Weight)
      continue;
    double begin = value(model, buffer.offset(), symbols) + value(model, view->offset(), symbols);
    double end = begin + value(model, view->size(), symbols);
    std::string names;
    for (const fbs::Weight *weight : *model.weights()) {
      auto offset = double(weight->offset());
      if (offset + double(weight->size()) > begin && offset < end)
        names += (names.empty() ? "" : "+") + lastPart(weight->name()->string_view());
    }
    return names;
  }
  return {};
}

double KernelBytes::poolBytes(const fbs::Command &command, const fbs::Kernel &kernel,
                              std::span<const uint64_t> values) const {
  // Who writes t reads A, who reads t reads B. Its size says for how many segments, or parts of one; the
  // numbers of sites beyond them mean nothing.
  bool readsA = false;
  int segments = 0;
  for (uint32_t i = 0; i < kernel.bindings()->size(); ++i) {
    const fbs::Binding &binding = *kernel.bindings()->Get(i);
    if (binding.role()->string_view() != "t")
      continue;
    readsA = binding.access() == fbs::Access::Write;
    segments = int(value(model, command.views()->Get(i)->size(), values) /
                   (double(engine.loadSymbols().maxItems) * TileBytes));
  }
  for (const fbs::Constant *constant : *kernel.constants())
    if (constant->name()->string_view() == "T_PARTS")
      segments /= int(constant->value());
  double bytes = 0;
  for (int site = 0; site < segments; ++site) {
    int at = pushIndex(kernel, "site_" + std::to_string(site));
    if (at < 0)
      break;
    auto index = uint64_t(value(model, command.push()->Get(uint32_t(at)), values));
    if (index >= model.sites()->size())
      continue; // the null record
    std::string_view name = model.sites()->Get(uint32_t(index))->name()->string_view();
    for (const std::shared_ptr<const AdapterFile> &adapter : adapters)
      for (const fbs::AdapterSite *entry : *adapter->metadata().sites())
        if (entry->name()->string_view() == name)
          bytes += 8.0 * double(entry->rank_tiles()) *
                   double(readsA ? entry->in_features() : entry->out_features()) *
                   (adapter->metadata().type() == fbs::AdapterType::F32 ? 4 : 2);
  }
  return bytes;
}

double KernelBytes::of(size_t program, uint32_t command, const StepSymbols &symbols, double attended) const {
  const fbs::Program &holder = programOf(model, program);
  const fbs::Command &entry = commandOf(model, program, command);
  const fbs::Kernel &kernel = kernelOf(model, entry);
  std::vector<uint64_t> values = engine.symbolValues(symbols);
  const LoadSymbols &load = engine.loadSymbols();

  // Buffers of rows have room for all that the program serves; those behind a gather for the rows asked for.
  StepSymbols noneAsked = symbols, allAsked = symbols;
  noneAsked.outRows = 0;
  allAsked.outRows = symbols.rows;
  bool gathered = groups(model, entry, engine.symbolValues(noneAsked)) !=
                  groups(model, entry, engine.symbolValues(allAsked));
  double rows = double(gathered ? symbols.outRows : symbols.rows);
  double capacity = double(holder.rows_max());
  if (gathered) {
    auto most = model.symbols()->Get(uint32_t(engine.model().symbolIndex("out_rows")))->maximum();
    capacity = std::min(capacity, double(most));
  }
  double positions = double(load.pages) * double(model.page_tokens());
  bool lookup = pushIndex(kernel, "table_rows") >= 0;

  double bytes = 0;
  for (uint32_t i = 0; i < entry.views()->size(); ++i) {
    const fbs::View &view = *entry.views()->Get(i);
    const fbs::Binding &binding = *kernel.bindings()->Get(i);
    double size = value(model, view.size(), values);
    switch (holder.buffers()->Get(view.buffer())->space()) {
    case fbs::Space::Weight: // a token is in one of a table's windows
      bytes += lookup ? size * rows / double(model.vocab_size()) : size;
      break;
    case fbs::Space::Arena:
    case fbs::Space::Out:
      bytes += binding.role()->string_view() == "t" ? size * double(symbols.items) / double(load.maxItems)
                                                    : size * rows / capacity;
      break;
    case fbs::Space::Cache:
      bytes += size / positions * (binding.access() == fbs::Access::Write ? rows : attended);
      break;
    case fbs::Space::Pool:
      bytes += poolBytes(entry, kernel, values);
      break;
    case fbs::Space::Step:
      break;
    }
  }
  return bytes;
}

} // namespace lorac::cli
