#include "runtime/files/Catalog.h"

#include <array>
#include <cstddef>

namespace lorac {

namespace {

constexpr CatalogBinding Bindings[] = {
#define BINDING(KERNEL, ROLE, ACCESS, ELEMENT, CONDITION)                                                    \
  {#KERNEL, #ROLE, fbs::Access::ACCESS, fbs::Element::ELEMENT, #CONDITION},
#include "schemas/Catalog.def"
};
constexpr CatalogPush Pushes[] = {
#define PUSH(KERNEL, NAME) {#KERNEL, #NAME},
#include "schemas/Catalog.def"
};
constexpr CatalogConstant Constants[] = {
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

constexpr CatalogKernel Kernels[] = {
#define KERNEL(NAME, ADAPTER, SUMMARY)                                                                       \
  {#NAME, ADAPTER != 0, rowsOf(Bindings, #NAME), rowsOf(Pushes, #NAME), rowsOf(Constants, #NAME)},
#include "schemas/Catalog.def"
};

/// Rows that stand apart from the others of their kernel, or belong to none, would be lost.
constexpr bool allRowsTaken() {
  size_t bindings = 0, pushes = 0, constants = 0;
  for (const CatalogKernel &kernel : Kernels) {
    bindings += kernel.bindings.size();
    pushes += kernel.push.size();
    constants += kernel.constants.size();
  }
  return bindings == std::size(Bindings) && pushes == std::size(Pushes) && constants == std::size(Constants);
}
static_assert(allRowsTaken(), "schemas/Catalog.def: rows of one kernel must stand together after its KERNEL");

} // namespace

std::span<const CatalogKernel> kernelCatalog() { return Kernels; }

const CatalogKernel *findCatalogKernel(std::string_view name) {
  for (const CatalogKernel &kernel : Kernels)
    if (kernel.name == name)
      return &kernel;
  return nullptr;
}

} // namespace lorac
