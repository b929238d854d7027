# tendon_layer(NAME [DIR path] NEEDS layer... [LINK library...] [DEFINES ...])
#
# One layer of the design: src/<DIR>/*.cpp but main.cpp as static library tendon_<NAME>, *_test.cpp as
# one test program test_<NAME>, and with TENDON_FUZZ each x_fuzz.cpp as a program fuzz_x. NEEDS is
# the single statement of which layers it may include; tools/check_layers.py reads it. A source
# ending in _avx2, _avx512 or _amx is compiled for that instruction set; the code around it decides
# at run time whether it may be called.
function(tendon_layer name)
  cmake_parse_arguments(arg "" "DIR" "NEEDS;LINK;TEST_LINK;DEFINES" ${ARGN})
  if(NOT arg_DIR)
    set(arg_DIR ${name})
  endif()
  set(root ${PROJECT_SOURCE_DIR}/src/${arg_DIR})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${root}/*.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "(_(test|fuzz)|/main)\\.cpp$")
  if(arg_DIR STREQUAL "backends/cuda" AND TENDON_CUDA)
    file(GLOB cuda_sources CONFIGURE_DEPENDS ${root}/*.cu)
    list(APPEND sources ${cuda_sources})
  endif()
  if(NOT sources)
    add_library(tendon_${name} INTERFACE)
    set(scope INTERFACE)
  else()
    add_library(tendon_${name} STATIC ${sources})
    set(scope PUBLIC)
  endif()
  target_include_directories(tendon_${name} ${scope} ${PROJECT_SOURCE_DIR}/src
                             ${PROJECT_SOURCE_DIR}/include)
  target_compile_definitions(tendon_${name} ${scope} ${arg_DEFINES})
  foreach(need IN LISTS arg_NEEDS)
    target_link_libraries(tendon_${name} ${scope} tendon_${need})
  endforeach()
  target_link_libraries(tendon_${name} ${scope} ${arg_LINK})
  foreach(source IN LISTS sources)
    if(source MATCHES "_avx2\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-mbmi2;-ffp-contract=fast")
    elseif(source MATCHES "_avx512\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512bf16;-mfma;-mf16c;-mbmi2;-ffp-contract=fast;-Wno-maybe-uninitialized")
    elseif(source MATCHES "_amx\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512bf16;-mamx-tile;-mamx-bf16;-mfma;\
-mf16c")
    endif()
  endforeach()
  if(TENDON_FUZZ)
    file(GLOB_RECURSE fuzzers CONFIGURE_DEPENDS ${root}/*_fuzz.cpp)
    foreach(source IN LISTS fuzzers)
      get_filename_component(stem ${source} NAME_WE)
      string(REGEX REPLACE "_fuzz$" "" stem ${stem})
      tendon_fuzzer(fuzz_${stem} ${source} tendon_${name})
    endforeach()
  endif()
  if(tests AND TENDON_TESTS)
    add_executable(test_${name} ${tests})
    target_link_libraries(test_${name} PRIVATE tendon_${name} ${arg_TEST_LINK} GTest::gtest_main)
    target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(test_${name} PRIVATE
      TENDON_GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden"
      TENDON_ASSETS_DIR="${PROJECT_SOURCE_DIR}/assets")
    gtest_discover_tests(test_${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 300 LABELS ${name})
  endif()
endfunction()
