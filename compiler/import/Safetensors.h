//===- Safetensors.h - reads and verifies .safetensors files ----*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_SAFETENSORS_H
#define LORAC_COMPILER_IMPORT_SAFETENSORS_H

#include "compiler/import/FileCache.h"
#include "compiler/import/TensorSource.h"
#include "support/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lorac {

constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000; // the format's own limit
constexpr uint64_t kMaxSafetensorsIndexBytes = 32ull << 20;  // the largest in use have some 10 MB
constexpr size_t kMaxShardNameBytes = 255;                   // of a file name, in all file systems of Linux

struct SafetensorsEntry {
  std::string file;
  std::string dtype; // as the file writes it ("BF16")
  std::vector<uint64_t> shape;
  uint64_t offset = 0; // from the start of the file
  uint64_t size = 0;
};

/// Tensors by name.
using SafetensorsTable = std::map<std::string, SafetensorsEntry>;

/// Every rule of the format is checked: header length, a JSON object without double keys, offsets that cover
/// the data without hole or overlap, sizes that agree with dtype and shape.
Result<SafetensorsTable> readSafetensors(FileCache &files, const std::string &path);

/// The tensors of `directory`: model.safetensors, or the shards that model.safetensors.index.json lists
/// (which must be named as files beside it and hold what the list says; a link that stands beside it is
/// followed, for that is how a hub's cache looks). What else the list claims (total_size) is not used.
Result<SafetensorsTable> readSafetensorsCheckpoint(FileCache &files, const std::string &directory);

/// Where the entry is, as a matrix; a vector is one row. Unsupported, naming the dtype, for all but F32, F16
/// and BF16 and for other ranks than 1 and 2.
Result<TensorLocation> locate(const std::string &name, const SafetensorsEntry &entry);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_SAFETENSORS_H
