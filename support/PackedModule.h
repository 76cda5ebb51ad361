//===- PackedModule.h - SPIR-V as a model file holds it ---------*- C++ -*-===//
// Kernels of a model have most of their code in common, but for the numbers of its values: each module counts
// its own, and an instruction more changes all behind it. Here what a function computes is told as the third
// last addition, the label after next: equal pieces of different modules are equal bytes, which compress to
// nothing (docs/decisions/0016). docs/formats/model.md describes it word by word.
#ifndef LORAC_SUPPORT_PACKEDMODULE_H
#define LORAC_SUPPORT_PACKEDMODULE_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::module {

/// What a word is, in its two highest bits; the rest is its value.
enum Kind : uint32_t {
  Plain,  ///< a word of the module as it stands
  Made,   ///< 0: the id of what this instruction makes, in a function; 1: the next word is as it stands
  Back,   ///< the id of something made: of which opcode, and how many of that opcode ago
  Shared, ///< an id from outside the functions, by a name
};
constexpr unsigned KindShift = 30;
constexpr uint32_t ValueMask = (1u << KindShift) - 1;
/// A value of Back: the opcode, modulo what it has room for, then the distance, modulo likewise: 1 is the one
/// made last of that opcode, 0 the next.
constexpr unsigned DistanceBits = 20;
constexpr uint32_t DistanceMask = (1u << DistanceBits) - 1;
constexpr uint32_t Opcodes = 1u << (KindShift - DistanceBits);

/// Words before the module's: how many it has, how many ids it has outside its functions.
constexpr uint32_t HeaderWords = 2;
/// SPIR-V's own header, the magic number first; instructions follow (SPIR-V specification, 2.3).
constexpr uint32_t SpirvMagic = 0x07230203;
constexpr uint32_t SpirvHeaderWords = 5;

/// The module: names outside the functions get the ids 1, 2, ... in order of their appearance, what functions
/// make the ids after these. CorruptFile, without a file's name, where the words are no such module; what its
/// instructions are is not looked at.
Result<std::vector<uint32_t>> unpack(std::span<const uint32_t> packed);

} // namespace lorac::module

#endif // LORAC_SUPPORT_PACKEDMODULE_H
