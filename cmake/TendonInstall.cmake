# What others use: the command, libtendon.so (C++) and libtendon_c.so (C) with the public headers,
# and the CMake package `tendon` with the targets tendon::tendon and tendon::tendon_c.
include(CMakePackageConfigHelpers)

add_library(tendon_library SHARED $<TARGET_OBJECTS:tendon_engine>)
target_link_libraries(tendon_library PRIVATE tendon_engine)
# What the other layers define stays inside.
target_link_options(tendon_library PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
target_include_directories(tendon_library INTERFACE
                           $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(tendon_library INTERFACE cxx_std_20)
set_target_properties(tendon_library PROPERTIES
  EXPORT_NAME tendon OUTPUT_NAME tendon LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# The C ABI alone: it holds all that it needs of the engine and shows tendon_* only.
add_library(tendon_c SHARED $<TARGET_OBJECTS:tendon_c_api>)
target_link_libraries(tendon_c PRIVATE tendon_engine)
set(tendon_c_names ${PROJECT_SOURCE_DIR}/cmake/tendon_c.map)
target_link_options(tendon_c PRIVATE -Wl,--version-script=${tendon_c_names} -Wl,--no-undefined)
target_include_directories(tendon_c INTERFACE
                           $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(tendon_c PROPERTIES
  LINKER_LANGUAGE CXX LINK_DEPENDS ${tendon_c_names}
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# A bundle keeps its libraries in lib/ beside bin/. DT_RPATH, unlike the newer tag, holds for the
# libraries of libraries too.
set_target_properties(tendon PROPERTIES BUILD_RPATH "$ORIGIN/../lib" INSTALL_RPATH "$ORIGIN/../lib")
target_link_options(tendon PRIVATE -Wl,--disable-new-dtags)

install(TARGETS tendon_library tendon_c EXPORT tendonTargets)
install(TARGETS tendon)
if(TARGET mujoco::mujoco)
  install(IMPORTED_RUNTIME_ARTIFACTS mujoco::mujoco)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tendon DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/tendon)
install(EXPORT tendonTargets NAMESPACE tendon:: DESTINATION ${package} FILE tendonConfig.cmake)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tendonConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tendonConfigVersion.cmake DESTINATION ${package})
