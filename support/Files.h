//===- Files.h - mapping files and replacing them whole ---------*- C++ -*-===//
#ifndef LORAC_SUPPORT_FILES_H
#define LORAC_SUPPORT_FILES_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

/// A whole file mapped read-only. Moves keep addresses. The file may be replaced or deleted meanwhile, as
/// AtomicFile does it: the mapping keeps the old one. Where somebody cuts it short in place, or its disk
/// fails, reading the mapping raises SIGBUS, which no check beforehand can rule out; `lorac` ends with an
/// error then.
class MappedFile {
public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  /// NotFound, Io, or InvalidArgument for what is not a regular file. An empty file maps to an empty span.
  static Result<MappedFile> open(const std::string &path);

  std::span<const uint8_t> bytes() const { return {data, size}; }
  const std::string &path() const { return filePath; }
  /// Tells the kernel that [offset, offset + length) is not needed for now (bounds resident memory).
  void release(uint64_t offset, uint64_t length) const;

private:
  const uint8_t *data = nullptr;
  uint64_t size = 0;
  std::string filePath;
};

/// A regular file's bytes, read and not mapped: nothing that is done to the file later can hurt. `limit`
/// bounds what is read; a larger file is InvalidArgument.
Result<std::vector<uint8_t>> readFile(const std::string &path, uint64_t limit);

/// A small text file, whole. `limit` bounds what is read; a larger file is InvalidArgument.
Result<std::string> readTextFile(const std::string &path, uint64_t limit);

/// Where a result that a user named `path` is written: there, or where a symbolic link there points to. So
/// that a mistyped name or that of an input costs nobody a file, InvalidArgument where what it would replace
/// is no regular file, or has content that does not begin with `magic`; `kind` tells what is written ("a
/// model file"). Why nothing can be written there is not looked at.
Result<std::string> resultPath(const std::string &path, std::string_view magic, std::string_view kind);

/// Writes into `path`'s folder and takes its place only at commit(): a file without a name, fsync, a
/// temporary name, rename, fsync of the folder. Without commit nothing remains, nor where the process is
/// killed while it writes. File systems that know no files without a name (O_TMPFILE) get a temporary one,
/// "PATH.tmp-" and six characters: there a killed process leaves it behind, and nothing reads it.
class AtomicFile {
public:
  AtomicFile() = default;
  ~AtomicFile();
  AtomicFile(AtomicFile &&other) noexcept;
  AtomicFile &operator=(AtomicFile &&other) noexcept;
  AtomicFile(const AtomicFile &) = delete;
  AtomicFile &operator=(const AtomicFile &) = delete;

  static Result<AtomicFile> create(const std::string &path);
  Status write(std::span<const uint8_t> bytes);
  /// Overwrites bytes already written (a header known only at the end).
  Status writeAt(uint64_t offset, std::span<const uint8_t> bytes);
  /// Zeros up to the next multiple of `alignment`.
  Status padTo(uint64_t alignment);
  uint64_t position() const { return written; }
  Status commit();

private:
  Status nameTemporary();

  int descriptor = -1;
  uint64_t written = 0;
  std::string finalPath;
  std::string temporaryPath; // empty while it has no name
};

} // namespace lorac

#endif // LORAC_SUPPORT_FILES_H
