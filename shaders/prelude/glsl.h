// clang-format off: macros that are GLSL declarations, not C++
// glsl.h - the prelude that makes a kernel body a GLSL compute shader (Vulkan 1.1, SPIR-V 1.3).
// Set before it: LANES (workgroup size along x), SUBGROUP (0 or 1), TEXEL (0 or 1) and the body's constants.
//   TEXEL = 1     read bindings are uniform texel buffers: a 16-byte fetch a lane is one vector load on CPU devices
//   TEXEL = 0     read bindings are storage buffers; write bindings always are
//   SUBGROUP = 1  needs at least 8 lanes a subgroup (or the whole group in one, if the group is smaller)
//   SUBGROUP = 0  uses nothing but shared memory and barriers
// The words mean the same in host.h. No 8-, 16- or 64-bit types, so no capability beyond the core's.
#extension GL_EXT_control_flow_attributes : require
#if SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

#if SUBGROUP && LANES < 8
#error "a group of fewer than 8 lanes has no blocks of 8 f32x4: SUBGROUP must be 0"
#endif

layout(local_size_x = LANES) in;

// ---- types and values
#define u32 uint
#define i32 int
#define f32 float
#define u32x2 uvec2
#define u32x4 uvec4
#define f32x4 vec4
#define MAKE_U32X2(A, B) uvec2(A, B)
#define MAKE_U32X4(A, B, C, D) uvec4(A, B, C, D)
#define MAKE_F32X4(A, B, C, D) vec4(A, B, C, D)
#define AS_F32(BITS) uintBitsToFloat(BITS)
#define AS_U32(VALUE) floatBitsToUint(VALUE)
// Two words of packed halves as four floats; exact.
#define UNPACK_HALVES(LOW, HIGH) vec4(unpackHalf2x16(LOW), unpackHalf2x16(HIGH))
#define UNPACK_HALF(WORD) unpackHalf2x16(WORD).x
#define PACK_HALVES(LOW, HIGH) packHalf2x16(vec2(LOW, HIGH))
// One or the other; the one not taken has no influence, NaN included.
#define SELECT(CONDITION, A, B) ((CONDITION) ? (A) : (B))
// A result that no compiler may contract into a fused multiply-add: it has the same bits in every program.
#define EXACT precise
#define FUNCTION
// UNROLL: by this compiler, so that indices into arrays are literals in the module. UNROLL_LATE: by the driver, for long bodies whose
// turns differ in a literal alone: the module is smaller and sooner made. KernelCompiler.cpp changes the hint after its passes. LOOP: by neither.
#define UNROLL [[unroll]]
#define UNROLL_LATE [[dependency_infinite]]
#define LOOP [[dont_unroll]]
#define SHARED shared

// ---- the group
#define LANE gl_LocalInvocationID.x
#define BARRIER() barrier()
#if IN_CHAIN
// Of each of several bodies LINK begins the names, and FIRST_BINDING is the first binding.
#define JOINED(A, B) A##B
#define JOIN(A, B) JOINED(A, B)
#define NAMED(NAME) JOIN(LINK, NAME)
uvec2 groupPlace;
uint groupsAlongX;
#define KERNEL(NAME) void NAMED(body)()
#define GROUP_X groupPlace.x
#define GROUP_Y groupPlace.y
#define GROUPS_X groupsAlongX
#define PUSH_BEGIN struct NAMED(Push) {
#define PUSH_END }; NAMED(Push) NAMED(pushed);
#define push NAMED(pushed)
#else
#define FIRST_BINDING 0
#define NAMED(NAME) NAME
#define KERNEL(NAME) void main()
#define GROUP_X gl_WorkGroupID.x
#define GROUP_Y gl_WorkGroupID.y
#define GROUPS_X gl_NumWorkGroups.x
#define PUSH_BEGIN layout(push_constant) uniform PushBlock {
#define PUSH_END } push;
#endif
#define PUSH(NAME) uint NAME;

// ---- bindings and push constants
#if TEXEL
#define READ_U32(BINDING, NAME) layout(binding = FIRST_BINDING + BINDING) uniform usamplerBuffer NAMED(NAME);
#define READ_U32X2(BINDING, NAME) layout(binding = FIRST_BINDING + BINDING) uniform usamplerBuffer NAMED(NAME);
#define READ_U32X4(BINDING, NAME) layout(binding = FIRST_BINDING + BINDING) uniform usamplerBuffer NAMED(NAME);
#define READ_F32(BINDING, NAME) layout(binding = FIRST_BINDING + BINDING) uniform samplerBuffer NAMED(NAME);
#define READ_F32X4(BINDING, NAME) layout(binding = FIRST_BINDING + BINDING) uniform samplerBuffer NAMED(NAME);
#define LOAD_U32(NAME, INDEX) texelFetch(NAMED(NAME), int(INDEX)).x
#define LOAD_U32X2(NAME, INDEX) texelFetch(NAMED(NAME), int(INDEX)).xy
#define LOAD_U32X4(NAME, INDEX) texelFetch(NAMED(NAME), int(INDEX))
#define LOAD_F32(NAME, INDEX) texelFetch(NAMED(NAME), int(INDEX)).x
#define LOAD_F32X4(NAME, INDEX) texelFetch(NAMED(NAME), int(INDEX))
#else
#define READ_BUFFER(BINDING, TYPE, NAME)                                                                     \
  layout(std430, binding = BINDING) readonly buffer NAME##Block { TYPE NAME[]; };
#define READ_U32(BINDING, NAME) READ_BUFFER(BINDING, uint, NAME)
#define READ_U32X2(BINDING, NAME) READ_BUFFER(BINDING, uvec2, NAME)
#define READ_U32X4(BINDING, NAME) READ_BUFFER(BINDING, uvec4, NAME)
#define READ_F32(BINDING, NAME) READ_BUFFER(BINDING, float, NAME)
#define READ_F32X4(BINDING, NAME) READ_BUFFER(BINDING, vec4, NAME)
#define LOAD_U32(NAME, INDEX) NAME[INDEX]
#define LOAD_U32X2(NAME, INDEX) NAME[INDEX]
#define LOAD_U32X4(NAME, INDEX) NAME[INDEX]
#define LOAD_F32(NAME, INDEX) NAME[INDEX]
#define LOAD_F32X4(NAME, INDEX) NAME[INDEX]
#endif
#define WRITE_BUFFER(BINDING, TYPE, NAME)                                                                    \
  layout(std430, binding = FIRST_BINDING + BINDING) writeonly buffer NAMED(NAME##Block) { TYPE NAMED(NAME)[]; };
#define WRITE_U32(BINDING, NAME) WRITE_BUFFER(BINDING, uint, NAME)
#define WRITE_F32(BINDING, NAME) WRITE_BUFFER(BINDING, float, NAME)
#define WRITE_F32X4(BINDING, NAME) WRITE_BUFFER(BINDING, vec4, NAME)
#define STORE(NAME, INDEX, VALUE) NAMED(NAME)[INDEX] = VALUE

// ---- x by blocks: 32 values are eight f32x4. Lane i fetches number i once (BLOCK_FETCH); number V, a literal, is
// then handed to all lanes (BLOCK_VALUE). A load at one address in all lanes would be gathered lane by lane. By shuffle, though V is
// a literal: Mesa 22 makes a broadcast of a loop over the lanes, which costs the 8-row linear 3.6 times its time, and of a shuffle one
// permutation.
#if SUBGROUP
#define BLOCK_FETCH(NAME, BASE) LOAD_F32X4(NAME, (BASE) + (gl_SubgroupInvocationID & 7u))
#define BLOCK_VALUE(OWN, NAME, BASE, V) subgroupShuffle(OWN, V)
#else
#define BLOCK_FETCH(NAME, BASE) vec4(0.0f)
#define BLOCK_VALUE(OWN, NAME, BASE, V) LOAD_F32X4(NAME, (BASE) + (V))
#endif
#define GROUP_IS_SUBGROUP (SUBGROUP && LANES == 8)
// The lanes wait for each other, and see what each has written to shared memory.
#if GROUP_IS_SUBGROUP
#define GROUP_MEETS() subgroupBarrier()
#else
#define GROUP_MEETS() barrier()
#endif
// SUB_LANE: a lane's number among its eight. BROADCAST: the value of number V of them, a literal.
#if SUBGROUP
#define SUB_LANE (gl_SubgroupInvocationID & 7u)
#define BROADCAST(VALUE, V) subgroupShuffle(VALUE, V)
// The value of the lane whose number in its eight is FROM, which may differ from lane to lane.
#define SHUFFLE(VALUE, FROM) subgroupShuffle(VALUE, (gl_SubgroupInvocationID & ~7u) | (FROM))
#endif
// The sum of the block's 32 values, in one order everywhere: within each f32x4, then as a tree over the eight.
#if SUBGROUP
#define BLOCK_SUM(OWN, NAME, BASE) blockSum(OWN)
float blockSum(vec4 own) {
  precise float sum = (own.x + own.y) + (own.z + own.w);
  sum = sum + subgroupShuffle(sum, gl_SubgroupInvocationID ^ 4u);
  sum = sum + subgroupShuffle(sum, gl_SubgroupInvocationID ^ 2u);
  sum = sum + subgroupShuffle(sum, gl_SubgroupInvocationID ^ 1u);
  return sum;
}
#else
#define BLOCK_SUM(OWN, NAME, BASE)                                                                           \
  blockSum(LOAD_F32X4(NAME, BASE), LOAD_F32X4(NAME, (BASE) + 1u), LOAD_F32X4(NAME, (BASE) + 2u),             \
           LOAD_F32X4(NAME, (BASE) + 3u), LOAD_F32X4(NAME, (BASE) + 4u), LOAD_F32X4(NAME, (BASE) + 5u),      \
           LOAD_F32X4(NAME, (BASE) + 6u), LOAD_F32X4(NAME, (BASE) + 7u))
float valueSum(vec4 v) {
  precise float sum = (v.x + v.y) + (v.z + v.w);
  return sum;
}
float blockSum(vec4 v0, vec4 v1, vec4 v2, vec4 v3, vec4 v4, vec4 v5, vec4 v6, vec4 v7) {
  precise float sum = ((valueSum(v0) + valueSum(v4)) + (valueSum(v2) + valueSum(v6))) +
                      ((valueSum(v1) + valueSum(v5)) + (valueSum(v3) + valueSum(v7)));
  return sum;
}
#endif

// ---- sums and maxima over the group: all lanes call, all lanes get the result
#if LANES == 1
float groupSum(float value) { return value; }
float groupMax(float value) { return value; }
#elif GROUP_IS_SUBGROUP
float groupSum(float value) { return subgroupAdd(value); }
float groupMax(float value) { return subgroupMax(value); }
#else
shared float groupScratch[LANES];
#if SUBGROUP
float groupSum(float value) {
  float part = subgroupAdd(value);
  if (gl_NumSubgroups == 1u)
    return part;
  groupScratch[gl_SubgroupID] = part;
  barrier();
  float total = 0.0f;
  for (uint i = 0u; i < gl_NumSubgroups; ++i)
    total += groupScratch[i];
  barrier();
  return total;
}
float groupMax(float value) {
  float part = subgroupMax(value);
  if (gl_NumSubgroups == 1u)
    return part;
  groupScratch[gl_SubgroupID] = part;
  barrier();
  float total = groupScratch[0];
  for (uint i = 1u; i < gl_NumSubgroups; ++i)
    total = max(total, groupScratch[i]);
  barrier();
  return total;
}
#else
float groupSum(float value) {
  groupScratch[LANE] = value;
  barrier();
  for (uint step = LANES / 2u; step > 0u; step >>= 1) {
    if (LANE < step)
      groupScratch[LANE] = groupScratch[LANE] + groupScratch[LANE + step];
    barrier();
  }
  float total = groupScratch[0];
  barrier();
  return total;
}
float groupMax(float value) {
  groupScratch[LANE] = value;
  barrier();
  for (uint step = LANES / 2u; step > 0u; step >>= 1) {
    if (LANE < step)
      groupScratch[LANE] = max(groupScratch[LANE], groupScratch[LANE + step]);
    barrier();
  }
  float total = groupScratch[0];
  barrier();
  return total;
}
#endif
#endif

