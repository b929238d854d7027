# The CUDA backend: the language, its libraries and the layer. Included where TENDON_CUDA is on.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${TENDON_CUDA_ARCHITECTURES})
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
# CMake 3.25 does not know nvcc 13's flag for C++20.
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
add_compile_options($<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
                    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>
                    $<$<COMPILE_LANGUAGE:CUDA>:-diag-suppress=20012>)
find_package(CUDAToolkit 13.0 REQUIRED)
tendon_layer(cuda DIR backends/cuda NEEDS base ops
             LINK CUDA::cudart_static CUDA::cublasLt CUDA::nvtx3 TEST_LINK tendon_reference)
