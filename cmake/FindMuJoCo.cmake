# mujoco::mujoco 3.3.7, the version the demo policy was trained on, from PyPI's wheel in .venv
# (tools/install_deps.sh sim) or from MUJOCO_ROOT: a folder with include/mujoco and the library.
set(MUJOCO_ROOT "" CACHE PATH "Folder of MuJoCo 3.3.7 (include/mujoco, libmujoco.so.3.3.7)")
file(GLOB MuJoCo_wheels ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/mujoco)
find_path(MuJoCo_INCLUDE_DIR NAMES mujoco/mujoco.h
          HINTS ${MUJOCO_ROOT} ${MuJoCo_wheels} PATH_SUFFIXES include)
find_library(MuJoCo_LIBRARY NAMES libmujoco.so.3.3.7
             HINTS ${MUJOCO_ROOT} ${MuJoCo_wheels} PATH_SUFFIXES lib)
if(MuJoCo_INCLUDE_DIR)
  file(STRINGS ${MuJoCo_INCLUDE_DIR}/mujoco/mujoco.h MuJoCo_line REGEX "define mjVERSION_HEADER")
  if(MuJoCo_line MATCHES "([0-9])([0-9])([0-9])$")
    set(MuJoCo_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MuJoCo REQUIRED_VARS MuJoCo_LIBRARY MuJoCo_INCLUDE_DIR
                                  VERSION_VAR MuJoCo_VERSION)
if(MuJoCo_FOUND AND NOT TARGET mujoco::mujoco)
  add_library(mujoco::mujoco SHARED IMPORTED)
  set_target_properties(mujoco::mujoco PROPERTIES IMPORTED_LOCATION ${MuJoCo_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${MuJoCo_INCLUDE_DIR})
endif()
