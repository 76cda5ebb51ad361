//===- KernelBytes.h - what a dispatch has to move --------------*- C++ -*-===//
#ifndef LORAC_TOOLS_LORAC_KERNELBYTES_H
#define LORAC_TOOLS_LORAC_KERNELBYTES_H

#include "runtime/engine/Engine.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lorac::cli {

/// The least bytes that the dispatches of a model must read and write, from their views: each weight of a
/// dispatch once (of an embedding table the rows looked up), activations of the rows that run, keys and
/// values of the positions attended, A and B of the adapters that run, each once. Step tables, some hundred
/// bytes a row, are left out; so is what a kernel reads again because caches serve it.
class KernelBytes {
public:
  /// `adapters`: a bundle for each slot that the rows use, one that stands in two slots twice. `engine` must
  /// outlive this.
  KernelBytes(const Engine &engine, std::vector<std::shared_ptr<const AdapterFile>> adapters);

  /// Of a dispatch that ran with these symbols, where the rows together attended to `attended` positions.
  double of(size_t program, uint32_t command, const StepSymbols &symbols, double attended) const;
  /// The catalog's name of the dispatch's kernel.
  std::string kernel(size_t program, uint32_t command) const;
  /// The weights that it reads, by the last parts of their names ("q_proj+k_proj+v_proj"); empty where none.
  std::string weights(size_t program, uint32_t command) const;

private:
  double poolBytes(const fbs::Command &command, const fbs::Kernel &kernel,
                   std::span<const uint64_t> values) const;

  const Engine &engine;
  const fbs::Model &model;
  std::vector<std::shared_ptr<const AdapterFile>> adapters;
};

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_KERNELBYTES_H
