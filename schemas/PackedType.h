//===- PackedType.h - how a frozen matrix is stored -------------*- C++ -*-===//
// Names, planes and sizes of the packed types. docs/formats/packed.md defines their values and layouts;
// compiler (packing, selection) and runtime (checks, inspection) compute sizes with the functions below.
#ifndef LORAC_SCHEMAS_PACKEDTYPE_H
#define LORAC_SCHEMAS_PACKEDTYPE_H

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::packed {

enum class Code : uint8_t { F32, F16, BF16, Int8, Int4, NF4, FP4 };
/// What a group has beside its scale: a float m (d·q + m) or an integer zero point z (d·(q − z)).
enum class Offset : uint8_t { None, Float, Zero };
/// The plane of scales.
enum class Scales : uint8_t { None, Words, Halves, Pairs, Bytes };

constexpr uint64_t TileRows = 8;
constexpr uint64_t PieceBytes = 16;
constexpr uint64_t GroupStep = 32;     ///< groups are multiples, and so is K where there are groups
constexpr uint64_t MaxGroup = 4096;    ///< of nf4 and fp4; int8 and int4 end at 128
constexpr uint64_t NestedBlocks = 256; ///< block scales that share one nested scale
constexpr uint64_t MapValues = 256;    ///< of the dynamic map that block scales are coded by
constexpr uint64_t NestedHeaderBytes = 16;

struct Type {
  Code code = Code::F32;
  uint32_t group = 0; ///< values a scale; 0: there is none, or one a row (int8)
  Offset offset = Offset::None;
  bool nested = false; ///< double quantization

  friend bool operator==(const Type &, const Type &) = default;
};

constexpr bool isFloat(Code code) { return code <= Code::BF16; }
constexpr bool isTable(Code code) { return code >= Code::NF4; }

constexpr uint64_t pieceValues(Code code) {
  constexpr uint8_t values[] = {4, 8, 8, 16, 32, 32, 32};
  return values[size_t(code)];
}

constexpr Scales scalesOf(const Type &type) {
  if (isFloat(type.code))
    return Scales::None;
  if (type.nested)
    return Scales::Bytes;
  if (isTable(type.code) || type.group == 0)
    return Scales::Words;
  return type.offset == Offset::None ? Scales::Halves : Scales::Pairs;
}

/// Groups of a row of `cols` values: 0 for the float types.
constexpr uint64_t groupsOf(const Type &type, uint64_t cols) {
  return isFloat(type.code) ? 0 : type.group == 0 ? 1 : cols / type.group;
}

/// Bytes of one row's codes, padded to whole pieces.
constexpr uint64_t codeRowBytes(const Type &type, uint64_t cols) {
  return (cols + pieceValues(type.code) - 1) / pieceValues(type.code) * PieceBytes;
}

/// Bytes of one row's scales.
constexpr uint64_t scaleRowBytes(const Type &type, uint64_t cols) {
  const uint64_t groups = groupsOf(type, cols);
  switch (scalesOf(type)) {
  case Scales::None:
    return 0;
  case Scales::Words:
    return groups * 4;
  case Scales::Halves:
    return (groups + 1) / 2 * 4;
  case Scales::Pairs:
    return (groups + 1) / 2 * 8;
  case Scales::Bytes:
    return groups;
  }
  return 0;
}

/// Bytes of a segment's part of the nested plane: the offset and the nested scales.
constexpr uint64_t nestedBytes(const Type &type, uint64_t rows, uint64_t cols) {
  return type.nested ? 4 + (rows * groupsOf(type, cols) + NestedBlocks - 1) / NestedBlocks * 4 : 0;
}

constexpr std::string_view codeName(Code code) {
  constexpr std::string_view names[] = {"f32", "f16", "bf16", "int8", "int4", "nf4", "fp4"};
  return names[size_t(code)];
}

constexpr uint32_t defaultGroup(Code code) { return isFloat(code) ? 0 : isTable(code) ? 64 : 32; }

/// As `--quantize` takes it: `int4-g32-offset`.
inline std::string nameOf(const Type &type) {
  std::string name(codeName(type.code));
  if (isFloat(type.code))
    return name;
  name += type.group == 0 ? std::string("-row") : "-g" + std::to_string(type.group);
  if (type.offset != Offset::None)
    name += type.offset == Offset::Float ? "-offset" : "-zero";
  return name + (type.nested ? "-double" : "");
}

/// What is wrong with `type`, whatever the shape; empty if nothing is.
inline std::string problemOf(const Type &type) {
  const bool table = isTable(type.code);
  if (type.nested && !table)
    return "double quantization belongs to nf4 and fp4";
  if (type.offset != Offset::None && type.code != Code::Int4)
    return "offsets and zero points belong to int4";
  if (isFloat(type.code))
    return type.group == 0 ? "" : std::string(codeName(type.code)) + " has no groups";
  if (type.group == 0)
    return type.code == Code::Int8 ? "" : std::string(codeName(type.code)) + " needs groups";
  const uint64_t most = table ? MaxGroup : 128;
  if ((type.group & (type.group - 1)) != 0 || type.group < GroupStep || type.group > most)
    return "groups of " + std::to_string(type.group) + " are not possible, " +
           std::string(codeName(type.code)) + " has 32, 64, " +
           (table ? "128, 256, 512, 1024, 2048 and 4096" : "and 128");
  return "";
}

/// What is wrong with rows of `cols` values as `type`; empty if nothing is. Names the groups that fit.
inline std::string problemOf(const Type &type, uint64_t cols) {
  if (type.group == 0 || cols % type.group == 0)
    return "";
  std::string fitting;
  for (uint64_t group = GroupStep; group <= (isTable(type.code) ? MaxGroup : 128); group *= 2)
    if (cols % group == 0)
      fitting += (fitting.empty() ? "" : ", ") + std::to_string(group);
  return "groups of " + std::to_string(type.group) + " do not divide rows of " + std::to_string(cols) +
         " values; " +
         (fitting.empty() ? "no group does: f16, f32, bf16 and int8-row fit" : "groups that do: " + fitting);
}

/// Reads a name that nameOf writes, or a shorter one (`int4` is int4-g32, `nf4-double` nf4-g64-double).
inline std::optional<Type> parse(std::string_view text) {
  auto next = [&text] {
    const size_t end = std::min(text.find('-'), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
  };
  if (text.empty() || text.back() == '-')
    return std::nullopt;
  const std::string_view name = next();
  Type type;
  for (Code code : {Code::F32, Code::F16, Code::BF16, Code::Int8, Code::Int4, Code::NF4, Code::FP4})
    if (codeName(code) == name) {
      type = {code, defaultGroup(code)};
      bool grouped = false;
      while (!text.empty()) {
        const std::string_view word = next();
        if (word == "row" && !grouped && code == Code::Int8) {
          type.group = 0;
          grouped = true;
        } else if (word.size() > 1 && word.front() == 'g' && !grouped && word[1] != '0') {
          auto [end, error] = std::from_chars(word.data() + 1, word.data() + word.size(), type.group);
          if (error != std::errc() || end != word.data() + word.size())
            return std::nullopt;
          grouped = true;
        } else if ((word == "offset" || word == "zero") && type.offset == Offset::None) {
          type.offset = word == "offset" ? Offset::Float : Offset::Zero;
        } else if (word == "double" && !type.nested) {
          type.nested = true;
        } else {
          return std::nullopt;
        }
      }
      return type;
    }
  return std::nullopt;
}

} // namespace lorac::packed

#endif // LORAC_SCHEMAS_PACKEDTYPE_H
