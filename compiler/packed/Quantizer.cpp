#include "compiler/packed/Quantizer.h"

#include "compiler/packed/Tables.h"
#include "support/Half.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>

namespace lorac::packed {

namespace {

constexpr uint64_t BlockValues = 32; ///< of ggml's simple block types

/// Of finite values. Their bits without the sign are in the order of the magnitudes, and a maximum of
/// integers may be taken in any order: compilers make vectors of that loop.
float largestMagnitude(std::span<const float> values) {
  int32_t largest = 0;
  for (float value : values)
    largest = std::max(largest, std::bit_cast<int32_t>(value) & 0x7fffffff);
  return std::bit_cast<float>(largest);
}

/// The nearest whole number, halves away from zero.
int32_t roundAway(float value) {
  const float magnitude = std::fabs(value);
  auto whole = int32_t(magnitude);
  whole += int32_t(2.0f * (magnitude - float(whole)) >= 1.0f);
  return value < 0 ? -whole : whole;
}

/// 0 for scales that have none, or one beyond f32.
float inverse(float scale) {
  const float factor = 1 / scale;
  return std::isfinite(factor) ? factor : 0;
}

/// d·q with q from -127 to 127; the scale before it is rounded to f16, if it will be.
float quantizeInt8(std::span<const float> values, uint8_t *codes) {
  const float scale = largestMagnitude(values) / 127, factor = inverse(scale);
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = uint8_t(std::clamp(roundAway(values[i] * factor), -127, 127));
  return scale;
}

/// d·(q − 8): the value of largest magnitude becomes q = 0.
float quantizeSymmetric(std::span<const float> values, uint8_t *codes) {
  // With its sign, and of several the first.
  const float magnitude = largestMagnitude(values);
  const float extreme =
      *std::find_if(values.begin(), values.end(), [&](float value) { return std::fabs(value) == magnitude; });
  const float scale = (magnitude == 0 ? 0 : extreme) / -8;
  const double factor = inverse(scale);
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = uint8_t(std::clamp(int32_t(double(values[i]) * factor + 8.5), 0, 15));
  return scale;
}

/// d·q + m with m the least value.
std::pair<float, float> quantizeOffset(std::span<const float> values, uint8_t *codes) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  const float minimum = *least, scale = (*greatest - minimum) / 15, factor = inverse(scale);
  if (!std::isfinite(scale)) // refused as beyond f16
    return {scale, minimum};
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = uint8_t(std::clamp(int32_t((values[i] - minimum) * factor + 0.5f), 0, 15));
  return {scale, minimum};
}

/// d·(q − z) over a range that includes 0, so that 0 is exact; with the scale as f16 holds it.
std::pair<float, int32_t> quantizeZeroPoint(std::span<const float> values, uint8_t *codes) {
  float least = 0, greatest = 0;
  for (float value : values) {
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  const float unrounded = (greatest - least) / 15;
  const float scale = halfToFloat(floatToHalf(unrounded)), factor = inverse(scale);
  if (!std::isfinite(scale)) // refused as beyond f16
    return {unrounded, 0};
  const int32_t zero = std::clamp(roundAway(-least * factor), 0, 15);
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = uint8_t(std::clamp(roundAway(std::clamp(values[i] * factor, -16.0f, 16.0f)) + zero, 0, 15));
  return {scale, zero};
}

/// The table's codes in ascending order of their values, and the midpoints between neighbours.
struct Buckets {
  std::array<uint8_t, 16> codes;
  std::array<float, 15> midpoints;
};

Buckets makeBuckets(Code code) {
  const std::array<float, 16> &table = tableOf(code);
  Buckets buckets{};
  for (uint8_t i = 0; i < 16; ++i)
    buckets.codes[i] = i;
  std::stable_sort(buckets.codes.begin(), buckets.codes.end(),
                   [&](uint8_t a, uint8_t b) { return table[a] < table[b]; });
  for (size_t i = 0; i < 15; ++i)
    buckets.midpoints[i] = (table[buckets.codes[i]] + table[buckets.codes[i + 1]]) / 2.0f;
  return buckets;
}

const Buckets &bucketsOf(Code code) {
  static const Buckets nf4 = makeBuckets(Code::NF4), fp4 = makeBuckets(Code::FP4);
  return code == Code::NF4 ? nf4 : fp4;
}

/// a·T[q]: a block of zeros takes the code of 0.
float quantizeTable(Code code, std::span<const float> values, uint8_t *codes) {
  const Buckets &buckets = bucketsOf(code);
  const float scale = largestMagnitude(values), divisor = scale == 0 ? 1 : scale;
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = values[i] / divisor;
    uint32_t below = 0; // a value at a midpoint takes the lower entry
    for (float midpoint : buckets.midpoints)
      below += uint32_t(value > midpoint);
    codes[i] = buckets.codes[below];
  }
  return scale;
}

bool infinite(uint16_t half) { return (half & 0x7c00u) == 0x7c00u; }

std::string beyondHalf(float scale) {
  char text[64];
  std::snprintf(text, sizeof(text), "a scale of %g is beyond f16 (65504)", double(scale));
  return text;
}

uint16_t loadHalf(const uint8_t *bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof(half));
  return half;
}

/// ggml keeps value i in the low nibble of byte i and value i + 16 in the high one.
void splitNibbles(const uint8_t *bytes, uint8_t *codes) {
  for (size_t i = 0; i < BlockValues / 2; ++i) {
    codes[i] = bytes[i] & 15u;
    codes[i + BlockValues / 2] = bytes[i] >> 4;
  }
}

} // namespace

std::optional<Type> exactTypeOf(Encoding encoding) {
  switch (encoding) {
  case Encoding::F32:
    return Type{Code::F32};
  case Encoding::F16:
    return Type{Code::F16};
  case Encoding::BF16:
    return Type{Code::BF16};
  case Encoding::Q4_0:
    return Type{Code::Int4, BlockValues};
  case Encoding::Q4_1:
    return Type{Code::Int4, BlockValues, Offset::Float};
  case Encoding::Q8_0:
  case Encoding::Q5_0: // d·(q − 16) with q − 16 from -16 to 15
    return Type{Code::Int8, BlockValues};
  default:
    return std::nullopt;
  }
}

std::string quantizeRow(const Type &type, std::span<const float> values, Row &row) {
  const size_t group = type.group ? type.group : values.size();
  const Scales scales = scalesOf(type);
  row.codes.resize(values.size());
  row.words.clear();
  row.halves.clear();
  row.seconds.clear();
  for (size_t at = 0; at < values.size(); at += group) {
    const std::span<const float> part = values.subspan(at, group);
    uint8_t *codes = row.codes.data() + at;
    float scale = 0, second = 0;
    if (isTable(type.code)) {
      row.words.push_back(quantizeTable(type.code, part, codes));
      continue;
    }
    if (type.code == Code::Int8) {
      scale = quantizeInt8(part, codes);
    } else if (type.offset == Offset::None) {
      scale = quantizeSymmetric(part, codes);
    } else if (type.offset == Offset::Float) {
      std::tie(scale, second) = quantizeOffset(part, codes);
    } else {
      std::tie(scale, second) = quantizeZeroPoint(part, codes);
    }
    if (scales == Scales::Words) {
      row.words.push_back(scale);
      continue;
    }
    row.halves.push_back(floatToHalf(scale));
    if (scales == Scales::Pairs)
      row.seconds.push_back(floatToHalf(second));
    if (infinite(row.halves.back()))
      return beyondHalf(scale);
    if (scales == Scales::Pairs && infinite(row.seconds.back()))
      return beyondHalf(second);
  }
  return {};
}

void copyRow(Encoding encoding, const uint8_t *blocks, uint64_t cols, Row &row) {
  const uint64_t blockBytes = encodingInfo(encoding).blockBytes;
  row.codes.resize(cols);
  row.words.clear();
  row.halves.clear();
  row.seconds.clear();
  for (uint64_t at = 0; at < cols; at += BlockValues, blocks += blockBytes) {
    uint8_t *codes = row.codes.data() + at;
    row.halves.push_back(loadHalf(blocks));
    if (encoding == Encoding::Q4_0) {
      splitNibbles(blocks + 2, codes);
    } else if (encoding == Encoding::Q4_1) {
      row.seconds.push_back(loadHalf(blocks + 2));
      splitNibbles(blocks + 4, codes);
    } else if (encoding == Encoding::Q8_0) {
      std::memcpy(codes, blocks + 2, BlockValues);
    } else { // Q5_0: the fifth bits in a word of their own
      uint32_t fifths;
      std::memcpy(&fifths, blocks + 2, sizeof(fifths));
      splitNibbles(blocks + 6, codes);
      for (uint32_t i = 0; i < BlockValues; ++i)
        codes[i] = uint8_t(int32_t(codes[i] | (fifths >> i & 1u) << 4) - 16);
    }
  }
}

void dequantizeRow(const Type &type, const Row &row, std::span<float> values) {
  const size_t group = type.group ? type.group : values.size();
  const std::array<float, 16> &table = tableOf(type.code);
  for (size_t at = 0, g = 0; at < values.size(); at += group, ++g) {
    const uint8_t *codes = row.codes.data() + at;
    float *out = values.data() + at;
    const float scale = row.words.empty() ? halfToFloat(row.halves[g]) : row.words[g];
    const float second = row.seconds.empty() ? 0 : halfToFloat(row.seconds[g]);
    if (isTable(type.code))
      for (size_t i = 0; i < group; ++i)
        out[i] = scale * table[codes[i]];
    else if (type.code == Code::Int8)
      for (size_t i = 0; i < group; ++i)
        out[i] = scale * float(int8_t(codes[i]));
    else if (type.offset == Offset::Float)
      for (size_t i = 0; i < group; ++i)
        out[i] = scale * float(codes[i]) + second;
    else
      for (size_t i = 0; i < group; ++i)
        out[i] = scale * (float(codes[i]) - (type.offset == Offset::Zero ? second : 8.0f));
  }
}

float NestedScales::scaleOf(uint64_t block) const {
  const float product = dynamicMap()[codes[block]] * scales[block / NestedBlocks];
  return product + offset;
}

NestedScales nest(std::span<const float> blockScales) {
  const std::array<float, MapValues> &map = dynamicMap();
  std::array<float, MapValues - 1> midpoints;
  for (size_t i = 0; i < midpoints.size(); ++i)
    midpoints[i] = (map[i] + map[i + 1]) / 2.0f;
  NestedScales nested;
  double sum = 0;
  for (float scale : blockScales)
    sum += scale;
  nested.offset = float(sum / double(blockScales.size()));
  for (size_t at = 0; at < blockScales.size(); at += NestedBlocks) {
    const auto part = blockScales.subspan(at, std::min<size_t>(NestedBlocks, blockScales.size() - at));
    float largest = 0;
    for (float scale : part)
      largest = std::max(largest, std::fabs(scale - nested.offset));
    nested.scales.push_back(largest);
    for (float scale : part) {
      const float value = largest == 0 ? 0 : (scale - nested.offset) / largest;
      nested.codes.push_back(
          uint8_t(std::lower_bound(midpoints.begin(), midpoints.end(), value) - midpoints.begin()));
    }
  }
  return nested;
}

} // namespace lorac::packed
