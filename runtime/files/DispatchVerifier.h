//===- DispatchVerifier.h - what a dispatch may reach -----------*- C++ -*-===//
// The verifier's knowledge of the kernels: how far each reads and writes its views, how long its loops run,
// and which groups its grid may have. With it no file makes a device work for longer than its weights,
// buffers and rows are large, nor reach outside what its views cover.
#ifndef LORAC_RUNTIME_FILES_DISPATCHVERIFIER_H
#define LORAC_RUNTIME_FILES_DISPATCHVERIFIER_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <array>
#include <cstdint>
#include <span>

namespace lorac {

/// Bytes of a binding, and where they lie.
struct DispatchView {
  uint64_t bytes = 0;  ///< of the view
  uint64_t offset = 0; ///< from the start of its space
  const fbs::Buffer *buffer = nullptr;
};

/// One dispatch of a program at given symbols; every index and count of it is verified. Views stand in the
/// order of the kernel's bindings, push constants in the catalog's.
struct Dispatch {
  const fbs::Model &model;
  const fbs::Kernel &kernel;
  std::array<uint64_t, 3> grid = {};
  std::span<const uint64_t> push;
  std::span<const DispatchView> views;
  uint64_t rows = 0;    ///< of the step, at most
  uint64_t outRows = 0; ///< of them with logits
  uint64_t pages = 0;   ///< of the cache
  uint64_t poolBytes = 0;
};

/// CorruptFile (without the file's name) with what the kernel would reach and what is there.
Status verifyDispatch(const Dispatch &dispatch);

/// True for a push constant that may hold symbols; the others are the same in every step.
bool pushMayVary(std::string_view name);

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_DISPATCHVERIFIER_H
