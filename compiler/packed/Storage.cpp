#include "compiler/packed/Storage.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

namespace lorac::packed {

namespace {

std::vector<std::string_view> partsOf(std::string_view name) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t dot = name.find('.');
    parts.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos)
      return parts;
    name.remove_prefix(dot + 1);
  }
}

std::optional<uint64_t> numberOf(std::string_view part) {
  uint64_t number = 0;
  const char *end = part.data() + part.size();
  const auto [at, error] = std::from_chars(part.data(), end, number);
  return error == std::errc() && at == end ? std::optional(number) : std::nullopt;
}

/// "0-3,7" of numbers in ascending order.
std::string rangesOf(std::span<const uint64_t> numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1)
      ++last;
    text += text.empty() ? "" : ",";
    text += std::to_string(numbers[i]);
    if (last > i)
      text.append("-").append(std::to_string(numbers[last]));
    i = last + 1;
  }
  return text;
}

} // namespace

std::string roleOf(std::string_view name) {
  constexpr std::string_view suffix = ".weight";
  if (name.ends_with(suffix))
    name.remove_suffix(suffix.size());
  std::string role;
  for (std::string_view part : partsOf(name)) {
    role += role.empty() ? "" : ".";
    role += numberOf(part) ? "*" : part;
  }
  return role;
}

std::vector<StorageRow> storageTable(std::span<const StoredMatrix> matrices) {
  struct Sums {
    double error = 0, reference = 0;
    std::vector<uint64_t> numbers; // of layers, where names have them
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
    for (std::string_view part : partsOf(matrix.name))
      if (const std::optional<uint64_t> number = numberOf(part)) {
        sum.numbers.push_back(*number);
        break;
      }
    sum.error += matrix.errorSquares;
    sum.reference += matrix.referenceSquares;
  }
  std::map<std::string, size_t> rowsOfRole;
  for (const StorageRow &row : rows)
    ++rowsOfRole[row.sites];
  for (size_t i = 0; i < rows.size(); ++i) {
    if (const size_t star = rows[i].sites.find('*');
        star != std::string::npos && rowsOfRole[rows[i].sites] > 1) {
      std::sort(sums[i].numbers.begin(), sums[i].numbers.end());
      rows[i].sites.replace(star, 1, rangesOf(sums[i].numbers));
    }
    rows[i].bitsPerWeight = double(rows[i].bytes) * 8 / double(rows[i].values);
    rows[i].error = sums[i].reference > 0 ? std::sqrt(sums[i].error / sums[i].reference) : 0;
  }
  return rows;
}

} // namespace lorac::packed
