//===- TensorSource.h - one tensor's bytes in a file, as f32 ----*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_TENSORSOURCE_H
#define LORAC_COMPILER_IMPORT_TENSORSOURCE_H

#include "compiler/import/FileCache.h"
#include "support/Digest.h"
#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

/// How values are encoded in their file. The numbers are those of the lora dialect's SourceType.
enum class Encoding : uint8_t {
  F32 = 0,
  F16 = 1,
  BF16 = 2,
  Q4_0 = 3,
  Q4_1 = 4,
  Q8_0 = 5,
  Q5_0 = 6,
  Q5_1 = 7,
  Q4_K = 8,
  Q5_K = 9,
  Q6_K = 10
};

struct EncodingInfo {
  std::string_view name;
  uint64_t blockValues;
  uint64_t blockBytes;
};
const EncodingInfo &encodingInfo(Encoding encoding);

/// Where a matrix [rows, cols] is. A vector of n values is [1, n].
struct TensorLocation {
  std::string file; // absolute where it is to stand in a dump
  uint64_t offset = 0;
  uint64_t size = 0; // bytes
  Encoding encoding = Encoding::F32;
  uint64_t rows = 0;
  uint64_t cols = 0;
  /// Heads whose rows are rotary-interleaved in the file: with h = rows / heads, stored row head*h + 2*i + j
  /// is row head*h + j*h/2 + i of the tensor. 0: none.
  uint64_t interleavedHeads = 0;
};

/// Reads a tensor's rows as f32, in Hugging Face's row order. Const functions may be called from several
/// threads.
class TensorSource {
public:
  /// Checks the location against the file. `name` stands in messages.
  static Result<TensorSource> open(FileCache &files, const TensorLocation &location, std::string name);

  const std::string &name() const { return tensorName; }
  const TensorLocation &location() const { return where; }
  uint64_t rows() const { return where.rows; }
  uint64_t cols() const { return where.cols; }

  /// Rows [rowBegin, rowBegin + rowCount) to `out`, rowCount * cols() values. Dequantization is computed in
  /// f32, exactly as the block types define it. A value that is NaN or infinite is an error that names the
  /// tensor.
  Status readRows(uint64_t rowBegin, uint64_t rowCount, float *out) const;

  /// The bytes of row `row` as its file has them; row < rows().
  const uint8_t *storedRow(uint64_t row) const;

  /// SHA-256 of all values as little-endian f32, in row order; in bounded memory. `progress`, where given, is
  /// told the number of values each time some are done.
  Result<Digest> digest(const std::function<void(uint64_t values)> &progress = {}) const;

  /// Tells the system that the tensor's pages are not needed for now.
  void release() const { file->release(where.offset, where.size); }

private:
  TensorLocation where;
  std::string tensorName;
  std::shared_ptr<const MappedFile> file;
};

/// The digests of all `tensors`, in their order, computed on `threads` threads; the largest go first. The
/// pages that were read are released. `progress`, where given, is told values done and values in all, by one
/// thread at a time.
Result<std::vector<Digest>>
digestTensors(std::span<const TensorSource> tensors, unsigned threads,
              const std::function<void(uint64_t done, uint64_t total)> &progress = {});

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_TENSORSOURCE_H
