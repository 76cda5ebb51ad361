#include "compiler/packed/Tables.h"

#include <algorithm>
#include <cmath>

namespace lorac::packed {

namespace {

constexpr std::array<float, 16> NF4 = {-1.0f,
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

constexpr std::array<float, 16> FP4 = [] {
  constexpr float twelfths[8] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};
  std::array<float, 16> table{};
  for (size_t i = 0; i < 8; ++i) {
    table[i] = twelfths[i] / 12.0f;
    table[i + 8] = -table[i];
  }
  return table;
}();

constexpr size_t Decades = 7;

/// Value `i` of linspace(0.1, 1, count): from the nearer end, one rounding each.
float linspace(size_t i, size_t count) {
  const float step = (1.0f - 0.1f) / float(count - 1);
  return i < count / 2 ? std::fma(step, float(i), 0.1f) : std::fma(-step, float(count - 1 - i), 1.0f);
}

std::array<float, MapValues> makeDynamicMap() {
  std::array<float, MapValues> map{};
  size_t size = 0;
  for (size_t decade = 0; decade < Decades; ++decade) {
    const size_t count = (size_t(1) << decade) + 1;
    const auto scale = float(std::pow(10.0, double(decade) - double(Decades - 1)));
    for (size_t i = 0; i + 1 < count; ++i) {
      const float value = scale * ((linspace(i, count) + linspace(i + 1, count)) / 2.0f);
      map[size++] = value;
      map[size++] = -value;
    }
  }
  map[size++] = 0.0f;
  map[size++] = 1.0f;
  std::sort(map.begin(), map.end());
  return map;
}

} // namespace

const std::array<float, 16> &tableOf(Code code) { return code == Code::NF4 ? NF4 : FP4; }

const std::array<float, MapValues> &dynamicMap() {
  static const std::array<float, MapValues> map = makeDynamicMap();
  return map;
}

} // namespace lorac::packed
