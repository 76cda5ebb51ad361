// y[s,k] = operand0[s,k] + TAG: a test sees in the result which variant ran. The storage variant goes through 1024
// bytes of shared memory, so that there is a module that has some.
//   glslc --target-env=vulkan1.1 -O -DTEXEL=1 -DSUBGROUP=1 -DTAG=100.0 -mfmt=c map.comp -o spirv/map_subgroup.inc
//   glslc --target-env=vulkan1.1 -O -DTEXEL=1 -DSUBGROUP=0 -DTAG=200.0 -mfmt=c map.comp -o spirv/map_texel.inc
//   glslc --target-env=vulkan1.1 -O -DTEXEL=0 -DSUBGROUP=0 -DTAG=300.0 -mfmt=c map.comp -o spirv/map_storage.inc
#version 450
#if SUBGROUP
#extension GL_KHR_shader_subgroup_ballot : require
#endif
layout(local_size_x = 8) in;
#if TEXEL
layout(binding = 0) uniform samplerBuffer operand0;
#define LOAD(INDEX) texelFetch(operand0, int(INDEX)).x
#else
layout(std430, binding = 0) readonly buffer Operand0 { float operand0[]; };
#define LOAD(INDEX) operand0[INDEX]
#endif
layout(std430, binding = 1) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push { uint width, stride0, stride1, y_stride, column0, column1; } push;
shared float scratch[256];

void main() {
  uint row = gl_WorkGroupID.y, lane = gl_LocalInvocationID.x;
#if SUBGROUP
  float tag = subgroupBroadcast(lane == 0u ? TAG : 0.0, 0u);
#elif TEXEL
  float tag = TAG;
#else
  scratch[lane * 32u] = TAG;
  barrier();
  float tag = scratch[(lane ^ 1u) * 32u];
#endif
  for (uint k = gl_WorkGroupID.x * 8u + lane; k < push.width; k += gl_NumWorkGroups.x * 8u)
    y[row * push.y_stride + k] = LOAD(row * push.stride0 + push.column0 + k) + tag;
}
