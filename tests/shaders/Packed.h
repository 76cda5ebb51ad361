//===- Packed.h - matrices of packed types, for tests and benchmarks -*- C++ -*-===//
// Planes of random bits and what they mean, read value by value from docs/formats/packed.md: independent of
// the compiler's packer and of the kernels' decoding.
#ifndef LORAC_TESTS_SHADERS_PACKED_H
#define LORAC_TESTS_SHADERS_PACKED_H

#include "support/Half.h"

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace lorac::shader {

/// A packed type by the constants that kernels are specialised with.
struct PackedType {
  const char *name;
  uint32_t weight; ///< 0 f32, 1 f16, 2 bf16, 3 int8, 4 int4, 5 nf4, 6 fp4
  uint32_t group = 0, hasScales = 0, hasPairs = 0, zeroPoint = 0, nested = 0;

  uint32_t pieceValues() const {
    const uint32_t values[] = {4, 8, 8, 16, 32, 32, 32};
    return values[weight];
  }
  /// TAIL, as a linear of rows of `k` values must have it at least.
  uint32_t tail(uint32_t k) const {
    if (group == 0)
      return k % 32 != 0;
    return (hasPairs || weight == 3 || weight == 4) && k / group % 2 != 0;
  }
};

inline constexpr PackedType PackedTypes[] = {
    {"f32", 0},
    {"f16", 1},
    {"bf16", 2},
    {"int8-row", 3, 0, 1},
    {"int8", 3, 32, 1},
    {"int8-g64", 3, 64, 1},
    {"int8-g128", 3, 128, 1},
    {"int4", 4, 32, 1},
    {"int4-g64", 4, 64, 1},
    {"int4-g128", 4, 128, 1},
    {"int4-offset", 4, 32, 0, 1},
    {"int4-g64-offset", 4, 64, 0, 1},
    {"int4-g128-offset", 4, 128, 0, 1},
    {"int4-zero", 4, 32, 0, 1, 1},
    {"int4-g64-zero", 4, 64, 0, 1, 1},
    {"int4-g128-zero", 4, 128, 0, 1, 1},
    {"nf4", 5, 64, 1},
    {"nf4-g32", 5, 32, 1},
    {"nf4-g256", 5, 256, 1},
    {"fp4", 6, 64, 1},
    {"nf4-double", 5, 64, 1, 0, 0, 1},
    {"nf4-g32-double", 5, 32, 1, 0, 0, 1},
    {"nf4-g128-double", 5, 128, 1, 0, 0, 1},
    {"fp4-double", 6, 64, 1, 0, 0, 1},
};
inline const PackedType &packedType(const std::string &name) {
  for (const PackedType &type : PackedTypes)
    if (name == type.name)
      return type;
  return PackedTypes[0];
}

/// Rows are those of all joined segments, whole tiles.
struct PackedMatrix {
  PackedType type;
  uint32_t rows = 0, k = 0;
  std::vector<uint32_t> starts = {0}; ///< of the segments, in rows
  std::vector<uint32_t> codes, scales, nested;
  std::vector<uint64_t> pairs;
  std::vector<float> map;

  uint32_t pieces() const { return (k + type.pieceValues() - 1) / type.pieceValues(); }
  uint32_t groups() const { return type.group == 0 ? 1 : k / type.group; }

  /// W[row, column], bit for bit.
  float value(uint32_t row, uint32_t column) const {
    const uint32_t c = type.pieceValues(), i = column % c;
    const uint32_t *piece = &codes[((size_t(row / 8) * pieces() + column / c) * 8 + row % 8) * 4];
    switch (type.weight) {
    case 0:
      return std::bit_cast<float>(piece[i]);
    case 1:
      return halfToFloat(uint16_t(piece[i / 2] >> (i % 2 * 16)));
    case 2:
      return std::bit_cast<float>(piece[i / 2] >> (i % 2 * 16) << 16);
    case 3:
      return scale(row, column) * float(int8_t(piece[i % 4] >> (i / 4 * 8)));
    }
    const uint32_t q = piece[i % 4] >> (i / 4 * 4) & 15u;
    if (type.weight == 4 && !type.hasPairs)
      return scale(row, column) * (float(q) - 8.0f);
    if (type.weight == 4) {
      const uint64_t pair =
          pairs[(size_t(row / 8) * ((groups() + 1) / 2) + column / type.group / 2) * 8 + row % 8] >>
          (column / type.group % 2 * 32);
      const float first = halfToFloat(uint16_t(pair)), second = halfToFloat(uint16_t(pair >> 16));
      return type.zeroPoint ? first * (float(q) - second) : first * float(q) + second;
    }
    static constexpr float Nf4[] = {-1.0f,
                                    -0.6961928009986877f,
                                    -0.5250730514526367f,
                                    -0.39491748809814453f,
                                    -0.28444138169288635f,
                                    -0.18477343022823334f,
                                    -0.09105003625154495f,
                                    0.0f,
                                    0.07958029955625534f,
                                    0.16093020141124725f,
                                    0.24611230194568634f,
                                    0.33791524171829224f,
                                    0.44070982933044434f,
                                    0.5626170039176941f,
                                    0.7229568362236023f,
                                    1.0f};
    static constexpr float Fp4[] = {0.0f,        1.0f / 192.0f, 2.0f / 3.0f, 1.0f,
                                    1.0f / 3.0f, 0.5f,          1.0f / 6.0f, 0.25f};
    const float entry = type.weight == 5 ? Nf4[q] : q < 8 ? Fp4[q] : -Fp4[q - 8];
    return scale(row, column) * entry;
  }

private:
  float scale(uint32_t row, uint32_t column) const {
    const size_t tile = row / 8, lane = row % 8, n = groups();
    if (type.group == 0)
      return std::bit_cast<float>(scales[tile * 8 + lane]);
    const size_t g = column / type.group;
    if (type.weight == 3 || type.weight == 4)
      return halfToFloat(uint16_t(scales[(tile * ((n + 1) / 2) + g / 2) * 8 + lane] >> (g % 2 * 16)));
    if (!type.nested)
      return std::bit_cast<float>(scales[(tile * n + g) * 8 + lane]);
    const size_t byte = (tile * n + g) * 8 + lane;
    const uint32_t code = scales[byte / 4] >> (byte % 4 * 8) & 255u;
    size_t segment = starts.size() - 1;
    while (starts[segment] > row)
      --segment;
    const size_t number = (row - starts[segment]) * n + g, start = nested[segment];
    const float product = map[code] * std::bit_cast<float>(nested[start + 1 + number / 256]);
    return product + std::bit_cast<float>(nested[start]);
  }
};

/// Random planes; `random` gives 64 bits a call. Padding along K is zero.
template <typename Random>
PackedMatrix randomPacked(const PackedType &type, uint32_t rows, uint32_t k, Random &random,
                          std::vector<uint32_t> starts = {0}) {
  PackedMatrix made;
  made.type = type;
  made.rows = (rows + 7) / 8 * 8;
  made.k = k;
  made.starts = std::move(starts);
  const size_t tiles = made.rows / 8, n = made.groups();
  auto uniform = [&] { return float(int64_t(random.next() >> 40) - (1 << 23)) * 0x1p-23f; };
  auto half = [&] { return uint32_t(floatToHalf(uniform())); };
  made.codes.resize(tiles * made.pieces() * 32);
  // No infinities: the highest exponents are left out.
  const uint32_t masks[] = {0xbf7fffffu, 0xbbffbbffu, 0xbf7fbf7fu, ~0u, ~0u, ~0u, ~0u};
  for (uint32_t &word : made.codes)
    word = uint32_t(random.next() >> 32) & masks[type.weight];
  if (k % type.pieceValues() != 0) // types whose pieces may be cut: f32, f16, bf16, int8
    for (size_t row = 0; row < made.rows; ++row) {
      uint32_t *piece = &made.codes[((row / 8 * made.pieces() + made.pieces() - 1) * 8 + row % 8) * 4];
      for (uint32_t i = k % type.pieceValues(); i < type.pieceValues(); ++i) {
        if (type.weight == 0)
          piece[i] = 0;
        else if (type.weight == 3)
          piece[i % 4] &= ~(255u << (i / 4 * 8));
        else
          piece[i / 2] &= ~(0xffffu << (i % 2 * 16));
      }
    }
  if (type.hasPairs) {
    made.pairs.resize(tiles * ((n + 1) / 2) * 8);
    auto pair = [&] {
      return uint64_t(half() | (type.zeroPoint ? floatToHalf(float(random.next() % 17)) : half()) << 16);
    };
    for (size_t i = 0; i < made.pairs.size(); ++i) {
      made.pairs[i] = pair();
      if (n % 2 == 0 || i / 8 % ((n + 1) / 2) != n / 2)
        made.pairs[i] |= pair() << 32;
    }
  }
  if (type.nested) {
    made.scales.resize((tiles * n * 8 + 3) / 4);
    for (uint32_t &word : made.scales)
      word = uint32_t(random.next());
    for (size_t i = 0; i < 256; ++i)
      made.map.push_back(uniform());
    made.nested.resize(4, 0);
    for (size_t s = 0; s < made.starts.size(); ++s) {
      const size_t end = s + 1 < made.starts.size() ? made.starts[s + 1] : made.rows;
      made.nested[s] = uint32_t(made.nested.size());
      for (size_t i = 0; i <= ((end - made.starts[s]) * n + 255) / 256; ++i)
        made.nested.push_back(std::bit_cast<uint32_t>(uniform()));
    }
  } else if (type.hasScales && (type.group == 0 || type.weight >= 5)) {
    for (size_t i = 0; i < tiles * n * 8; ++i)
      made.scales.push_back(std::bit_cast<uint32_t>(uniform()));
  } else if (type.hasScales) {
    made.scales.resize(tiles * ((n + 1) / 2) * 8);
    for (size_t i = 0; i < made.scales.size(); ++i)
      made.scales[i] = half() | (n % 2 == 0 || i / 8 % ((n + 1) / 2) != n / 2 ? half() << 16 : 0u);
  }
  return made;
}

} // namespace lorac::shader

#endif // LORAC_TESTS_SHADERS_PACKED_H
