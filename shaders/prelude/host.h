//===- host.h - the prelude that makes a kernel body C++ --------*- C++ -*-===//
// A body included inside `namespace lorac::shader { namespace NAME { ... } }` becomes functions of that
// namespace; LANES, SUBGROUP and its constants are macros, as for GLSL, and may change from one inclusion to
// the next. runGrid runs the lanes of a group as fibers which meet at barriers and subgroup words, one lane
// at a time, so results are deterministic and sanitizers see every access. Bindings are bounds-checked: a
// fault is recorded and reads as NaN.
#ifndef LORAC_SHADERS_PRELUDE_HOST_H
#define LORAC_SHADERS_PRELUDE_HOST_H

#include "support/Half.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace lorac::shader {

// ---- types and values
using u32 = uint32_t;
using i32 = int32_t;
using f32 = float;
struct u32x2 {
  u32 x, y;
};
struct u32x4 {
  u32 x, y, z, w;
};
inline u32x4 operator^(u32x4 a, u32x4 b) { return {a.x ^ b.x, a.y ^ b.y, a.z ^ b.z, a.w ^ b.w}; }
struct f32x4 {
  f32 x, y, z, w;
  f32 operator[](u32 i) const { return i == 0 ? x : i == 1 ? y : i == 2 ? z : w; }
};
inline f32 fma(f32 a, f32 b, f32 c) { return std::fma(a, b, c); }
inline f32 exp(f32 v) { return std::exp(v); }
inline f32 sqrt(f32 v) { return std::sqrt(v); }
inline f32 tanh(f32 v) { return std::tanh(v); }
inline f32 max(f32 a, f32 b) { return a < b ? b : a; }
inline f32 min(f32 a, f32 b) { return b < a ? b : a; }
inline u32 max(u32 a, u32 b) { return a < b ? b : a; }
inline u32 min(u32 a, u32 b) { return b < a ? b : a; }
inline f32x4 unpackHalves(u32 low, u32 high) {
  return {halfToFloat(uint16_t(low)), halfToFloat(uint16_t(low >> 16)), halfToFloat(uint16_t(high)),
          halfToFloat(uint16_t(high >> 16))};
}
inline u32 packHalves(f32 low, f32 high) { return u32(floatToHalf(low)) | u32(floatToHalf(high)) << 16; }

// ---- the group
/// Where the running lane stands.
struct Position {
  u32 lane = 0;
  u32 lanes = 1;
  u32 groupX = 0;
  u32 groupY = 0;
  u32 groupsX = 1;
};
/// Of the lane that runs now.
const Position &position();

/// Runs `body` for every lane of every group of the grid, groups in order. Lanes that do not meet at the same
/// word, or of which only some end, are a fault. Not for several threads at once.
void runGrid(void (*body)(), u32 lanes, u32 gridX, u32 gridY);

/// Faults since the last call: reads and writes out of bounds, divergent lanes. Empties the list.
std::vector<std::string> takeFaults();
void addFault(std::string text);

/// All lanes wait here for each other. `word` tells kinds of meetings apart.
void meet(const char *word);
/// Lane `from`'s value, to all lanes.
f32 broadcast(f32 value, u32 from);
u32 broadcast(u32 value, u32 from);
f32x4 broadcast(f32x4 value, u32 from);
f32 groupSum(f32 value);
f32 groupMax(f32 value);

// ---- bindings
/// A bound range of host memory. `T` is the element that the kernel sees.
template <typename T> class Binding {
public:
  explicit Binding(const char *name) : name(name) {}
  void bind(void *data, size_t bytes) {
    memory = static_cast<std::byte *>(data);
    count = bytes / sizeof(T);
  }
  template <typename U> void bind(std::vector<U> &values) { bind(values.data(), values.size() * sizeof(U)); }
  T load(u32 index) const {
    T value;
    if (index >= count) {
      addFault(std::string("read of ") + name + "[" + std::to_string(index) + "] of " +
               std::to_string(count));
      std::memset(&value, 0xff, sizeof(T));
      return value;
    }
    std::memcpy(&value, memory + size_t(index) * sizeof(T), sizeof(T));
    return value;
  }
  void store(u32 index, T value) const {
    if (index >= count)
      return addFault(std::string("write of ") + name + "[" + std::to_string(index) + "] of " +
                      std::to_string(count));
    std::memcpy(memory + size_t(index) * sizeof(T), &value, sizeof(T));
  }

private:
  const char *name;
  std::byte *memory = nullptr;
  size_t count = 0;
};

/// The sum of a block of 32 values, of which lane i has f32x4 number i & 7, or which all lie in memory.
f32 blockSum(f32x4 own);
f32 blockSum(const Binding<f32x4> &values, u32 base);

} // namespace lorac::shader

// ---- words: the same as in glsl.h
#define MAKE_U32X2(A, B) (::lorac::shader::u32x2{A, B})
#define MAKE_U32X4(A, B, C, D) (::lorac::shader::u32x4{A, B, C, D})
#define MAKE_F32X4(A, B, C, D) (::lorac::shader::f32x4{A, B, C, D})
#define AS_F32(BITS) std::bit_cast<float>(uint32_t(BITS))
#define AS_U32(VALUE) std::bit_cast<uint32_t>(float(VALUE))
#define UNPACK_HALVES(LOW, HIGH) ::lorac::shader::unpackHalves(LOW, HIGH)
#define UNPACK_HALF(WORD) ::lorac::halfToFloat(uint16_t(WORD))
#define PACK_HALVES(LOW, HIGH) ::lorac::shader::packHalves(LOW, HIGH)
#define SELECT(CONDITION, A, B) ((CONDITION) ? (A) : (B))
#define EXACT
#define FUNCTION static inline
#define UNROLL
#define UNROLL_LATE
#define LOOP
// Static storage serves one group at a time, as shared memory does.
#define SHARED static

#define KERNEL(NAME) static void NAME()
#define LANE (::lorac::shader::position().lane)
#define GROUP_X (::lorac::shader::position().groupX)
#define GROUP_Y (::lorac::shader::position().groupY)
#define GROUPS_X (::lorac::shader::position().groupsX)
#define BARRIER() ::lorac::shader::meet("barrier")
#define GROUP_MEETS() BARRIER()

#define LORAC_HOST_BINDING(TYPE, NAME) static ::lorac::shader::Binding<TYPE> NAME(#NAME);
#define READ_U32(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::u32, NAME)
#define READ_U32X2(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::u32x2, NAME)
#define READ_U32X4(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::u32x4, NAME)
#define READ_F32(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::f32, NAME)
#define READ_F32X4(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::f32x4, NAME)
#define WRITE_U32(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::u32, NAME)
#define WRITE_F32(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::f32, NAME)
#define WRITE_F32X4(BINDING, NAME) LORAC_HOST_BINDING(::lorac::shader::f32x4, NAME)
#define LOAD_U32(NAME, INDEX) NAME.load(INDEX)
#define LOAD_U32X2(NAME, INDEX) NAME.load(INDEX)
#define LOAD_U32X4(NAME, INDEX) NAME.load(INDEX)
#define LOAD_F32(NAME, INDEX) NAME.load(INDEX)
#define LOAD_F32X4(NAME, INDEX) NAME.load(INDEX)
#define STORE(NAME, INDEX, VALUE) NAME.store(INDEX, VALUE)
#define PUSH_BEGIN static struct PushBlock {
#define PUSH(NAME) ::lorac::shader::u32 NAME;
#define PUSH_END                                                                                             \
  }                                                                                                          \
  push;

#define BLOCK_FETCH(NAME, BASE)                                                                              \
  (SUBGROUP ? NAME.load((BASE) + (LANE & 7u)) : ::lorac::shader::f32x4{0.0f, 0.0f, 0.0f, 0.0f})
#define BLOCK_VALUE(OWN, NAME, BASE, V)                                                                      \
  (SUBGROUP ? ::lorac::shader::broadcast(OWN, V) : NAME.load((BASE) + (V)))
#define BLOCK_SUM(OWN, NAME, BASE)                                                                           \
  (SUBGROUP ? ::lorac::shader::blockSum(OWN) : ::lorac::shader::blockSum(NAME, BASE))
#define GROUP_IS_SUBGROUP (SUBGROUP && LANES == 8)
#define SUB_LANE (LANE & 7u)
#define BROADCAST(VALUE, V) ::lorac::shader::broadcast(VALUE, V)
#define SHUFFLE(VALUE, FROM) ::lorac::shader::broadcast(VALUE, FROM)

namespace lorac::shader {
#include "shaders/prelude/math.h"
} // namespace lorac::shader

#endif // LORAC_SHADERS_PRELUDE_HOST_H
