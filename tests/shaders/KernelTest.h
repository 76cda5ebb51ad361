//===- KernelTest.h - data for kernels on the host --------------*- C++ -*-===//
// Seeded data, poisoned outputs, weights and adapters in the layouts of the schemas, written here
// independently of the compiler.
#ifndef LORAC_TESTS_SHADERS_KERNELTEST_H
#define LORAC_TESTS_SHADERS_KERNELTEST_H

#include "schemas/StepTable.h"
#include "shaders/prelude/host.h"
#include "support/Half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

namespace lorac::shader {

/// A NaN that no kernel makes: what was not written, or must not be read.
constexpr uint32_t Poison = 0x7fc0dead;
inline float poison() { return std::bit_cast<float>(Poison); }
inline bool isPoison(float value) { return std::bit_cast<uint32_t>(value) == Poison; }
inline std::vector<float> poisoned(size_t count) { return std::vector<float>(count, poison()); }

inline uint32_t ceilDiv(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
inline uint32_t roundUp(uint32_t a, uint32_t b) { return ceilDiv(a, b) * b; }

/// splitmix64: the same numbers on every platform.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In [-1, 1).
  float uniform() { return float(int64_t(next() >> 40) - (1 << 23)) * 0x1p-23f; }
  std::vector<float> uniforms(size_t count) {
    std::vector<float> values(count);
    for (float &value : values)
      value = uniform();
    return values;
  }

private:
  uint64_t state;
};

/// What f16 or f32 storage makes of a value.
inline float stored(float value, bool isF32) { return isF32 ? value : halfToFloat(floatToHalf(value)); }

/// A matrix as `[rows/8][cols/c][8][16 bytes]`, c = 4 (f32) or 8 (f16), rows and columns padded with zeros.
/// The tile layout of weights, of A (rows = ranks) and of B (rows = outputs, columns = ranks).
inline std::vector<uint32_t> tiled(const std::vector<float> &values, uint32_t rows, uint32_t cols,
                                   bool isF32) {
  uint32_t perPiece = isF32 ? 4 : 8, pieces = ceilDiv(cols, perPiece);
  std::vector<uint32_t> words(size_t(ceilDiv(rows, 8)) * pieces * 8 * 4, 0);
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t col = 0; col < cols; ++col) {
      size_t piece = (size_t(row / 8) * pieces + col / perPiece) * 8 + row % 8;
      float value = values[size_t(row) * cols + col];
      if (isF32)
        words[piece * 4 + col % 4] = std::bit_cast<uint32_t>(value);
      else
        words[piece * 4 + col % 8 / 2] |= uint32_t(floatToHalf(value)) << (16 * (col % 2));
    }
  return words;
}

/// Rows of `width` values, `stride` f32 apart; what lies between them is poison.
inline std::vector<float> strided(const std::vector<float> &values, uint32_t rows, uint32_t width,
                                  uint32_t stride) {
  std::vector<float> padded = poisoned(size_t(rows) * stride);
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t i = 0; i < width; ++i)
      padded[size_t(row) * stride + i] = values[size_t(row) * width + i];
  return padded;
}

/// One adapter's part at one site.
struct SitePart {
  uint32_t rank = 0; ///< 0: the adapter leaves the site alone
  bool hasBias = false;
  bool isF32 = false;
  float scaling = 1.0f;
  std::vector<float> a; ///< [rank][in], as stored
  std::vector<float> b; ///< [out][ranks], ranks = rank + hasBias, as stored
  uint32_t ranks() const { return rank + hasBias; }
  uint32_t tiles() const { return rank == 0 ? 0 : ceilDiv(ranks(), 8); }
};
inline SitePart randomPart(Random &random, uint32_t rank, bool hasBias, bool isF32, uint32_t in,
                           uint32_t out) {
  SitePart part{rank, hasBias, isF32, 0.5f + 0.25f * random.uniform(), {}, {}};
  if (rank == 0)
    return part;
  part.a = random.uniforms(size_t(rank) * in);
  part.b = random.uniforms(size_t(out) * part.ranks());
  for (float &value : part.a)
    value = stored(value, isF32);
  for (float &value : part.b)
    value = stored(value, isF32);
  return part;
}

/// The adapter pool: slots of (directory, image). Slots lie apart and the gaps are poison.
class Pool {
public:
  /// Appends a slot with these parts, one a site, then the null record. `in` and `out` by site. Gives its
  /// base.
  uint32_t add(const std::vector<SitePart> &parts, const std::vector<uint32_t> &in,
               const std::vector<uint32_t> &out) {
    words.resize(words.size() + 7 * 4, Poison);
    uint32_t base = uint32_t(words.size() / 4);
    std::vector<uint32_t> directory, image;
    uint32_t imageStart = uint32_t(parts.size()) + 1;
    for (size_t site = 0; site < parts.size(); ++site) {
      const SitePart &part = parts[site];
      if (part.rank == 0) {
        directory.insert(directory.end(), {0, 0, 0, 0});
        continue;
      }
      // A with rows of zeros up to whole tiles; B with columns of zeros likewise.
      uint32_t padded = part.tiles() * 8;
      std::vector<float> a(size_t(padded) * in[site], 0.0f), b(size_t(out[site]) * padded, 0.0f);
      std::copy(part.a.begin(), part.a.end(), a.begin());
      for (uint32_t o = 0; o < out[site]; ++o)
        for (uint32_t r = 0; r < part.ranks(); ++r)
          b[size_t(o) * padded + r] = part.b[size_t(o) * part.ranks() + r];
      uint32_t aOffset = imageStart + uint32_t(image.size() / 4);
      std::vector<uint32_t> aWords = tiled(a, padded, in[site], part.isF32);
      image.insert(image.end(), aWords.begin(), aWords.end());
      uint32_t bOffset = imageStart + uint32_t(image.size() / 4);
      std::vector<uint32_t> bWords = tiled(b, out[site], padded, part.isF32);
      image.insert(image.end(), bWords.begin(), bWords.end());
      uint32_t tiles = part.tiles();
      if (part.hasBias)
        tiles |= (part.rank + 1) << step::BiasRankShift;
      if (part.isF32)
        tiles |= step::Float32Bit;
      directory.insert(directory.end(), {aOffset, bOffset, tiles, std::bit_cast<uint32_t>(part.scaling)});
    }
    directory.insert(directory.end(), {0, 0, 0, 0});
    words.insert(words.end(), directory.begin(), directory.end());
    words.insert(words.end(), image.begin(), image.end());
    return base;
  }
  std::vector<uint32_t> words;
};

/// No fault since the last call.
inline void expectNoFaults() {
  for (const std::string &fault : takeFaults())
    ADD_FAILURE() << fault;
}

} // namespace lorac::shader

#endif // LORAC_TESTS_SHADERS_KERNELTEST_H
