# The Python package: build/python/tendon, ready for PYTHONPATH, and the component `python` of the
# installation, which pyproject.toml makes a wheel of. Left out where Python's headers or nanobind
# are missing; Python_EXECUTABLE names another interpreter than that of .venv or the machine.
set(wanted "${TENDON_PYTHON}")
if(NOT Python_EXECUTABLE AND EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python)
  set(Python_EXECUTABLE ${PROJECT_SOURCE_DIR}/.venv/bin/python)
endif()
find_package(Python 3.9 COMPONENTS Interpreter Development.Module)
set(nanobind_missing 1)
if(Python_FOUND)
  execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
                  RESULT_VARIABLE nanobind_missing OUTPUT_VARIABLE nanobind_DIR ERROR_QUIET
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(nanobind_missing)
  if(wanted STREQUAL "ON")
    message(FATAL_ERROR "TENDON_PYTHON=ON: Python's headers or nanobind are missing. Get them with "
                        "`tools/install_deps.sh bindings`")
  endif()
  message(STATUS "The Python module is left out: Python's headers or nanobind are missing. Get "
                 "them with `tools/install_deps.sh bindings`")
  return()
endif()
set(TENDON_PYTHON_FOUND ON)
find_package(nanobind CONFIG REQUIRED PATHS ${nanobind_DIR} NO_DEFAULT_PATH)
nanobind_build_library(nanobind-static)
target_compile_options(nanobind-static PRIVATE -w)

tendon_layer(python NEEDS base engine cli LINK nanobind-static Python::Module)
set_target_properties(tendon_python PROPERTIES CXX_VISIBILITY_PRESET hidden)
add_library(tendon_python_module MODULE $<TARGET_OBJECTS:tendon_python>)
target_link_libraries(tendon_python_module PRIVATE tendon_python)
nanobind_extension(tendon_python_module)
target_link_options(tendon_python_module PRIVATE -Wl,--exclude-libs,ALL -Wl,--disable-new-dtags)
set(package ${PROJECT_SOURCE_DIR}/src/python/tendon)
set(built ${PROJECT_BINARY_DIR}/python/tendon)
set_target_properties(tendon_python_module PROPERTIES
  OUTPUT_NAME _core LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${built}
  INSTALL_RPATH "$ORIGIN/lib" BUILD_WITH_INSTALL_RPATH OFF)
file(GLOB files CONFIGURE_DEPENDS RELATIVE ${package} ${package}/*.py ${package}/*.pyi
     ${package}/py.typed)
file(MAKE_DIRECTORY ${built})
foreach(file IN LISTS files)
  file(CREATE_LINK ${package}/${file} ${built}/${file} SYMBOLIC)
endforeach()

set(folders)
if(TARGET mujoco::mujoco)
  get_target_property(folders mujoco::mujoco IMPORTED_LOCATION)
  get_filename_component(folders ${folders} DIRECTORY)
endif()
# With the libraries that a machine without development packages lacks beside it.
install(TARGETS tendon_python_module DESTINATION tendon COMPONENT python EXCLUDE_FROM_ALL)
install(CODE "set(folder \"\${CMAKE_INSTALL_PREFIX}/tendon\")
              set(module $<TARGET_FILE_NAME:tendon_python_module>)
              set(folders \"${folders}\")
              set(strip ${CMAKE_STRIP})
              include(${PROJECT_SOURCE_DIR}/cmake/bundle_libraries.cmake)"
        COMPONENT python EXCLUDE_FROM_ALL)
