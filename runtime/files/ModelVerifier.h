//===- ModelVerifier.h - every check on a model's metadata ------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_MODELVERIFIER_H
#define LORAC_RUNTIME_FILES_MODELVERIFIER_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace lorac {

/// Limits of one epilogue; the second bounds the stack that it needs.
constexpr size_t MaxEpilogueTerms = 256;
constexpr size_t MaxEpilogueDepth = 32;

/// Limits that keep the checks themselves linear in the file's size: tables of a FlatBuffer may share their
/// parts.
constexpr size_t MaxDimensions = 8;     ///< of a base tensor
constexpr size_t MaxFrequencies = 256;  ///< of an angle table: half of the largest head
constexpr size_t MaxPushConstants = 32; ///< of a kernel: 128 bytes
constexpr size_t MaxVariants = 1 << 16; ///< of a model
constexpr size_t MaxBuffers = 1 << 16;  ///< of a program
constexpr size_t MaxCommands = 1 << 16; ///< of a program

/// False where a kernel lists more names of push constants than it may have. To be asked before FlatBuffers'
/// own verifier, which would walk the names of a list again for each kernel that shares it. True for what is
/// malformed.
bool hasBoundedNames(std::span<const uint8_t> metadata);

/// All checks of `model` but those of the container (runtime/files/Container.h); `codeSegments` is what each
/// segment of kernel code holds. CorruptFile or Unsupported, with `name` in front.
Status verifyModel(const fbs::Model &model, std::span<const std::vector<uint8_t>> codeSegments,
                   const std::string &name);

/// Checks, with `symbols[i]` for the file's load symbol i, that each buffer lies in its space and each view
/// in its buffer.
Status verifySizes(const fbs::Model &model, std::span<const uint64_t> symbols, const std::string &name);

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_MODELVERIFIER_H
