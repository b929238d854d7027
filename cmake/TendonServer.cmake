# The server: messages and routes (wire), sessions and inference queues (server). Left out with
# TENDON_SERVER=OFF, where Boost and msgpack-cxx are not needed.
option(TENDON_SERVER "Build the server (needs Boost 1.74 and msgpack-cxx)" ON)
if(TENDON_SERVER)
  find_package(Boost 1.74 REQUIRED)
  find_path(MSGPACK_INCLUDE_DIR msgpack/unpack.hpp REQUIRED)
  tendon_layer(wire NEEDS base preprocess LINK Boost::headers nlohmann_json::nlohmann_json
               OpenSSL::Crypto)
  tendon_layer(server NEEDS base wire engine measure
               LINK Boost::headers nlohmann_json::nlohmann_json OpenSSL::SSL)
  # The live page's files as bytes in the program.
  set(page_folder ${PROJECT_SOURCE_DIR}/src/server/page)
  set(page_files ${page_folder}/index.html ${page_folder}/live.css ${page_folder}/live.js)
  set(page_source ${PROJECT_BINARY_DIR}/page_files.cpp)
  add_custom_command(
    OUTPUT ${page_source}
    COMMAND ${CMAKE_COMMAND} -D "FILES=${page_files}" -D OUT=${page_source}
            -P ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake
    DEPENDS ${page_files} ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake
    VERBATIM)
  target_sources(tendon_server PRIVATE ${page_source})
  set(other_serve src/cli/serve_missing.cpp)
else()
  add_library(tendon_wire INTERFACE)
  add_library(tendon_server INTERFACE)
  set(other_serve src/cli/serve.cpp)
endif()
set_source_files_properties(${other_serve} PROPERTIES HEADER_FILE_ONLY ON)
