#include "weights/pickle.h"

#include <algorithm>
#include <bit>
#include <map>

#include "base/error.h"
#include "base/text.h"

namespace tendon {
namespace {

// A checkpoint of 1651 tensors with optimizer state makes about 200 000 objects.
constexpr std::size_t kMaxObjects = 8'000'000;
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

class Machine {
 public:
  Machine(std::span<const std::byte> stream, std::span<const std::string_view> allowed,
          std::string_view what)
      : stream_(stream), allowed_(allowed), what_(what) {}

  Pickle run() {
    while (!step(static_cast<char>(number(1)))) {
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }

 private:
  using Id = Pickle::Id;
  using Kind = Pickle::Kind;
  using Object = Pickle::Object;

  void expect(bool condition, std::string_view message) const {
    require(condition, "{}: the pickle is damaged at byte {} ({})", what_, at_, message);
  }

  std::string_view take(std::uint64_t n) {
    expect(n <= stream_.size() - at_, "cut off");
    const auto part = stream_.subspan(at_, n);
    at_ += n;
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  std::uint64_t number(int bytes) {
    const std::string_view from = take(static_cast<std::uint64_t>(bytes));
    std::uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      n = n << 8 | static_cast<unsigned char>(from[static_cast<std::size_t>(i)]);
    }
    return n;
  }
  std::string_view line() {
    const std::size_t start = at_;
    while (take(1) != "\n") {
    }
    return {reinterpret_cast<const char*>(stream_.data()) + start, at_ - 1 - start};
  }

  Id add(Object object) {
    require(pickle_.objects.size() < kMaxObjects, "{}: the pickle holds too many objects", what_);
    pickle_.objects.push_back(std::move(object));
    return static_cast<Id>(pickle_.objects.size() - 1);
  }
  void push(Object object) { stack_.push_back(add(std::move(object))); }
  void push_integer(std::int64_t value, Kind kind = Kind::integer) {
    push({.kind = kind, .integer = value});
  }
  void push_text(std::string_view text) { push({.kind = Kind::text, .text = std::string(text)}); }

  Id pop() {
    const std::size_t floor = marks_.empty() ? 0 : marks_.back();
    expect(stack_.size() > floor, "nothing to take");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id top() {
    const Id id = pop();
    stack_.push_back(id);
    return id;
  }
  std::vector<Id> pop_to_mark() {
    expect(!marks_.empty(), "no mark");
    std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                          stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::size_t n) {
    std::vector<Id> items(n);
    for (std::size_t i = n; i-- > 0;) items[i] = pop();
    push({.kind = Kind::tuple, .items = std::move(items)});
  }

  void extend(Kind kind, const std::vector<Id>& items) {
    Object& target = pickle_.objects[top()];
    expect(target.kind == kind, "items for something else");
    expect(kind != Kind::dictionary || items.size() % 2 == 0, "a key without a value");
    added_ += items.size();
    require(added_ < 4 * kMaxObjects, "{}: the pickle holds too many objects", what_);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void remember(std::uint64_t slot) {
    require(memo_.size() < kMaxObjects, "{}: the pickle holds too many objects", what_);
    memo_[slot] = top();
  }
  void recall(std::uint64_t slot) {
    const auto found = memo_.find(slot);
    expect(found != memo_.end(), "an object that was never kept");
    stack_.push_back(found->second);
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string full = std::string(module) + "." + std::string(name);
    const bool known = std::find(allowed_.begin(), allowed_.end(), full) != allowed_.end();
    require(known,
            "{}: wants Python's '{}', which is not tensor data; it was not run. Save the "
            "state dict alone",
            what_, printable(full));
    push({.kind = Kind::global, .text = full});
  }

  void call() {
    const Id arguments = pop(), function = pop();
    expect(pickle_[function].kind == Kind::global, "a call of no function");
    expect(pickle_[arguments].kind == Kind::tuple, "a call without arguments");
    if (pickle_[function].text == kOrderedDict) {
      expect(pickle_[arguments].items.empty(), "an OrderedDict from items");
      push({.kind = Kind::dictionary});
    } else {
      push({.kind = Kind::call, .items = {function, arguments}});
    }
  }

  void push_long(std::uint64_t bytes) {
    expect(bytes <= 8, "an integer of more than 64 bits");
    if (bytes == 0) return push_integer(0);
    const int unused = 64 - 8 * static_cast<int>(bytes);
    const std::uint64_t raw = number(static_cast<int>(bytes)) << unused;
    push_integer(static_cast<std::int64_t>(raw) >> unused);
  }
  void push_real() {
    std::uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
    push({.kind = Kind::real, .real = std::bit_cast<double>(bits)});
  }

  // Opcodes that push one plain value; false: another opcode.
  bool step_value(char op) {
    switch (op) {
      case 'N':
        push({});
        return true;
      case '\x88':
        push_integer(1, Kind::boolean);
        return true;
      case '\x89':
        push_integer(0, Kind::boolean);
        return true;
      case 'J':
        push_integer(static_cast<std::int32_t>(number(4)));
        return true;
      case 'K':
        push_integer(static_cast<std::int64_t>(number(1)));
        return true;
      case 'M':
        push_integer(static_cast<std::int64_t>(number(2)));
        return true;
      case '\x8a':
        push_long(number(1));
        return true;
      case 'G':
        push_real();
        return true;
      case 'U':     // short bytes of Python 2
      case 'C':     // short bytes
      case '\x8c':  // short text
        push_text(take(number(1)));
        return true;
      case 'T':  // bytes of Python 2
      case 'B':  // bytes
      case 'X':  // text
        push_text(take(number(4)));
        return true;
      case '\x8d':  // long text
      case '\x8e':  // long bytes
        push_text(take(number(8)));
        return true;
      case ']':
        push({.kind = Kind::list});
        return true;
      case '}':
        push({.kind = Kind::dictionary});
        return true;
      case ')':
        push({.kind = Kind::tuple});
        return true;
      default:
        return false;
    }
  }

  // Opcodes that build from what is on the stack; false: another opcode.
  bool step_build(char op) {
    switch (op) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case 't':
        push({.kind = Kind::tuple, .items = pop_to_mark()});
        return true;
      case '\x85':
        push_tuple(1);
        return true;
      case '\x86':
        push_tuple(2);
        return true;
      case '\x87':
        push_tuple(3);
        return true;
      case 'a':
        extend(Kind::list, {pop()});
        return true;
      case 'e':
        extend(Kind::list, pop_to_mark());
        return true;
      case 's': {
        const Id value = pop(), key = pop();
        extend(Kind::dictionary, {key, value});
        return true;
      }
      case 'u':
        extend(Kind::dictionary, pop_to_mark());
        return true;
      case '0':
        pop();
        return true;
      case 'b':
        pop();
        top();
        return true;  // state of an object: attributes, not data
      case 'R':
        call();
        return true;
      case 'Q':
        push({.kind = Kind::persistent, .items = {pop()}});
        return true;
      default:
        return false;
    }
  }

  // Opcodes of the memo, of globals and of framing; false: another opcode.
  bool step_name(char op) {
    switch (op) {
      case 'q':
        remember(number(1));
        return true;
      case 'r':
        remember(number(4));
        return true;
      case '\x94':
        remember(memo_.size());
        return true;
      case 'h':
        recall(number(1));
        return true;
      case 'j':
        recall(number(4));
        return true;
      case 'c': {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case '\x93': {
        const Id name = pop(), module = pop();
        expect(pickle_[name].kind == Kind::text && pickle_[module].kind == Kind::text,
               "a global without a name");
        push_global(std::string(pickle_[module].text), std::string(pickle_[name].text));
        return true;
      }
      case '\x80': {
        const std::uint64_t protocol = number(1);
        expect(protocol >= 2 && protocol <= 5, "protocol");
        return true;
      }
      case '\x95':
        take(8);
        return true;
      default:
        return false;
    }
  }

  // One opcode; true: the last.
  bool step(char op) {
    if (op == '.') return true;
    if (!step_value(op) && !step_build(op) && !step_name(op)) {
      fail("{}: pickle opcode 0x{:02x} at byte {} is not tensor data; it was not run", what_,
           static_cast<unsigned char>(op), at_ - 1);
    }
    return false;
  }

  std::span<const std::byte> stream_;
  std::span<const std::string_view> allowed_;
  std::string_view what_;
  std::uint64_t at_ = 0;
  std::size_t added_ = 0;
  Pickle pickle_;
  std::vector<Id> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint64_t, Id> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte> stream, std::span<const std::string_view> allowed,
                   std::string_view what) {
  return Machine(stream, allowed, what).run();
}

}  // namespace tendon
