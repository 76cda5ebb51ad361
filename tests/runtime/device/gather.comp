// y[i] = x[row[i]], 16-byte pieces.
//   glslc --target-env=vulkan1.1 -O -DTEXEL=1 -mfmt=c gather.comp -o spirv/gather_texel.inc
//   glslc --target-env=vulkan1.1 -O -DTEXEL=0 -mfmt=c gather.comp -o spirv/gather_storage.inc
#version 450
layout(local_size_x = 8) in;
#if TEXEL
layout(binding = 0) uniform samplerBuffer x;
layout(binding = 1) uniform usamplerBuffer outs;
#define LOAD(NAME, INDEX) texelFetch(NAME, int(INDEX))
#else
layout(std430, binding = 0) readonly buffer X { vec4 x[]; };
layout(std430, binding = 1) readonly buffer Outs { uvec4 outs[]; };
#define LOAD(NAME, INDEX) NAME[INDEX]
#endif
layout(std430, binding = 2) writeonly buffer Y { vec4 y[]; };
layout(push_constant) uniform Push { uint width, x_stride, y_stride; } push;

void main() {
  uint row = gl_WorkGroupID.y, source = LOAD(outs, row).x * push.x_stride;
  for (uint i = gl_LocalInvocationID.x; i < push.width; i += 8u)
    y[row * push.y_stride + i] = LOAD(x, source + i);
}
