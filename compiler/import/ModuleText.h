//===- ModuleText.h - .mlir text before MLIR's parser sees it ---*- C++ -*-===//
// That parser recurses over what its text nests, as deep as the text likes; so do the printer and the
// verifier after it. No module of ours nests deeply, so a text that does is refused before.
#ifndef LORAC_COMPILER_IMPORT_MODULETEXT_H
#define LORAC_COMPILER_IMPORT_MODULETEXT_H

#include "support/Status.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace lorac {

/// Brackets of all kinds that may be open at once. A dump has at most 8.
constexpr uint32_t kMaxModuleNesting = 64;

/// CorruptFile, with the line, for what nests deeper than that, and for what nests without brackets and
/// stands in no module of ours: aliases (`#a = ...`, each of which may hold the one before it) and affine
/// maps and sets (whose operators nest).
Status checkModuleText(std::string_view text, const std::string &path);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_MODULETEXT_H
