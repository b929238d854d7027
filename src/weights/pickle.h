// Python's pickle format read as data. Nothing is imported, constructed or called: a class or
// function in the stream stays a name, a call stays a name with its arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tendon {

// The objects of one stream. Objects refer to each other by number; a list may hold itself.
struct Pickle {
  enum class Kind : std::uint8_t {
    none,
    boolean,  // integer 0 or 1
    integer,
    real,
    text,        // UTF-8 or bytes
    tuple,       // items
    list,        // items
    dictionary,  // items: key, value, key, value, ..
    global,      // text "module.name"
    call,        // items: the global, its arguments (a tuple)
    persistent,  // items: the id
  };
  using Id = std::uint32_t;
  struct Object {
    Kind kind = Kind::none;
    std::int64_t integer = 0;
    double real = 0;
    std::string text;
    std::vector<Id> items;
  };
  std::vector<Object> objects;
  Id root = 0;

  const Object& operator[](Id id) const { return objects[id]; }
};

// Protocols 2 to 5. A global not matched by the list `allowed` ("module.name") is refused by name.
// OrderedDict calls become dictionaries; the state that BUILD sets is dropped. Throws Error
// beginning with `what`.
Pickle read_pickle(std::span<const std::byte> stream, std::span<const std::string_view> allowed,
                   std::string_view what);

}  // namespace tendon
