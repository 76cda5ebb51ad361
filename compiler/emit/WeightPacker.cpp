#include "compiler/emit/WeightPacker.h"

#include "compiler/packed/Quantizer.h"
#include "compiler/packed/Tiles.h"
#include "support/Half.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <future>
#include <numeric>

namespace lorac {

namespace {

constexpr uint64_t BatchBytes = 2 << 20;
constexpr size_t Threads = 2;

/// Σ term(i) for i < count in eight sums side by side: one alone waits for itself at every step.
template <typename Term> double sumOf(size_t count, Term term) {
  std::array<double, 8> sums = {};
  size_t i = 0;
  for (; i + sums.size() <= count; i += sums.size())
    for (size_t lane = 0; lane < sums.size(); ++lane)
      sums[lane] += term(i + lane);
  for (; i < count; ++i)
    sums[0] += term(i);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double squares(std::span<const float> values) {
  return sumOf(values.size(), [&](size_t i) { return double(values[i]) * double(values[i]); });
}

double squaredDifference(std::span<const float> a, std::span<const float> b) {
  return sumOf(a.size(), [&](size_t i) {
    const double difference = double(a[i]) - double(b[i]);
    return difference * difference;
  });
}

/// The first of `values` that is not finite, or how many there are.
uint64_t firstInfinite(std::span<const float> values) {
  return uint64_t(
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); }) -
      values.begin());
}

std::string valueText(float value, uint64_t column) {
  char text[64];
  std::snprintf(text, sizeof(text), "value %g in column %llu is beyond ", double(value),
                static_cast<unsigned long long>(column));
  return text;
}

void appendBytes(std::vector<uint8_t> &to, const void *from, size_t bytes) {
  const auto *first = static_cast<const uint8_t *>(from);
  to.insert(to.end(), first, first + bytes);
}

} // namespace

double PackingError::relative() const { return reference > 0 ? std::sqrt(squares / reference) : 0; }

/// What codes of blocks are multiplied by, and what is needed to know the error for any scale: Σ W·T and Σ T²
/// of each block, with T = the stored values over the scale.
struct WeightPacker::BlockSums {
  std::vector<float> scales;
  std::vector<float> mixed, own;
};

struct WeightPacker::Batch {
  packed::Tiles tiles;
  PackingError error;
  BlockSums blocks; ///< with double quantization
  Status status;
};

Status WeightPacker::tooWide(uint64_t row, const std::string &problem) const {
  return Status(Code::InvalidArgument) << source.name() << ": row " << row << ": " << problem
                                       << "; store it wider: --quantize '" << source.name() << "=f32'";
}

Status WeightPacker::readFolded(uint64_t begin, uint64_t count, float *out) const {
  LORAC_TRY(source.readRows(begin, count, out));
  const uint64_t cols = source.cols();
  for (const FoldValues &fold : folds)
    for (uint64_t row = 0; row < count; ++row)
      for (uint64_t r = 0; r < fold.rank; ++r) {
        float factor = float(fold.scale) * fold.b[(begin + row) * fold.rank + r];
        const float *a = fold.a.data() + r * cols;
        float *values = out + row * cols;
        for (uint64_t k = 0; k < cols; ++k)
          values[k] += factor * a[k];
      }
  return Status::ok();
}

WeightPacker::Batch WeightPacker::packRows(uint64_t begin, uint64_t count) const {
  const uint64_t cols = source.cols();
  Batch batch{packed::Tiles(type, count, cols), {}, {}, {}};
  const Encoding encoding = source.location().encoding;
  packed::Row row;
  if (folds.empty() && !packed::isFloat(type.code) && packed::exactTypeOf(encoding) == type) {
    for (uint64_t i = 0; i < count; ++i) {
      packed::copyRow(encoding, source.storedRow(begin + i), cols, row);
      batch.tiles.place(i, row);
    }
    return batch;
  }
  // A float type that is the source's own, or wider, holds every value.
  const bool exact = packed::isFloat(type.code) && folds.empty() &&
                     (type.code == packed::Code::F32 || packed::exactTypeOf(encoding) == type);
  std::vector<float> values(cols), stored(cols);
  for (uint64_t i = 0; i < count && batch.status.isOk(); ++i) {
    batch.status = readFolded(begin + i, 1, values.data());
    if (!batch.status.isOk())
      break;
    if (packed::isFloat(type.code)) {
      if (uint64_t k = batch.tiles.place(i, values); k < cols)
        batch.status = tooWide(begin + i, valueText(values[k], k) + "f16 (65504)");
      if (exact)
        continue;
      for (uint64_t k = 0; k < cols; ++k)
        stored[k] = type.code == packed::Code::F16 ? halfToFloat(floatToHalf(values[k]))
                                                   : bfloatToFloat(floatToBfloat(values[k]));
    } else {
      if (std::string problem = packed::quantizeRow(type, values, row); !problem.empty())
        batch.status = tooWide(begin + i, problem);
      else
        batch.tiles.place(i, row);
    }
    if (!batch.status.isOk())
      break;
    batch.error.reference += squares(values);
    if (!type.nested) {
      if (!packed::isFloat(type.code))
        packed::dequantizeRow(type, row, stored);
      const double difference = squaredDifference(values, stored);
      if (const uint64_t k = std::isfinite(difference) ? cols : firstInfinite(stored); k < cols)
        batch.status =
            tooWide(begin + i, valueText(values[k], k) + "what " + packed::nameOf(type) + " holds");
      batch.error.squares += difference;
      continue;
    }
    batch.blocks.scales.insert(batch.blocks.scales.end(), row.words.begin(), row.words.end());
    std::fill(row.words.begin(), row.words.end(), 1.0f);
    packed::dequantizeRow(type, row, stored);
    for (uint64_t k = 0; k < cols; k += type.group) {
      double mixed = 0, own = 0;
      for (uint64_t j = k; j < k + type.group; ++j) {
        mixed += double(values[j]) * double(stored[j]);
        own += double(stored[j]) * double(stored[j]);
      }
      batch.blocks.mixed.push_back(float(mixed));
      batch.blocks.own.push_back(float(own));
    }
  }
  return batch;
}

/// Codes all blocks' scales: the plane of bytes, the nested plane's part, and the error that they make.
Status WeightPacker::finishNested(const BlockSums &blocks, PackedRest &rest) const {
  const uint64_t rows = source.rows(), cols = source.cols();
  const packed::NestedScales nested = packed::nest(blocks.scales);
  const uint64_t groups = packed::groupsOf(type, cols), tileRows = packed::TileRows;
  for (uint64_t row = 0; row < rows; ++row)
    for (uint64_t g = 0; g < groups; ++g)
      rest.scales[(row / tileRows * groups + g) * tileRows + row % tileRows] = nested.codes[row * groups + g];
  appendBytes(rest.nested, &nested.offset, sizeof(float));
  appendBytes(rest.nested, nested.scales.data(), nested.scales.size() * sizeof(float));
  // Σ (s·T − W)² = s²·ΣT² − 2s·ΣWT + ΣW²
  double squares = rest.error.reference;
  for (uint64_t b = 0; b < blocks.scales.size(); ++b) {
    const double scale = nested.scaleOf(b);
    if (!std::isfinite(scale))
      return tooWide(b / groups, "a block's scale is beyond what " + packed::nameOf(type) + " holds");
    squares += scale * (scale * double(blocks.own[b]) - 2 * double(blocks.mixed[b]));
  }
  rest.error.squares = std::max(squares, 0.0);
  return Status::ok();
}

Result<PackedRest> WeightPacker::pack(const std::function<Status(std::span<const uint8_t>)> &sink) const {
  const uint64_t rows = source.rows();
  const uint64_t tileBytes = packed::codeRowBytes(type, source.cols()) * packed::TileRows;
  const uint64_t batchRows = std::max<uint64_t>(BatchBytes / tileBytes, 1) * packed::TileRows;
  PackedRest rest;
  BlockSums blocks;
  for (uint64_t begin = 0; begin < rows; begin += batchRows * Threads) {
    std::vector<std::future<Batch>> running;
    for (uint64_t start = begin; start < std::min(rows, begin + batchRows * Threads); start += batchRows)
      running.push_back(
          std::async(std::launch::async, [this, start, count = std::min(batchRows, rows - start)] {
            return packRows(start, count);
          }));
    Status first;
    for (std::future<Batch> &future : running) {
      Batch batch = future.get();
      if (first.isOk())
        first = batch.status.isOk() ? sink(batch.tiles.codes) : batch.status;
      rest.error.squares += batch.error.squares;
      rest.error.reference += batch.error.reference;
      rest.scales.insert(rest.scales.end(), batch.tiles.scales.begin(), batch.tiles.scales.end());
      auto append = [](std::vector<float> &to, const std::vector<float> &from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(blocks.scales, batch.blocks.scales);
      append(blocks.mixed, batch.blocks.mixed);
      append(blocks.own, batch.blocks.own);
    }
    LORAC_TRY(first);
  }
  if (type.nested)
    LORAC_TRY(finishNested(blocks, rest));
  return rest;
}

} // namespace lorac
