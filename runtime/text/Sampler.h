//===- Sampler.h - the next token from logits -------------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_SAMPLER_H
#define LORAC_RUNTIME_TEXT_SAMPLER_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac {

/// SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), figure 16,
/// with Stafford's 13th mixer. 64 bits of state, every seed good; the same everywhere, which std::'s
/// distributions are not.
class SplitMix64 {
public:
  explicit SplitMix64(uint64_t seed) : state(seed) {}
  uint64_t next();
  /// Uniform in [0, 1): the upper 53 bits.
  double nextUnit() { return double(next() >> 11) * 0x1p-53; }

private:
  uint64_t state;
};

struct SamplerOptions {
  double temperature = 0; ///< 0 is greedy; finite, at least 0
  double topP = 1;        ///< in (0, 1]; 1 is off
  int64_t topK = 0;       ///< at least 0; 0 is off
  uint64_t seed = 0;

  /// InvalidArgument that names the option outside its range.
  Status validate() const;
};

/// Chooses one token after the other for one sequence. Greedy: the largest logit, on ties the lowest id.
/// Else, as transformers and vLLM order it: logits are divided by the temperature; the top-k largest stay (on
/// ties the lower ids); softmax, in double; of these, largest first, the fewest stay whose probabilities
/// reach top-p; one is drawn. Each choice that is not greedy takes one number of the generator. Same options
/// and logits, same tokens. Not for several threads at once.
class Sampler {
public:
  /// For options that validate() has passed.
  explicit Sampler(const SamplerOptions &options) : options(options), random(options.seed) {}
  /// Validates first.
  static Result<Sampler> create(const SamplerOptions &options);

  /// An index of `logits`. InvalidArgument for none, for NaN or +infinity among them, or for -infinity
  /// throughout; -infinity rules a token out.
  Result<uint32_t> sample(std::span<const float> logits);

private:
  SamplerOptions options;
  SplitMix64 random;
  std::vector<uint32_t> order; ///< kept between calls for its memory
  std::vector<double> weights;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_SAMPLER_H
