//===- Lora.h - the lora dialect ---------------------------------*- C++ -*-===//
#ifndef LORAC_DIALECT_LORA_LORA_H
#define LORAC_DIALECT_LORA_LORA_H

#include "schemas/PackedType.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace lorac::packed {
/// For MLIR's uniquing of attributes.
inline llvm::hash_code hash_value(const Type &type) {
  return llvm::hash_combine(type.code, type.group, type.offset, type.nested);
}
} // namespace lorac::packed

#include "dialect/lora/LoraDialect.h.inc"
#include "dialect/lora/LoraEnums.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/lora/LoraTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/lora/LoraAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialect/lora/LoraOps.h.inc"

namespace lorac::lora {

/// Values a row of `tensor<?xNxf32>` holds; -1 for another type.
int64_t rowWidth(mlir::Type type);

} // namespace lorac::lora

#endif // LORAC_DIALECT_LORA_LORA_H
