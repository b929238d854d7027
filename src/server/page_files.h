// The live page's files, put into the program by cmake/EmbedFiles.cmake.
#pragma once

#include <span>
#include <string_view>

namespace tendon::server {

struct PageFile {
  std::string_view name, content;
};
std::span<const PageFile> page_files();

}  // namespace tendon::server
