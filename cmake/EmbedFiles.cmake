# Writes FILES into OUT as C++: tendon::server::kPageFiles, declared in server/page_files.h.
#   cmake -D "FILES=a;b" -D OUT=page_files.cpp -P EmbedFiles.cmake
set(text "#include \"server/page_files.h\"\n\nnamespace tendon::server {\nnamespace {\n")
set(table "")
set(count 0)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REPEAT "." 80 line)
  string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
  string(APPEND text "const unsigned char file_${count}[] = {\n${bytes}0};\n")
  set(data "reinterpret_cast<const char*>(file_${count})")
  string(APPEND table "    {\"${name}\", {${data}, sizeof file_${count} - 1}},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND text "const PageFile kFiles[] = {\n${table}};\n}  // namespace\n\n"
       "std::span<const PageFile> page_files() { return kFiles; }\n\n"
       "}  // namespace tendon::server\n")
file(WRITE ${OUT} "${text}")
