#include "support/Halves.h"

#include "support/Half.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lorac {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they lie");

uint16_t load(const uint8_t *bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return bits;
}

#if defined(__x86_64__)
const bool HasF16c = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");

/// All but the last few values; how many were done.
__attribute__((target("avx2,f16c"))) size_t halvesByEights(const uint8_t *bytes, size_t count,
                                                           float *values) {
  const __m256i exponent = _mm256_set1_epi32(0x7f800000), mantissa = _mm256_set1_epi32(0x007fe000);
  size_t done = 0;
  for (; done + 8 <= count; done += 8) {
    __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + 2 * done));
    __m256i bits = _mm256_castps_si256(_mm256_cvtph_ps(halves));
    // A NaN comes quiet, halfToFloat keeps it as it is.
    __m256i wide = _mm256_cvtepu16_epi32(halves);
    __m256i special = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), exponent);
    __m256i kept = _mm256_or_si256(_mm256_andnot_si256(mantissa, bits),
                                   _mm256_and_si256(_mm256_slli_epi32(wide, 13), mantissa));
    bits = _mm256_blendv_epi8(bits, kept, special);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(values + done), bits);
  }
  return done;
}

__attribute__((target("avx2,f16c"))) size_t bfloatsByEights(const uint8_t *bytes, size_t count,
                                                            float *values) {
  size_t done = 0;
  for (; done + 8 <= count; done += 8) {
    __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + 2 * done));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(values + done),
                        _mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  return done;
}

__attribute__((target("avx2,f16c"))) size_t floatsByEights(const float *values, size_t count, uint8_t *bytes,
                                                           bool &finite) {
  const __m128i exponent = _mm_set1_epi16(0x7c00);
  __m128i bad = _mm_setzero_si128();
  size_t done = 0;
  for (; done + 8 <= count; done += 8) {
    __m128i halves =
        _mm256_cvtps_ph(_mm256_loadu_ps(values + done), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    bad = _mm_or_si128(bad, _mm_cmpeq_epi16(_mm_and_si128(halves, exponent), exponent));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(bytes + 2 * done), halves);
  }
  finite = _mm_testz_si128(bad, bad) != 0;
  return done;
}
#endif

} // namespace

void halvesToFloats(const uint8_t *bytes, size_t count, float *values) {
  size_t done = 0;
#if defined(__x86_64__)
  if (HasF16c)
    done = halvesByEights(bytes, count, values);
#endif
  for (; done < count; ++done)
    values[done] = halfToFloat(load(bytes + 2 * done));
}

void bfloatsToFloats(const uint8_t *bytes, size_t count, float *values) {
  size_t done = 0;
#if defined(__x86_64__)
  if (HasF16c)
    done = bfloatsByEights(bytes, count, values);
#endif
  for (; done < count; ++done)
    values[done] = bfloatToFloat(load(bytes + 2 * done));
}

bool floatsToHalves(const float *values, size_t count, uint8_t *bytes) {
  size_t done = 0;
  bool finite = true;
#if defined(__x86_64__)
  if (HasF16c)
    done = floatsByEights(values, count, bytes, finite);
#endif
  for (; done < count; ++done) {
    uint16_t half = floatToHalf(values[done]);
    finite = finite && (half & 0x7c00u) != 0x7c00u;
    std::memcpy(bytes + 2 * done, &half, sizeof half);
  }
  return finite;
}

} // namespace lorac
