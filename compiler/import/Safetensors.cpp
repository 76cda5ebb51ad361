//===- Safetensors.cpp - reads and verifies .safetensors files -------------===//
#include "compiler/import/Safetensors.h"

#include "compiler/import/Json.h"
#include "compiler/import/Shown.h"
#include "support/Checked.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

namespace lorac {
namespace {

/// Bits a value; sub-byte types exist.
struct DtypeInfo {
  std::string_view name;
  uint64_t bits;
};
constexpr DtypeInfo kDtypes[] = {{"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
                                 {"F8_E8M0", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16},    {"BF16", 16},
                                 {"I32", 32},    {"U32", 32}, {"F32", 32}, {"F64", 64},    {"I64", 64},
                                 {"U64", 64},    {"C64", 64}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}};

const DtypeInfo *findDtype(std::string_view name) {
  for (const DtypeInfo &info : kDtypes)
    if (info.name == name)
      return &info;
  return nullptr;
}

Result<SafetensorsEntry> readEntry(const std::string &path, const std::string &name, const JsonValue &value,
                                   uint64_t dataBegin, uint64_t dataSize) {
  auto corrupt = [&] { return Status(Code::CorruptFile) << path << ": tensor " << shown(name) << ' '; };
  const JsonValue *dtype = value.find("dtype"), *shape = value.find("shape"),
                  *offsets = value.find("data_offsets");
  if (!value.isObject() || !dtype || !dtype->isString() || !shape || !shape->isArray() || !offsets ||
      !offsets->isArray() || offsets->items.size() != 2 || value.members.size() != 3)
    return corrupt() << "does not have exactly dtype, shape and two data_offsets; fetch the file again";
  SafetensorsEntry entry;
  entry.file = path;
  entry.dtype = dtype->string;
  const DtypeInfo *info = findDtype(dtype->string);
  if (!info)
    return corrupt() << "has dtype " << dtype->text() << ", which the format does not have";
  std::optional<uint64_t> bits = info->bits;
  for (const JsonValue &size : shape->items) {
    if (!size.isInteger() || size.integer < 0)
      return corrupt() << "has shape " << shape->text() << "; fetch the file again";
    entry.shape.push_back(uint64_t(size.integer));
    bits = bits ? checkedMul(*bits, uint64_t(size.integer)) : std::nullopt;
  }
  const JsonValue &begin = offsets->items[0], &end = offsets->items[1];
  if (!begin.isInteger() || !end.isInteger() || begin.integer < 0 || end.integer < begin.integer ||
      uint64_t(end.integer) > dataSize)
    return corrupt() << "has data_offsets " << offsets->text() << " in " << dataSize
                     << " bytes of data; fetch the file again";
  entry.offset = dataBegin + uint64_t(begin.integer);
  entry.size = uint64_t(end.integer - begin.integer);
  if (!bits || *bits % 8 != 0 || *bits / 8 != entry.size)
    return corrupt() << "has " << entry.size << " bytes, shape " << shownShape(entry.shape) << " as "
                     << entry.dtype << " needs " << (bits ? std::to_string(*bits / 8) : "more than 2^61")
                     << "; fetch the file again";
  return entry;
}

/// The data must be covered from its first to its last byte, each byte once.
Status checkCoverage(const std::string &path, const SafetensorsTable &table, uint64_t dataBegin,
                     uint64_t fileSize) {
  std::vector<SafetensorsTable::const_pointer> order;
  for (const auto &item : table)
    order.push_back(&item);
  std::sort(order.begin(), order.end(), [](auto *a, auto *b) {
    return std::pair(a->second.offset, a->second.size) < std::pair(b->second.offset, b->second.size);
  });
  uint64_t at = dataBegin;
  for (auto *item : order) {
    if (item->second.offset != at)
      return Status(Code::CorruptFile)
             << path << ": tensor " << shown(item->first) << " begins at byte "
             << item->second.offset - dataBegin << " of the data, the one before it ends at "
             << at - dataBegin << "; holes and overlaps are not allowed, fetch the file again";
    at += item->second.size;
  }
  if (at != fileSize)
    return Status(Code::CorruptFile) << path << ": has " << fileSize - at
                                     << " bytes after the last tensor; fetch the file again";
  return Status::ok();
}

/// A file name that can only mean a file beside the list that names it.
bool isPlainName(const std::string &name) {
  return !name.empty() && name.size() <= kMaxShardNameBytes && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

} // namespace

Result<SafetensorsTable> readSafetensors(FileCache &files, const std::string &path) {
  LORAC_ASSIGN(std::shared_ptr<const MappedFile> file, files.open(path));
  std::span<const uint8_t> bytes = file->bytes();
  if (bytes.size() < 8)
    return Status(Code::CorruptFile) << path << ": has " << bytes.size()
                                     << " bytes, a safetensors file has at least 8; fetch the file again";
  uint64_t headerSize;
  std::memcpy(&headerSize, bytes.data(), sizeof(headerSize));
  if (headerSize > kMaxSafetensorsHeaderBytes)
    return Status(Code::CorruptFile) << path << ": has a header of " << headerSize << " bytes, at most "
                                     << kMaxSafetensorsHeaderBytes
                                     << " are allowed; is this a safetensors file?";
  if (headerSize > bytes.size() - 8)
    return Status(Code::CorruptFile) << path << ": has a header of " << headerSize << " bytes in a file of "
                                     << bytes.size() << "; it is cut off, fetch it again";
  std::string_view header(reinterpret_cast<const char *>(bytes.data()) + 8, headerSize);
  if (header.empty() || header.front() != '{')
    return Status(Code::CorruptFile) << path
                                     << ": has a header that does not begin with '{'; is this a "
                                        "safetensors file?";
  LORAC_ASSIGN(JsonValue root, parseJson(header, path));
  const uint64_t dataBegin = 8 + headerSize, dataSize = bytes.size() - dataBegin;
  SafetensorsTable table;
  for (auto &[name, value] : root.members) {
    if (name == "__metadata__") {
      bool strings = value.isObject();
      for (const auto &member : value.members)
        strings = strings && member.second.isString();
      if (!strings)
        return Status(Code::CorruptFile)
               << path << ": has __metadata__ that maps not only strings to strings";
      continue;
    }
    LORAC_ASSIGN(SafetensorsEntry entry, readEntry(path, name, value, dataBegin, dataSize));
    table.emplace(name, std::move(entry));
  }
  LORAC_TRY(checkCoverage(path, table, dataBegin, bytes.size()));
  return table;
}

Result<SafetensorsTable> readSafetensorsCheckpoint(FileCache &files, const std::string &directory) {
  namespace fs = std::filesystem;
  const std::string single = directory + "/model.safetensors",
                    index = directory + "/model.safetensors.index.json";
  std::error_code error;
  if (fs::exists(single, error))
    return readSafetensors(files, single);
  if (!fs::exists(index, error)) {
    bool pickle = fs::exists(directory + "/pytorch_model.bin", error) ||
                  fs::exists(directory + "/pytorch_model.bin.index.json", error);
    return Status(pickle ? Code::Unsupported : Code::NotFound)
           << directory << ": has neither model.safetensors nor model.safetensors.index.json"
           << (pickle
                   ? "; pickle (pytorch_model.bin) is not read since it can run code, save it as safetensors"
                   : "; name the folder of a Hugging Face checkpoint");
  }
  LORAC_ASSIGN(JsonValue root, readJsonFile(index, kMaxSafetensorsIndexBytes));
  const JsonValue *map = root.find("weight_map");
  if (!map || !map->isObject() || map->members.empty())
    return Status(Code::CorruptFile) << index << ": has no weight_map; fetch the file again";
  std::map<std::string, std::set<std::string>> listed; // shard -> tensors
  for (const auto &[name, shard] : map->members) {
    if (!shard.isString() || !isPlainName(shard.string))
      return Status(Code::CorruptFile) << index << ": tensor " << shown(name) << " is said to be in "
                                       << shard.text() << "; shards must be files beside the index";
    listed[shard.string].insert(name);
  }
  SafetensorsTable all;
  for (const auto &[shard, names] : listed) {
    const std::string path = directory + "/" + shard;
    LORAC_ASSIGN(SafetensorsTable table, readSafetensors(files, path));
    for (const std::string &name : names)
      if (!table.count(name))
        return Status(Code::CorruptFile) << index << ": tensor " << shown(name) << " is said to be in "
                                         << shard << ", which does not have it; fetch the checkpoint again";
    for (auto &[name, entry] : table) {
      if (!names.count(name))
        return Status(Code::CorruptFile)
               << path << ": holds tensor " << shown(name)
               << ", which the index does not list there; fetch the checkpoint again";
      all.emplace(name, std::move(entry));
    }
  }
  return all;
}

Result<TensorLocation> locate(const std::string &name, const SafetensorsEntry &entry) {
  TensorLocation location;
  if (entry.dtype == "F32")
    location.encoding = Encoding::F32;
  else if (entry.dtype == "F16")
    location.encoding = Encoding::F16;
  else if (entry.dtype == "BF16")
    location.encoding = Encoding::BF16;
  else
    return Status(Code::Unsupported)
           << entry.file << ": tensor " << shown(name) << " is " << entry.dtype
           << ", F32, F16 and BF16 are supported; convert the checkpoint to one of them";
  if (entry.shape.empty() || entry.shape.size() > 2)
    return Status(Code::Unsupported) << entry.file << ": tensor " << shown(name) << " has shape "
                                     << shownShape(entry.shape) << ", a vector or matrix was expected";
  location.file = entry.file;
  location.offset = entry.offset;
  location.size = entry.size;
  location.rows = entry.shape.size() == 2 ? entry.shape[0] : 1;
  location.cols = entry.shape.back();
  return location;
}

} // namespace lorac
