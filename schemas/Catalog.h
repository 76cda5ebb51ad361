//===- Catalog.h - the kernel catalog as a table ----------------*- C++ -*-===//
// schemas/Catalog.def as constant data: what compiler and runtime read of a kernel, and nothing about how it
// is made or run.
#ifndef LORAC_SCHEMAS_CATALOG_H
#define LORAC_SCHEMAS_CATALOG_H

#include "schemas/model_generated.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::catalog {

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
/// One kernel; its rows in the file's order.
struct Kernel {
  std::string_view name;
  bool adapter; ///< exists for adapters alone
  std::string_view summary;
  std::span<const Binding> bindings;
  std::span<const Push> pushes;
  std::span<const Constant> constants;
};

namespace detail {

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

/// The rows of one kernel, which stand together in the file.
template <typename Row, size_t N>
constexpr std::span<const Row> rowsOf(const Row (&rows)[N], std::string_view kernel) {
  size_t begin = 0;
  while (begin < N && rows[begin].kernel != kernel)
    ++begin;
  size_t end = begin;
  while (end < N && rows[end].kernel == kernel)
    ++end;
  return {rows + begin, end - begin};
}

} // namespace detail

inline constexpr Kernel Kernels[] = {
#define KERNEL(NAME, ADAPTER, SUMMARY)                                                                       \
  {#NAME,                                                                                                    \
   ADAPTER != 0,                                                                                             \
   SUMMARY,                                                                                                  \
   detail::rowsOf(detail::Bindings, #NAME),                                                                  \
   detail::rowsOf(detail::Pushes, #NAME),                                                                    \
   detail::rowsOf(detail::Constants, #NAME)},
#include "schemas/Catalog.def"
};

namespace detail {

/// Rows that stand apart from the others of their kernel, or belong to none, would be lost.
constexpr bool allRowsTaken() {
  size_t bindings = 0, pushes = 0, constants = 0;
  for (const Kernel &kernel : Kernels) {
    bindings += kernel.bindings.size();
    pushes += kernel.pushes.size();
    constants += kernel.constants.size();
  }
  return bindings == std::size(Bindings) && pushes == std::size(Pushes) && constants == std::size(Constants);
}
static_assert(allRowsTaken(), "schemas/Catalog.def: rows of one kernel must stand together after its KERNEL");

} // namespace detail

/// Null where the catalog has no such kernel.
constexpr const Kernel *find(std::string_view name) {
  for (const Kernel &kernel : Kernels)
    if (kernel.name == name)
      return &kernel;
  return nullptr;
}

/// The rows of one kernel; none for an unknown one.
constexpr std::span<const Binding> bindings(std::string_view kernel) {
  const Kernel *found = find(kernel);
  return found ? found->bindings : std::span<const Binding>();
}
constexpr std::span<const Push> pushes(std::string_view kernel) {
  const Kernel *found = find(kernel);
  return found ? found->pushes : std::span<const Push>();
}
constexpr std::span<const Constant> constants(std::string_view kernel) {
  const Kernel *found = find(kernel);
  return found ? found->constants : std::span<const Constant>();
}

/// Whether a kernel has a binding where `valueOf(name)` gives the values of its constants.
template <typename ValueOf> constexpr bool isBound(const Binding &binding, ValueOf valueOf) {
  return binding.condition == "ALWAYS" || valueOf(binding.condition) != 0;
}
/// The bindings that a kernel has under these constants; binding number i is element i. A constant that is
/// absent counts as 0.
inline std::vector<Binding> bindings(std::string_view kernel, const std::map<std::string, int64_t> &values) {
  std::vector<Binding> bound;
  for (const Binding &binding : bindings(kernel))
    if (isBound(binding, [&](std::string_view name) {
          auto value = values.find(std::string(name));
          return value == values.end() ? 0 : value->second;
        }))
      bound.push_back(binding);
  return bound;
}

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

} // namespace lorac::catalog

#endif // LORAC_SCHEMAS_CATALOG_H
