# Writes the C++ headers that flatc makes from the schemas into OUT:
#   cmake -DFLATC=flatc -DSCHEMAS=folder -DOUT=folder -P Headers.cmake
# The target `schemas` writes them into schemas/; the test schemas_are_current writes them elsewhere and compares (COMMITTED).
cmake_minimum_required(VERSION 3.25)

foreach(schema common model adapter)
  execute_process(COMMAND ${FLATC} --cpp --scoped-enums --gen-object-api -I ${SCHEMAS} -o ${OUT} ${SCHEMAS}/${schema}.fbs
                  COMMAND_ERROR_IS_FATAL ANY)
  # With COMMITTED: fails if that folder's header differs from the one just written.
  if(COMMITTED)
    set(header ${schema}_generated.h)
    execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${OUT}/${header} ${COMMITTED}/${header} RESULT_VARIABLE differs)
    if(differs)
      message(FATAL_ERROR "schemas/${header} is not what flatc makes of ${schema}.fbs; build the target schemas and commit it")
    endif()
  endif()
endforeach()
