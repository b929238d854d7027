# TENDON_SANITIZE for everything, and the programs of TENDON_FUZZ.
if(TENDON_SANITIZE)
  add_compile_options(-fsanitize=${TENDON_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TENDON_SANITIZE})
  # GCC says of every fence of Asio that it is not followed; Asio's handlers meet by locks, too.
  if(TENDON_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-tsan)
  endif()
endif()

if(TENDON_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "TENDON_FUZZ needs clang: cmake --preset fuzz, or make fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_custom_target(fuzzers)
endif()

# tendon_fuzzer(NAME source library...): a libFuzzer program, built by the target `fuzzers`.
function(tendon_fuzzer name source)
  add_executable(${name} EXCLUDE_FROM_ALL ${source})
  target_link_libraries(${name} PRIVATE ${ARGN})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
endfunction()
