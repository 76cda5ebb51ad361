// math.h - functions that GLSL lacks or leaves loose, written in the common subset; preludes come before it.
#ifndef LORAC_SHADERS_PRELUDE_MATH_H
#define LORAC_SHADERS_PRELUDE_MATH_H

/// tanh; bounded first, because some devices make it of exponentials that overflow. |tanh| is 1 in f32
/// beyond 9.02.
FUNCTION f32 mathTanh(f32 v) {
  f32 bounded = SELECT(v > 10.0f, 10.0f, v);
  return tanh(SELECT(bounded < -10.0f, -10.0f, bounded));
}

/// erf, relative error below 1.8e-7. Below 1 an odd polynomial, above 1 - exp(-x * polynomial), both fitted
/// to the double-precision erf at Chebyshev nodes, of [0, 1] and [1, 4]; erf is 1 in f32 beyond 4.
FUNCTION f32 mathErf(f32 v) {
  f32 a = v < 0.0f ? -v : v;
  f32 z = a * a;
  f32 small = 7.87587487e-05f;
  small = fma(small, z, -0.00080168643f);
  small = fma(small, z, 0.00518908724f);
  small = fma(small, z, -0.0268542115f);
  small = fma(small, z, 0.112835944f);
  small = fma(small, z, -0.37612626f);
  small = fma(small, z, 1.12837911f);
  small = small * a;
  f32 b = SELECT(a > 4.0f, 4.0f, a);
  f32 tail = -1.16603246e-06f;
  tail = fma(tail, b, 3.659301e-05f);
  tail = fma(tail, b, -0.000515745545f);
  tail = fma(tail, b, 0.00437392248f);
  tail = fma(tail, b, -0.0253086016f);
  tail = fma(tail, b, 0.108091913f);
  tail = fma(tail, b, 0.633971453f);
  tail = fma(tail, b, 1.12895727f);
  f32 large = 1.0f - exp(-(tail * b));
  f32 result = SELECT(a < 1.0f, small, large);
  return v < 0.0f ? -result : result;
}

#endif
