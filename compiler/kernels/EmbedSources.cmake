# Writes OUTPUT, a C++ file that holds the kernel bodies and the GLSL prelude as strings, from SOURCES (names relative to
# FOLDER, separated by "|"). Run with cmake -P at build time, so an installed compiler needs no shader files.
string(REPLACE "|" ";" SOURCES "${SOURCES}")
set(text "// Made by compiler/kernels/EmbedSources.cmake; change shaders/ instead.\n#include \"compiler/kernels/KernelSources.h\"\n\nconst lorac::KernelSource lorac::KernelSources[] = {\n")
foreach(name IN LISTS SOURCES)
  file(READ "${FOLDER}/${name}" content)
  string(FIND "${content}" ")kernel\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${name} holds the end mark of the string that carries it")
  endif()
  string(APPEND text "    {\"${name}\", R\"kernel(${content})kernel\"},\n")
endforeach()
string(APPEND text "};\nconst size_t lorac::KernelSourceCount = sizeof(KernelSources) / sizeof(KernelSources[0]);\n")
file(WRITE "${OUTPUT}" "${text}")
