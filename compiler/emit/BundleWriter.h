//===- BundleWriter.h - an adapter to adapter.lora ---------------*- C++ -*-===//
#ifndef LORAC_COMPILER_EMIT_BUNDLEWRITER_H
#define LORAC_COMPILER_EMIT_BUNDLEWRITER_H

#include "compiler/import/Peft.h"
#include "support/Status.h"

#include <cstdint>
#include <string>

namespace lorac {

struct BundleOptions {
  std::string name;     ///< stands in the bundle; not empty
  std::string version;  ///< the adapter's own version, any text
  bool float32 = false; ///< A and B as f32, else as f16 rounded to nearest, ties to even
};

struct BundleSummary {
  uint64_t sites = 0;
  uint64_t imageBytes = 0;
  uint64_t fileBytes = 0;
  uint32_t largestRank = 0;
};

/// Writes `adapter`, bound to `base` by the user's word, to `path`: whole or not at all. The same adapter,
/// base and options give the same bytes. A value that f16 cannot hold is Unsupported and names the site.
Result<BundleSummary> writeBundle(const PeftAdapter &adapter, const BaseDescription &base,
                                  const BundleOptions &options, const std::string &path);

} // namespace lorac

#endif // LORAC_COMPILER_EMIT_BUNDLEWRITER_H
