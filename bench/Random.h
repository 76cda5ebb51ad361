//===- Random.h - the same numbers on every platform ------------*- C++ -*-===//
#ifndef LORAC_BENCH_RANDOM_H
#define LORAC_BENCH_RANDOM_H

#include <cstdint>

namespace lorac::bench {

/// splitmix64
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
};

} // namespace lorac::bench

#endif // LORAC_BENCH_RANDOM_H
