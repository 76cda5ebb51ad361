//===- AdapterFile.h - adapter.lora, mapped and verified --------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_ADAPTERFILE_H
#define LORAC_RUNTIME_FILES_ADAPTERFILE_H

#include "schemas/adapter_generated.h"
#include "support/Digest.h"
#include "support/Files.h"
#include "support/Status.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lorac {

/// A bundle that passed every check (as ModelFile's). Immutable; share freely between threads.
class AdapterFile {
public:
  /// NotFound, Io, CorruptFile, Unsupported (a newer format), with the path in the message.
  static Result<std::shared_ptr<const AdapterFile>> open(const std::string &path);
  /// The same checks over bytes, which must outlive the result.
  static Result<std::shared_ptr<const AdapterFile>> parse(std::span<const uint8_t> bytes,
                                                          const std::string &name);

  const fbs::Adapter &metadata() const { return *root; }
  const std::string &path() const { return filePath; }
  std::span<const uint8_t> image() const;
  /// True where `fingerprint` is among those that the bundle accepts.
  bool fits(const Digest &fingerprint) const;

private:
  static Result<std::shared_ptr<const AdapterFile>> verify(MappedFile file, std::span<const uint8_t> bytes,
                                                           const std::string &name);

  MappedFile file;
  std::span<const uint8_t> bytes;
  std::vector<uint8_t> metadataBytes;
  const fbs::Adapter *root = nullptr;
  std::string filePath;
};

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_ADAPTERFILE_H
