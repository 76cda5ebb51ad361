//===- Gguf.h - reads and verifies .gguf files ------------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_GGUF_H
#define LORAC_COMPILER_IMPORT_GGUF_H

#include "compiler/import/FileCache.h"
#include "compiler/import/TensorSource.h"
#include "support/Status.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

// Limits far above any real file, so that a wrong count is an error and not an endless loop.
constexpr uint64_t kMaxGgufKeys = uint64_t(1) << 16;
constexpr uint64_t kMaxGgufTensors = uint64_t(1) << 20;
constexpr uint64_t kMaxGgufNameBytes = 65535; // of a key or tensor; the format's own limit for keys
constexpr uint64_t kMaxGgufDimensions = 4;    // ggml's own
constexpr uint64_t kMaxGgufAlignment = uint64_t(1) << 20;
/// Of all arrays together: an element takes 8 or 16 bytes of memory and may take one of the file. A
/// vocabulary of a million tokens has some five millions.
constexpr uint64_t kMaxGgufArrayElements = uint64_t(1) << 23;

/// A key's value: scalars in `integer` or `real`, text in place in the mapped file, arrays of one scalar type
/// or of text.
struct GgufValue {
  enum class Kind : uint8_t { Bool, Integer, Real, String, Integers, Reals, Strings };
  Kind kind = Kind::Integer;
  int64_t integer = 0; // Bool too; a u64 above 2^63 - 1 is refused when the file is read
  double real = 0;
  std::string_view string;
  std::vector<int64_t> integers; // arrays of integers and of bools
  std::vector<double> reals;
  std::vector<std::string_view> strings;
};

struct GgufTensor {
  std::vector<uint64_t> shape; // outermost first, as Hugging Face has it: [out, in]
  uint32_t type = 0;           // ggml's number
  uint64_t offset = 0;         // from the start of the file
  uint64_t size = 0;           // bytes; 0 where the type is not known
};

/// A GGUF file of version 2 or 3, little-endian. Text in it refers to the mapped file, which this object
/// keeps.
class GgufFile {
public:
  static Result<GgufFile> open(FileCache &files, const std::string &path);

  const std::string &path() const { return filePath; }
  const std::map<std::string, GgufValue> &keys() const { return keyTable; }
  const std::map<std::string, GgufTensor> &tensors() const { return tensorTable; }

  const GgufValue *find(const std::string &key) const;
  /// Typed access: nothing where the key is absent, CorruptFile where it is there with another type.
  Result<std::optional<uint64_t>> unsignedKey(const std::string &key) const;
  Result<std::optional<double>> realKey(const std::string &key) const;
  Result<std::optional<bool>> boolKey(const std::string &key) const;
  Result<std::optional<std::string_view>> stringKey(const std::string &key) const;

  /// Where the tensor is, as a matrix; a vector is one row. Unsupported, naming the type, for all but F32,
  /// F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K and for other ranks than 1 and 2.
  Result<TensorLocation> locate(const std::string &name, const GgufTensor &tensor) const;

private:
  Status checkOverlaps() const;
  Status wrongType(const std::string &key, std::string_view expected) const;

  std::string filePath;
  std::shared_ptr<const MappedFile> file;
  std::map<std::string, GgufValue> keyTable;
  std::map<std::string, GgufTensor> tensorTable;
};

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_GGUF_H
