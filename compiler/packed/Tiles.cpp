#include "compiler/packed/Tiles.h"

#include "support/Checked.h"
#include "support/Half.h"
#include "support/Halves.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lorac::packed {

static_assert(std::endian::native == std::endian::little,
              "files are little-endian and values are copied as they are");

namespace {

constexpr uint64_t PieceStep = TileRows * PieceBytes; ///< from a row's piece to its next

/// 16 bytes of int8: byte j of word w is value 4j + w.
void placeBytes(const uint8_t *codes, uint8_t *piece) {
  for (uint32_t w = 0; w < 4; ++w)
    for (uint32_t j = 0; j < 4; ++j)
      piece[w * 4 + j] = codes[4 * j + w];
}

/// 16 bytes of four bits: nibble j of word w is value 4j + w.
void placeNibbles(const uint8_t *codes, uint8_t *piece) {
  for (uint32_t w = 0; w < 4; ++w)
    for (uint32_t b = 0; b < 4; ++b)
      piece[w * 4 + b] = uint8_t(codes[8 * b + w] | codes[8 * b + 4 + w] << 4);
}

} // namespace

Tiles::Tiles(const Type &type, uint64_t rows, uint64_t cols)
    : codes(roundUp(rows, TileRows) * codeRowBytes(type, cols)),
      scales(roundUp(rows, TileRows) * scaleRowBytes(type, cols)), type(type), cols(cols) {}

uint8_t *Tiles::codesOf(uint64_t row) {
  return codes.data() + row / TileRows * TileRows * codeRowBytes(type, cols) + row % TileRows * PieceBytes;
}

void Tiles::place(uint64_t row, const Row &values) {
  uint8_t *piece = codesOf(row);
  const uint64_t step = pieceValues(type.code);
  for (uint64_t k = 0; k < cols; k += step, piece += PieceStep) {
    uint8_t padded[32] = {}; // the widest piece
    const uint8_t *from = values.codes.data() + k;
    if (k + step > cols)
      from = static_cast<const uint8_t *>(std::memcpy(padded, from, cols - k));
    step == PieceBytes ? placeBytes(from, piece) : placeNibbles(from, piece);
  }

  const uint64_t groups = groupsOf(type, cols), inTile = row % TileRows;
  uint8_t *plane = scales.data() + row / TileRows * TileRows * scaleRowBytes(type, cols);
  auto put = [&](uint64_t offset, const auto &value) { std::memcpy(plane + offset, &value, sizeof(value)); };
  for (uint64_t g = 0; g < groups; ++g)
    switch (scalesOf(type)) {
    case Scales::Words:
      put((g * TileRows + inTile) * 4, values.words[g]);
      break;
    case Scales::Halves:
      put((g / 2 * TileRows + inTile) * 4 + g % 2 * 2, values.halves[g]);
      break;
    case Scales::Pairs:
      put((g / 2 * TileRows + inTile) * 8 + g % 2 * 4, values.halves[g]);
      put((g / 2 * TileRows + inTile) * 8 + g % 2 * 4 + 2, values.seconds[g]);
      break;
    case Scales::Bytes: // their codes are known once all blocks are
    case Scales::None:
      break;
    }
}

uint64_t Tiles::place(uint64_t row, std::span<const float> values) {
  uint8_t *piece = codesOf(row);
  const uint64_t step = pieceValues(type.code);
  if (type.code == Code::F16) {
    std::vector<uint8_t> halves(codeRowBytes(type, cols)); // zeros behind the last value
    const bool all = floatsToHalves(values.data(), cols, halves.data());
    for (uint64_t at = 0; at < halves.size(); at += PieceBytes, piece += PieceStep)
      std::memcpy(piece, halves.data() + at, PieceBytes);
    if (all)
      return cols;
    auto beyond = [](float value) { return (floatToHalf(value) & 0x7c00u) == 0x7c00u; };
    return uint64_t(std::find_if(values.begin(), values.end(), beyond) - values.begin());
  }
  for (uint64_t k = 0; k < cols; k += step, piece += PieceStep) {
    const uint64_t count = std::min(step, cols - k);
    if (type.code == Code::F32) {
      std::memcpy(piece, values.data() + k, count * 4);
      continue;
    }
    for (uint64_t i = 0; i < count; ++i) {
      const uint16_t bfloat = floatToBfloat(values[k + i]);
      std::memcpy(piece + i * 2, &bfloat, 2);
    }
  }
  return cols;
}

} // namespace lorac::packed
