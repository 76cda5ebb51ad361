//===- Gguf.cpp - reads and verifies .gguf files ---------------------------===//
#include "compiler/import/Gguf.h"

#include "compiler/import/Shown.h"
#include "schemas/Header.h"
#include "support/Checked.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lorac {
namespace {

enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

/// Bytes of a value in its array; strings have at least their length. 0: not a type.
uint64_t minimumBytes(uint32_t type) {
  constexpr uint64_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return type < std::size(sizes) ? sizes[type] : 0;
}

/// ggml's types by number. Those with an encoding can be read; the others are named in the refusal.
struct TensorType {
  uint32_t id;
  std::string_view name;
  std::optional<Encoding> encoding;
};
constexpr TensorType kTensorTypes[] = {
    {0, "F32", Encoding::F32},    {1, "F16", Encoding::F16},     {2, "Q4_0", Encoding::Q4_0},
    {3, "Q4_1", Encoding::Q4_1},  {6, "Q5_0", Encoding::Q5_0},   {7, "Q5_1", Encoding::Q5_1},
    {8, "Q8_0", Encoding::Q8_0},  {9, "Q8_1", std::nullopt},     {10, "Q2_K", std::nullopt},
    {11, "Q3_K", std::nullopt},   {12, "Q4_K", Encoding::Q4_K},  {13, "Q5_K", Encoding::Q5_K},
    {14, "Q6_K", Encoding::Q6_K}, {15, "Q8_K", std::nullopt},    {16, "IQ2_XXS", std::nullopt},
    {17, "IQ2_XS", std::nullopt}, {18, "IQ3_XXS", std::nullopt}, {19, "IQ1_S", std::nullopt},
    {20, "IQ4_NL", std::nullopt}, {21, "IQ3_S", std::nullopt},   {22, "IQ2_S", std::nullopt},
    {23, "IQ4_XS", std::nullopt}, {24, "I8", std::nullopt},      {25, "I16", std::nullopt},
    {26, "I32", std::nullopt},    {27, "I64", std::nullopt},     {28, "F64", std::nullopt},
    {29, "IQ1_M", std::nullopt},  {30, "BF16", Encoding::BF16},  {34, "TQ1_0", std::nullopt},
    {35, "TQ2_0", std::nullopt},  {39, "MXFP4", std::nullopt}};

const TensorType *findTensorType(uint32_t id) {
  for (const TensorType &type : kTensorTypes)
    if (type.id == id)
      return &type;
  return nullptr;
}

/// Walks the file; every read is checked.
class Reader {
public:
  Reader(const std::string &path, std::span<const uint8_t> bytes) : path(path), bytes(bytes) {}

  uint64_t at = 0;

  uint64_t left() const { return bytes.size() - at; }

  Status corrupt(std::string_view what) const {
    return Status(Code::CorruptFile) << path << ": " << what << " at byte " << at << "; fetch the file again";
  }

  template <typename T> Result<T> number() {
    if (left() < sizeof(T))
      return corrupt("the file ends inside its header");
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    at += sizeof(T);
    return value;
  }

  Result<std::string_view> string(uint64_t limit) {
    LORAC_ASSIGN(uint64_t length, number<uint64_t>());
    if (length > left() || length > limit)
      return corrupt("a text of " + std::to_string(length) + " bytes does not fit");
    std::string_view text(reinterpret_cast<const char *>(bytes.data()) + at, length);
    at += length;
    return text;
  }

  /// Integers and bools.
  Result<int64_t> integer(uint32_t type) {
    switch (type) {
    case U8:
      return widen<uint8_t>();
    case I8:
      return widen<int8_t>();
    case U16:
      return widen<uint16_t>();
    case I16:
      return widen<int16_t>();
    case U32:
      return widen<uint32_t>();
    case I32:
      return widen<int32_t>();
    case I64:
      return widen<int64_t>();
    case U64: {
      LORAC_ASSIGN(uint64_t value, number<uint64_t>());
      if (value > uint64_t(INT64_MAX))
        return corrupt("an integer above 2^63 - 1");
      return int64_t(value);
    }
    case Bool: {
      LORAC_ASSIGN(uint8_t value, number<uint8_t>());
      if (value > 1)
        return corrupt("a truth value of " + std::to_string(value));
      return int64_t(value);
    }
    default:
      return corrupt("a value of unknown type " + std::to_string(type));
    }
  }

  Result<double> real(uint32_t type) {
    if (type == F32)
      return widenReal<float>();
    return widenReal<double>();
  }

  Result<GgufValue> value(uint32_t type) {
    GgufValue out;
    if (type == String) {
      out.kind = GgufValue::Kind::String;
      LORAC_ASSIGN(out.string, string(UINT64_MAX));
    } else if (type == F32 || type == F64) {
      out.kind = GgufValue::Kind::Real;
      LORAC_ASSIGN(out.real, real(type));
    } else if (type == Array) {
      return array();
    } else {
      out.kind = type == Bool ? GgufValue::Kind::Bool : GgufValue::Kind::Integer;
      LORAC_ASSIGN(out.integer, integer(type));
    }
    return out;
  }

private:
  template <typename T> Result<int64_t> widen() {
    LORAC_ASSIGN(T value, number<T>());
    return int64_t(value);
  }
  template <typename T> Result<double> widenReal() {
    LORAC_ASSIGN(T value, number<T>());
    return double(value);
  }

  Result<GgufValue> array() {
    LORAC_ASSIGN(uint32_t type, number<uint32_t>());
    LORAC_ASSIGN(uint64_t count, number<uint64_t>());
    uint64_t least = minimumBytes(type);
    if (least == 0 || type == Array)
      return corrupt("an array of type " + std::to_string(type));
    if (count > left() / least)
      return corrupt("an array of " + std::to_string(count) + " elements does not fit");
    if (count > elementsLeft)
      return corrupt("arrays of more than " + std::to_string(kMaxGgufArrayElements) + " elements in all");
    elementsLeft -= count;
    GgufValue out;
    if (type == String) {
      out.kind = GgufValue::Kind::Strings;
      out.strings.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        LORAC_ASSIGN(std::string_view text, string(UINT64_MAX));
        out.strings.push_back(text);
      }
    } else if (type == F32 || type == F64) {
      out.kind = GgufValue::Kind::Reals;
      out.reals.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        LORAC_ASSIGN(double element, real(type));
        out.reals.push_back(element);
      }
    } else {
      out.kind = GgufValue::Kind::Integers;
      out.integers.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        LORAC_ASSIGN(int64_t element, integer(type));
        out.integers.push_back(element);
      }
    }
    return out;
  }

  const std::string &path;
  std::span<const uint8_t> bytes;
  uint64_t elementsLeft = kMaxGgufArrayElements;
};

Result<GgufTensor> readTensorInfo(Reader &reader, const std::string &path, const std::string &name) {
  LORAC_ASSIGN(uint32_t dimensions, reader.number<uint32_t>());
  if (dimensions > kMaxGgufDimensions)
    return reader.corrupt("tensor " + shown(name) + " has " + std::to_string(dimensions) + " dimensions");
  GgufTensor tensor;
  for (uint32_t i = 0; i < dimensions; ++i) {
    LORAC_ASSIGN(uint64_t size, reader.number<uint64_t>());
    tensor.shape.push_back(size);
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end()); // the file has the innermost first
  LORAC_ASSIGN(tensor.type, reader.number<uint32_t>());
  LORAC_ASSIGN(tensor.offset, reader.number<uint64_t>());
  const TensorType *type = findTensorType(tensor.type);
  if (!type || !type->encoding)
    return tensor; // refused by name where it is used
  const EncodingInfo &info = encodingInfo(*type->encoding);
  std::optional<uint64_t> values = 1;
  for (uint64_t size : tensor.shape)
    values = values ? checkedMul(*values, size) : std::nullopt;
  uint64_t inner = tensor.shape.empty() ? 1 : tensor.shape.back();
  std::optional<uint64_t> bytes =
      values ? checkedMul(*values / info.blockValues, info.blockBytes) : std::nullopt;
  if (!bytes || inner % info.blockValues != 0)
    return Status(Code::CorruptFile) << path << ": tensor " << shown(name) << " has shape "
                                     << shownShape(tensor.shape) << ", which " << type->name
                                     << " cannot hold; fetch the file again";
  tensor.size = *bytes;
  return tensor;
}

} // namespace

Result<GgufFile> GgufFile::open(FileCache &files, const std::string &path) {
  GgufFile gguf;
  gguf.filePath = path;
  LORAC_ASSIGN(gguf.file, files.open(path));
  Reader reader(path, gguf.file->bytes());
  if (gguf.file->bytes().size() >= 4 && std::memcmp(gguf.file->bytes().data(), format::ModelMagic, 4) == 0)
    return Status(Code::InvalidArgument)
           << path << ": is a model file, which lorac compile has made already; give the checkpoint";
  if (gguf.file->bytes().size() < 4 || std::memcmp(gguf.file->bytes().data(), "GGUF", 4) != 0)
    return Status(Code::CorruptFile) << path << ": does not begin with GGUF; is this a .gguf file?";
  reader.at = 4;
  LORAC_ASSIGN(uint32_t version, reader.number<uint32_t>());
  if (version != 0 && (version & 0xffffu) == 0)
    return Status(Code::Unsupported) << path << ": is big-endian; convert it to little-endian";
  if (version != 2 && version != 3)
    return Status(Code::Unsupported) << path << ": has GGUF version " << version
                                     << ", 2 and 3 are supported; convert the checkpoint again";
  LORAC_ASSIGN(uint64_t tensorCount, reader.number<uint64_t>());
  LORAC_ASSIGN(uint64_t keyCount, reader.number<uint64_t>());
  if (tensorCount > kMaxGgufTensors || keyCount > kMaxGgufKeys)
    return reader.corrupt("counts of " + std::to_string(tensorCount) + " tensors and " +
                          std::to_string(keyCount) + " keys");
  for (uint64_t i = 0; i < keyCount; ++i) {
    LORAC_ASSIGN(std::string_view key, reader.string(kMaxGgufNameBytes));
    LORAC_ASSIGN(uint32_t type, reader.number<uint32_t>());
    LORAC_ASSIGN(GgufValue value, reader.value(type));
    if (!gguf.keyTable.emplace(key, std::move(value)).second)
      return reader.corrupt("key " + shown(key) + " stands twice, the second time");
  }
  for (uint64_t i = 0; i < tensorCount; ++i) {
    LORAC_ASSIGN(std::string_view view, reader.string(kMaxGgufNameBytes));
    std::string name(view);
    LORAC_ASSIGN(GgufTensor tensor, readTensorInfo(reader, path, name));
    if (!gguf.tensorTable.emplace(name, std::move(tensor)).second)
      return reader.corrupt("tensor " + shown(name) + " stands twice, the second time");
  }
  LORAC_ASSIGN(std::optional<uint64_t> alignment, gguf.unsignedKey("general.alignment"));
  uint64_t align = alignment.value_or(32);
  if (align == 0 || align > kMaxGgufAlignment || !std::has_single_bit(align))
    return reader.corrupt("general.alignment of " + std::to_string(align));
  const uint64_t dataBegin = roundUp(reader.at, align), fileSize = gguf.file->bytes().size();
  for (auto &[name, tensor] : gguf.tensorTable) {
    std::optional<uint64_t> offset = checkedAdd(tensor.offset, dataBegin);
    if (!offset || tensor.offset % align != 0 || !rangeInside(*offset, tensor.size, fileSize))
      return Status(Code::CorruptFile)
             << path << ": tensor " << shown(name) << " lies at data offset " << tensor.offset << " with "
             << tensor.size << " bytes, the file has " << fileSize << " with an alignment of " << align
             << "; it is cut off or damaged, fetch it again";
    tensor.offset = *offset;
  }
  LORAC_TRY(gguf.checkOverlaps());
  return gguf;
}

Status GgufFile::checkOverlaps() const {
  std::vector<std::map<std::string, GgufTensor>::const_pointer> order;
  for (const auto &item : tensorTable)
    if (item.second.size > 0)
      order.push_back(&item);
  std::sort(order.begin(), order.end(), [](auto *a, auto *b) { return a->second.offset < b->second.offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (uint64_t end = order[i - 1]->second.offset + order[i - 1]->second.size; order[i]->second.offset < end)
      return Status(Code::CorruptFile)
             << filePath << ": tensor " << shown(order[i]->first) << " begins at byte "
             << order[i]->second.offset << ", tensor " << shown(order[i - 1]->first) << " ends at " << end
             << "; they may not overlap, fetch the file again";
  return Status::ok();
}

const GgufValue *GgufFile::find(const std::string &key) const {
  auto found = keyTable.find(key);
  return found == keyTable.end() ? nullptr : &found->second;
}

Status GgufFile::wrongType(const std::string &key, std::string_view expected) const {
  return Status(Code::CorruptFile) << filePath << ": key " << shown(key) << " is not " << expected
                                   << "; convert the checkpoint again";
}

Result<std::optional<uint64_t>> GgufFile::unsignedKey(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::optional<uint64_t>();
  if (value->kind != GgufValue::Kind::Integer || value->integer < 0)
    return wrongType(key, "an integer that is not negative");
  return std::optional<uint64_t>(uint64_t(value->integer));
}

Result<std::optional<double>> GgufFile::realKey(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::optional<double>();
  if (value->kind != GgufValue::Kind::Real)
    return wrongType(key, "a floating-point number");
  return std::optional<double>(value->real);
}

Result<std::optional<bool>> GgufFile::boolKey(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::optional<bool>();
  if (value->kind != GgufValue::Kind::Bool)
    return wrongType(key, "true or false");
  return std::optional<bool>(value->integer != 0);
}

Result<std::optional<std::string_view>> GgufFile::stringKey(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::optional<std::string_view>();
  if (value->kind != GgufValue::Kind::String)
    return wrongType(key, "a text");
  return std::optional<std::string_view>(value->string);
}

Result<TensorLocation> GgufFile::locate(const std::string &name, const GgufTensor &tensor) const {
  const TensorType *type = findTensorType(tensor.type);
  if (!type || !type->encoding)
    return Status(Code::Unsupported) << filePath << ": tensor " << shown(name) << " is "
                                     << (type ? std::string(type->name)
                                              : "of ggml type " + std::to_string(tensor.type))
                                     << ", supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
                                        "Q5_K and Q6_K; quantize the checkpoint to one of them";
  if (tensor.shape.empty() || tensor.shape.size() > 2)
    return Status(Code::Unsupported) << filePath << ": tensor " << shown(name) << " has shape "
                                     << shownShape(tensor.shape) << ", a vector or matrix was expected";
  TensorLocation location;
  location.file = filePath;
  location.offset = tensor.offset;
  location.size = tensor.size;
  location.encoding = *type->encoding;
  location.rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
  location.cols = tensor.shape.back();
  return location;
}

} // namespace lorac
