//===- Peft.h - LoRA adapters as PEFT saves them ----------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_PEFT_H
#define LORAC_COMPILER_IMPORT_PEFT_H

#include "compiler/import/TensorSource.h"
#include "support/Digest.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac {

constexpr uint64_t kMaxAdapterRank = 1024;              // of every kernel and of a bundle
constexpr uint64_t kMaxAdapterConfigBytes = 4ull << 20; // of adapter_config.json
constexpr size_t kMaxAdapterPatterns = size_t(1) << 15; // of a kind; one a site of 4096 layers is less
/// Steps of all patterns on all modules of one adapter, some seconds. A pattern in use takes some dozens on a
/// module; a pattern a module of 120 layers takes half of this.
constexpr uint64_t kMaxPatternSteps = uint64_t(1) << 26;

/// What an adapter is bound to. A tool fills it from a model file (or a module).
struct BaseDescription {
  /// A linear layer that adapters may target, in the model's order.
  struct Site {
    std::string name; // "model.layers.0.self_attn.q_proj"
    uint64_t in = 0;
    uint64_t out = 0;
  };
  /// A tensor of the base; `digest` over its values as little-endian f32. A tied head is not listed.
  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;
    Digest digest = {};
  };
  std::string file; // for messages
  std::vector<Site> sites;
  std::vector<Tensor> tensors;
  Digest fingerprint = {};
};

/// One site of an adapter: y += scaling * (B·(A·x) + bias).
struct PeftSite {
  std::string name;
  uint64_t in = 0;
  uint64_t out = 0;
  uint32_t rank = 0;
  double scaling = 0;               // alpha / r, or alpha / sqrt(r)
  TensorSource a;                   // [rank, in]
  TensorSource b;                   // [out, rank]
  std::optional<TensorSource> bias; // [1, out]
};

/// How a configuration key or a tensor was treated: "honoured", "folded" or "dropped", and why.
struct PeftTreatment {
  std::string item;
  std::string verdict;
  std::string reason;
};

struct PeftAdapter {
  std::string directory;
  std::vector<PeftSite> sites; // in the base's order
  std::vector<PeftTreatment> treatments;
};

/// Reads adapter_config.json and adapter_model.safetensors of `directory` and binds every tensor to a site of
/// `base`. Whatever is not known to be honoured, or to change nothing at inference, is refused by name; so is
/// a configuration that contradicts the tensors. All values have been read once: they are finite. The
/// adapter's sources keep their file mapped.
Result<PeftAdapter> readPeft(const std::string &directory, const BaseDescription &base);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_PEFT_H
