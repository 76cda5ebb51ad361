//===- KernelCache.h - compiled kernels kept between compilations -*- C++ -*-===//
#ifndef LORAC_COMPILER_KERNELS_KERNELCACHE_H
#define LORAC_COMPILER_KERNELS_KERNELCACHE_H

#include "support/Digest.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac {

/// A folder of SPIR-V modules by the digest of all that made them (source text, optimizer passes, compiler
/// build), so a hit has the bytes that compiling would give. An entry that is damaged is as one that is
/// absent. Any number of threads and processes may share a folder: entries appear whole.
class KernelCache {
public:
  /// Makes the folder where it is missing; Io where it cannot.
  static Result<KernelCache> open(const std::string &folder);

  std::optional<std::vector<uint32_t>> find(const Digest &key) const;
  /// Best effort: an entry that cannot be written is compiled again next time.
  void store(const Digest &key, const std::vector<uint32_t> &words) const;

private:
  explicit KernelCache(std::string path) : folder(std::move(path)) {}
  std::string entryPath(const Digest &key) const { return folder + "/" + toHex(key) + ".spv"; }

  std::string folder;
};

} // namespace lorac

#endif // LORAC_COMPILER_KERNELS_KERNELCACHE_H
