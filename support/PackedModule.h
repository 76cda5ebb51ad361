//===- PackedModule.h - SPIR-V as a model file holds it ---------*- C++ -*-===//
// Kernels of a model have most of their code in common, but for the numbers of its values: each module counts
// its own. Here what a function computes is told by how far back it was made, so that equal pieces of
// different modules are equal bytes, which compress to nothing (docs/decisions/0016). docs/formats/model.md
// describes it word by word.
#ifndef LORAC_SUPPORT_PACKEDMODULE_H
#define LORAC_SUPPORT_PACKEDMODULE_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::module {

/// What a word of the module is. Kinds stand two bits each, 16 in a word, the first lowest.
enum Kind : uint32_t {
  Plain,  ///< the next word kept
  Made,   ///< the next number of what functions make
  Back,   ///< what functions made so many numbers before the next: the next word kept, modulo 2^32
  Shared, ///< an id from outside the functions: the next word kept is its name
};
constexpr uint32_t KindsAWord = 16;

/// Words before those that are kept: how many the module has, how many are kept, how many ids it has outside
/// its functions. Kinds follow those that are kept.
constexpr uint32_t HeaderWords = 3;

/// The module: names outside the functions get the ids 1, 2, ... in order of their appearance, what functions
/// make the ids after these. CorruptFile, without a file's name, where the words are no such module; what it
/// holds is not looked at.
Result<std::vector<uint32_t>> unpack(std::span<const uint32_t> packed);

} // namespace lorac::module

#endif // LORAC_SUPPORT_PACKEDMODULE_H
