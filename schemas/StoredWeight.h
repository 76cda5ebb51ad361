//===- StoredWeight.h - packed types as a model file has them ---*- C++ -*-===//
#ifndef LORAC_SCHEMAS_STOREDWEIGHT_H
#define LORAC_SCHEMAS_STOREDWEIGHT_H

#include "schemas/PackedType.h"
#include "schemas/model_generated.h"

#include <iterator>
#include <optional>

namespace lorac::packed {

/// By Code.
constexpr fbs::WeightType kStoredCodes[] = {
    fbs::WeightType::F32,  fbs::WeightType::F16, fbs::WeightType::BF16, fbs::WeightType::Int8,
    fbs::WeightType::Int4, fbs::WeightType::NF4, fbs::WeightType::FP4};

constexpr fbs::WeightType weightTypeOf(const Type &type) { return kStoredCodes[size_t(type.code)]; }

constexpr fbs::ScaleType scaleTypeOf(const Type &type) {
  if (type.offset == Offset::Zero)
    return fbs::ScaleType::ZeroPairs;
  constexpr fbs::ScaleType types[] = {fbs::ScaleType::None, fbs::ScaleType::Words, fbs::ScaleType::Halves,
                                      fbs::ScaleType::Pairs, fbs::ScaleType::Bytes};
  return types[size_t(scalesOf(type))];
}

/// The type of a matrix; nothing for a vector, or where code, scales and group make none.
inline std::optional<Type> typeOf(const fbs::Weight &weight) {
  for (size_t code = 0; code < std::size(kStoredCodes); ++code) {
    if (kStoredCodes[code] != weight.type())
      continue;
    Type type{Code(code), weight.group()};
    if (weight.scales() == fbs::ScaleType::Pairs)
      type.offset = Offset::Float;
    else if (weight.scales() == fbs::ScaleType::ZeroPairs)
      type.offset = Offset::Zero;
    type.nested = weight.scales() == fbs::ScaleType::Bytes;
    if (!problemOf(type).empty() || scaleTypeOf(type) != weight.scales())
      return std::nullopt;
    return type;
  }
  return std::nullopt;
}

} // namespace lorac::packed

#endif // LORAC_SCHEMAS_STOREDWEIGHT_H
