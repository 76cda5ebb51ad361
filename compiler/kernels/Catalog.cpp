// Catalog.cpp - look-ups in the catalog's tables.
#include "compiler/kernels/Catalog.h"

#include <algorithm>

namespace lorac::catalog {
namespace {

// A kernel's rows stand together in Catalog.def; this is the proof.
template <typename Row, size_t Count> constexpr bool rowsStandTogether(const Row (&rows)[Count]) {
  for (size_t i = 1; i < Count; ++i)
    if (rows[i].kernel != rows[i - 1].kernel)
      for (size_t j = 0; j + 1 < i; ++j)
        if (rows[j].kernel == rows[i].kernel)
          return false;
  return true;
}
static_assert(rowsStandTogether(Bindings) && rowsStandTogether(Pushes) && rowsStandTogether(Constants));

template <typename Row> std::span<const Row> rowsOf(std::span<const Row> rows, std::string_view kernel) {
  auto first = std::ranges::find(rows, kernel, &Row::kernel);
  auto last = std::find_if(first, rows.end(), [&](const Row &row) { return row.kernel != kernel; });
  return {first, last};
}

} // namespace

const Kernel *find(std::string_view kernel) {
  const Kernel *found = std::ranges::find(Kernels, kernel, &Kernel::name);
  return found == std::end(Kernels) ? nullptr : found;
}

std::span<const Binding> bindings(std::string_view kernel) {
  return rowsOf(std::span<const Binding>(Bindings), kernel);
}
std::span<const Push> pushes(std::string_view kernel) {
  return rowsOf(std::span<const Push>(Pushes), kernel);
}
std::span<const Constant> constants(std::string_view kernel) {
  return rowsOf(std::span<const Constant>(Constants), kernel);
}

std::vector<Binding> bindings(std::string_view kernel, const std::map<std::string, int64_t> &values) {
  std::vector<Binding> present;
  for (const Binding &binding : bindings(kernel)) {
    auto value = values.find(std::string(binding.condition));
    if (binding.condition == "ALWAYS" || (value != values.end() && value->second != 0))
      present.push_back(binding);
  }
  return present;
}

bool hasEpilogue(std::string_view kernel) { return kernel == "linear" || kernel == "map"; }

} // namespace lorac::catalog
