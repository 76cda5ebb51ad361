// y[row] = table[token[row]], 16-byte pieces; the device tests' stand-in for a kernel that reads weights.
//   glslc --target-env=vulkan1.1 -O -DTEXEL=1 -mfmt=c embed.comp -o spirv/embed_texel.inc
//   glslc --target-env=vulkan1.1 -O -DTEXEL=0 -mfmt=c embed.comp -o spirv/embed_storage.inc
#version 450
layout(local_size_x = 8) in;
#if TEXEL
layout(binding = 0) uniform usamplerBuffer table;
layout(binding = 1) uniform usamplerBuffer rows;
#define LOAD(NAME, INDEX) texelFetch(NAME, int(INDEX))
#else
layout(std430, binding = 0) readonly buffer Table { uvec4 table[]; };
layout(std430, binding = 1) readonly buffer Rows { uvec4 rows[]; };
#define LOAD(NAME, INDEX) NAME[INDEX]
#endif
layout(std430, binding = 2) writeonly buffer Y { vec4 y[]; };
layout(push_constant) uniform Push { uint pieces, y_stride; } push;

void main() {
  uint row = gl_WorkGroupID.y, token = LOAD(rows, row).x;
  for (uint i = gl_LocalInvocationID.x; i < push.pieces; i += 8u)
    y[row * push.y_stride + i] = uintBitsToFloat(LOAD(table, token * push.pieces + i));
}
