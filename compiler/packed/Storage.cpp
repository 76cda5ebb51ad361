#include "compiler/packed/Storage.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace lorac::packed {

namespace {

/// Parts of a dotted name that are numbers become `*`.
std::string roleOf(std::string_view name) {
  constexpr std::string_view suffix = ".weight";
  if (name.ends_with(suffix))
    name.remove_suffix(suffix.size());
  std::string role;
  while (true) {
    const std::string_view part = name.substr(0, name.find('.'));
    const bool number = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return std::isdigit(static_cast<unsigned char>(c)) != 0;
    });
    role += number ? "*" : part;
    if (part.size() == name.size())
      return role;
    role += '.';
    name.remove_prefix(part.size() + 1);
  }
}

} // namespace

std::vector<StorageRow> storageTable(std::span<const StoredMatrix> matrices) {
  struct Sums {
    double error = 0, reference = 0;
  };
  std::vector<StorageRow> rows;
  std::vector<Sums> sums;
  for (const StoredMatrix &matrix : matrices) {
    const std::string role = roleOf(matrix.name);
    auto row = std::find_if(rows.begin(), rows.end(), [&](const StorageRow &known) {
      return known.sites == role && known.encoding == matrix.encoding && known.type == matrix.type;
    });
    if (row == rows.end()) {
      row = rows.insert(rows.end(), {role, matrix.encoding, matrix.keepable, matrix.type});
      sums.emplace_back();
    }
    Sums &sum = sums[size_t(row - rows.begin())];
    const uint64_t tileRows = (matrix.rows + TileRows - 1) / TileRows * TileRows;
    ++row->matrices;
    row->values += matrix.rows * matrix.cols;
    row->bytes +=
        tileRows * (codeRowBytes(matrix.type, matrix.cols) + scaleRowBytes(matrix.type, matrix.cols)) +
        nestedBytes(matrix.type, matrix.rows, matrix.cols);
    sum.error += matrix.errorSquares;
    sum.reference += matrix.referenceSquares;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].bitsPerWeight = double(rows[i].bytes) * 8 / double(rows[i].values);
    rows[i].error = sums[i].reference > 0 ? std::sqrt(sums[i].error / sums[i].reference) : 0;
  }
  return rows;
}

} // namespace lorac::packed
