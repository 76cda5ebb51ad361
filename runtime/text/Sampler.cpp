//===- Sampler.cpp - the next token from logits ---------------------------===//
#include "runtime/text/Sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lorac {

uint64_t SplitMix64::next() {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Status SamplerOptions::validate() const {
  if (!std::isfinite(temperature) || temperature < 0)
    return Status(Code::InvalidArgument)
           << "temperature is " << temperature << ", expected a finite number of at least 0";
  if (!(topP > 0 && topP <= 1))
    return Status(Code::InvalidArgument) << "top_p is " << topP << ", expected more than 0 and at most 1";
  if (topK < 0)
    return Status(Code::InvalidArgument) << "top_k is " << topK << ", expected at least 0 (0 is off)";
  return {};
}

Result<Sampler> Sampler::create(const SamplerOptions &options) {
  LORAC_TRY(options.validate());
  return Sampler(options);
}

Result<uint32_t> Sampler::sample(std::span<const float> logits) {
  if (logits.empty() || logits.size() > UINT32_MAX)
    return Status(Code::InvalidArgument) << "there are " << logits.size() << " logits to choose from";
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY)
      return Status(Code::InvalidArgument)
             << "the logit of token " << i << " is " << (std::isnan(logits[i]) ? "not a number" : "infinite")
             << "; the model's or an adapter's weights hold such values, or overflow in f16";
    if (logits[i] > logits[best])
      best = i;
  }
  if (logits[best] == -INFINITY)
    return Status(Code::InvalidArgument) << "every logit is -infinity: no token can be chosen";
  if (options.temperature == 0)
    return uint32_t(best);

  size_t count = logits.size();
  order.resize(count);
  std::iota(order.begin(), order.end(), 0u);
  auto before = [&](uint32_t a, uint32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  if (options.topK > 0 && uint64_t(options.topK) < count) {
    // Back in order of ids: without top-p, sorting by size would be for nothing.
    std::nth_element(order.begin(), order.begin() + options.topK - 1, order.end(), before);
    count = size_t(options.topK);
    std::sort(order.begin(), order.begin() + std::ptrdiff_t(count));
  }
  auto weightOf = [&](uint32_t id) {
    return std::exp((double(logits[id]) - double(logits[best])) / options.temperature);
  };
  weights.resize(count);
  double total = 0;
  for (size_t i = 0; i < count; ++i)
    total += weights[i] = weightOf(order[i]);

  if (options.topP < 1) {
    // Sorts no more of the vocabulary than the nucleus needs: ever larger heads, each after the last.
    double wanted = options.topP * total;
    double reached = 0;
    size_t kept = 0;
    for (size_t sorted = 0, step = 64; kept == 0; step *= 4) {
      size_t end = std::min(count, sorted + step);
      std::partial_sort(order.begin() + std::ptrdiff_t(sorted), order.begin() + std::ptrdiff_t(end),
                        order.begin() + std::ptrdiff_t(count), before);
      for (; sorted < end && kept == 0; ++sorted) {
        reached += weights[sorted] = weightOf(order[sorted]);
        if (reached >= wanted || sorted + 1 == count) // rounding may keep the sum just below
          kept = sorted + 1;
      }
    }
    count = kept;
    total = reached;
  }

  double target = random.nextUnit() * total;
  size_t chosen = 0;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    if (weights[i] == 0)
      continue;
    chosen = i; // the last one with any weight, should rounding carry the target past the sum
    sum += weights[i];
    if (target < sum)
      break;
  }
  return order[chosen];
}

} // namespace lorac
