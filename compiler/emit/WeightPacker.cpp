#include "compiler/emit/WeightPacker.h"

#include "support/Checked.h"
#include "support/Half.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <future>

namespace lorac {

namespace {
constexpr uint64_t TileRows = 8;
constexpr uint64_t BatchBytes = 2 << 20;
constexpr size_t Threads = 2;
static_assert(std::endian::native == std::endian::little,
              "files are little-endian and values are copied as they are");
} // namespace

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

Status WeightPacker::packRows(uint64_t begin, uint64_t count, std::vector<uint8_t> &out) const {
  const uint64_t cols = source.cols(), pieces = rowBytes() / 16;
  std::vector<float> values(count * cols);
  LORAC_TRY(readFolded(begin, count, values.data()));
  out.assign(roundUp(count, TileRows) * rowBytes(), 0);
  const uint64_t pieceValues = 16 / valueBytes();
  for (uint64_t row = 0; row < count; ++row) {
    const float *source = values.data() + row * cols;
    uint8_t *tile = out.data() + row / TileRows * TileRows * rowBytes() + row % TileRows * 16;
    for (uint64_t piece = 0; piece < pieces; ++piece) {
      uint8_t *target = tile + piece * TileRows * 16;
      uint64_t first = piece * pieceValues, last = std::min(first + pieceValues, cols);
      if (code == PackedCode::F32) {
        std::memcpy(target, source + first, (last - first) * 4);
        continue;
      }
      for (uint64_t k = first; k < last; ++k) {
        uint16_t half = floatToHalf(source[k]);
        if ((half & 0x7c00u) == 0x7c00u)
          return Status(Code::InvalidArgument)
                 << this->source.name() << ": value " << source[k] << " at row " << begin + row << ", column "
                 << k << " is beyond f16 (65504); store it wider: --quantize '" << this->source.name()
                 << "=f32'";
        std::memcpy(target + (k - first) * 2, &half, 2);
      }
    }
  }
  return Status::ok();
}

Status WeightPacker::pack(const std::function<Status(std::span<const uint8_t>)> &sink) const {
  const uint64_t rows = source.rows();
  const uint64_t batchRows = std::max<uint64_t>(BatchBytes / (rowBytes() * TileRows), 1) * TileRows;
  struct Batch {
    std::vector<uint8_t> bytes;
    Status status;
  };
  for (uint64_t begin = 0; begin < rows; begin += batchRows * Threads) {
    std::vector<std::future<Batch>> running;
    for (uint64_t start = begin; start < std::min(rows, begin + batchRows * Threads); start += batchRows)
      running.push_back(
          std::async(std::launch::async, [this, start, count = std::min(batchRows, rows - start)] {
            Batch batch;
            batch.status = packRows(start, count, batch.bytes);
            return batch;
          }));
    Status first;
    for (std::future<Batch> &future : running) {
      Batch batch = future.get();
      if (first.isOk())
        first = batch.status.isOk() ? sink(batch.bytes) : batch.status;
    }
    LORAC_TRY(first);
  }
  return Status::ok();
}

} // namespace lorac
