//===- Catalog.h - the kernel catalog as a table ----------------*- C++ -*-===//
// schemas/Catalog.def, for code that selects and packages kernels. Everything is constant data.
#ifndef LORAC_COMPILER_KERNELS_CATALOG_H
#define LORAC_COMPILER_KERNELS_CATALOG_H

#include "schemas/model_generated.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::catalog {

struct Kernel {
  std::string_view name;
  bool adapter; ///< exists for adapters alone
  std::string_view summary;
};
struct Binding {
  std::string_view kernel;
  std::string_view role;
  fbs::Access access;
  fbs::Element element;
  std::string_view condition; ///< the constant that must be nonzero; "ALWAYS" if none
};
struct Push {
  std::string_view kernel;
  std::string_view name;
};
/// `minimum` to `maximum` inclusive.
struct Constant {
  std::string_view kernel;
  std::string_view name;
  int64_t minimum;
  int64_t maximum;
};

inline constexpr Kernel Kernels[] = {
#define KERNEL(NAME, ADAPTER, SUMMARY) {#NAME, ADAPTER != 0, SUMMARY},
#include "schemas/Catalog.def"
};
inline constexpr Binding Bindings[] = {
#define BINDING(KERNEL, ROLE, ACCESS, ELEMENT, CONDITION)                                                    \
  {#KERNEL, #ROLE, fbs::Access::ACCESS, fbs::Element::ELEMENT, #CONDITION},
#include "schemas/Catalog.def"
};
inline constexpr Push Pushes[] = {
#define PUSH(KERNEL, NAME) {#KERNEL, #NAME},
#include "schemas/Catalog.def"
};
inline constexpr Constant Constants[] = {
#define CONSTANT(KERNEL, NAME, MINIMUM, MAXIMUM) {#KERNEL, #NAME, MINIMUM, MAXIMUM},
#include "schemas/Catalog.def"
};

/// Null where the catalog has no such kernel.
const Kernel *find(std::string_view kernel);

/// The rows of one kernel, in the catalog's order; empty for an unknown kernel.
std::span<const Binding> bindings(std::string_view kernel);
std::span<const Push> pushes(std::string_view kernel);
std::span<const Constant> constants(std::string_view kernel);

/// The bindings that the kernel has under these constants; binding number i is element i. A constant that is
/// absent counts as 0.
std::vector<Binding> bindings(std::string_view kernel, const std::map<std::string, int64_t> &values);

/// Whether the kernel takes an epilogue (linear, map).
bool hasEpilogue(std::string_view kernel);

} // namespace lorac::catalog

#endif // LORAC_COMPILER_KERNELS_CATALOG_H
