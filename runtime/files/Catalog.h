//===- Catalog.h - schemas/Catalog.def as values ----------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_CATALOG_H
#define LORAC_RUNTIME_FILES_CATALOG_H

#include "schemas/model_generated.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace lorac {

struct CatalogBinding {
  std::string_view kernel;
  std::string_view role;
  fbs::Access access;
  fbs::Element element;
  std::string_view condition; ///< constant that must be nonzero, or "ALWAYS"
};
struct CatalogPush {
  std::string_view kernel;
  std::string_view name;
};
struct CatalogConstant {
  std::string_view kernel;
  std::string_view name;
  int64_t minimum;
  int64_t maximum;
};
/// One kernel of the catalog; its rows in the file's order.
struct CatalogKernel {
  std::string_view name;
  bool adapter; ///< exists for adapters alone
  std::span<const CatalogBinding> bindings;
  std::span<const CatalogPush> push;
  std::span<const CatalogConstant> constants;
};

std::span<const CatalogKernel> kernelCatalog();
/// Null where the catalog has no such kernel.
const CatalogKernel *findCatalogKernel(std::string_view name);

/// Bytes of one element of a binding.
constexpr uint64_t elementBytes(fbs::Element element) {
  switch (element) {
  case fbs::Element::U32x4:
  case fbs::Element::F32x4:
    return 16;
  case fbs::Element::U32x2:
    return 8;
  case fbs::Element::U32:
  case fbs::Element::F32:
    break;
  }
  return 4;
}

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_CATALOG_H
