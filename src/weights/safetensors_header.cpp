#include "weights/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace tendon {
namespace {

using nlohmann::json;

// The published reader's own bound; a header of a thousand tensors takes 100 KB.
constexpr std::uint64_t kMaxHeader = 100'000'000;

struct Spelling {
  DType dtype;
  std::string_view text;
};
constexpr Spelling kSpellings[] = {
    {DType::f32, "F32"}, {DType::f64, "F64"}, {DType::bf16, "BF16"}, {DType::f16, "F16"},
    {DType::i32, "I32"}, {DType::i64, "I64"}, {DType::u8, "U8"},     {DType::boolean, "BOOL"}};

// What a tensor's object has said so far.
struct Draft {
  SafetensorsHeader::Entry entry;
  std::vector<std::uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Reads the header as a stream: no document is built, so nesting and repetition cost nothing, and a
// repeated key is seen.
class Reader : public json::json_sax_t {
 public:
  Reader(SafetensorsHeader& header, std::string_view what) : header_(header), what_(what) {}

  bool null() override { return refuse_value(); }
  bool boolean(bool) override { return refuse_value(); }
  bool number_integer(json::number_integer_t) override { return refuse_value(); }
  bool number_float(json::number_float_t, const json::string_t&) override { return refuse_value(); }
  bool binary(json::binary_t&) override { return refuse_value(); }

  bool number_unsigned(json::number_unsigned_t value) override {
    if (!list_) return refuse_value();
    require(list_->size() < 2 * Shape::kMaxRank, "{}: tensor '{}': too many numbers", what_,
            tensor());
    list_->push_back(value);
    return true;
  }

  bool string(json::string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      draft_.entry.dtype = parse_dtype(value);
      draft_.has_dtype = true;
    } else {
      return refuse_value();
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      place_ = Place::metadata;
      keys_.clear();
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      draft_ = {};
      draft_.entry.name = key_;
      keys_.clear();
    } else {
      return refuse_value();
    }
    return true;
  }

  bool key(json::string_t& value) override {
    key_ = value;
    auto& seen = place_ == Place::top ? names_ : keys_;
    require(seen.insert(value).second, "{}: '{}' stands twice in the header", what_,
            printable(value));
    if (place_ == Place::tensor) {
      require(key_ == "dtype" || key_ == "shape" || key_ == "data_offsets",
              "{}: tensor '{}' has an unknown field '{}'", what_, tensor(), printable(key_));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || list_) return refuse_value();
    if (key_ == "dtype") return refuse_value();
    const bool shape = key_ == "shape";
    list_ = shape ? &draft_.shape : &draft_.offsets;
    (shape ? draft_.has_shape : draft_.has_offsets) = true;
    return true;
  }

  bool end_array() override {
    list_ = nullptr;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    fail("{}: the header is not valid JSON from its byte {} on; the file is damaged", what_,
         position);
  }

 private:
  enum class Place { outside, top, metadata, tensor };

  std::string tensor() const { return printable(draft_.entry.name); }

  [[noreturn]] bool refuse_value() {
    if (place_ == Place::tensor) {
      fail("{}: tensor '{}': field '{}' has a value of the wrong kind", what_, tensor(),
           printable(key_));
    }
    fail("{}: the header has a value of the wrong kind at '{}'", what_, printable(key_));
  }

  DType parse_dtype(std::string_view text) const {
    for (const Spelling& s : kSpellings) {
      if (s.text == text) return s.dtype;
    }
    fail("{}: tensor '{}' has element type '{}', which is not read; convert it to F32 or BF16",
         what_, tensor(), printable(text));
  }

  void finish_tensor() {
    require(draft_.has_dtype && draft_.has_shape && draft_.has_offsets,
            "{}: tensor '{}' lacks dtype, shape or data_offsets", what_, tensor());
    require(draft_.shape.size() <= Shape::kMaxRank, "{}: tensor '{}' has {} dimensions, at most {}",
            what_, tensor(), draft_.shape.size(), Shape::kMaxRank);
    require(draft_.offsets.size() == 2 && draft_.offsets[0] <= draft_.offsets[1],
            "{}: tensor '{}' has data_offsets that are not [begin, end]", what_, tensor());
    SafetensorsHeader::Entry& entry = draft_.entry;
    entry.begin = draft_.offsets[0];
    entry.end = draft_.offsets[1];
    std::uint64_t bytes = size_of(entry.dtype);
    constexpr std::uint64_t kLimit = std::numeric_limits<std::int64_t>::max();
    for (const std::uint64_t extent : draft_.shape) {
      require(extent <= kLimit && (extent == 0 || bytes <= kLimit / extent),
              "{}: tensor '{}' has a shape larger than any file", what_, tensor());
      bytes *= extent;
      entry.shape.push_back(static_cast<std::int64_t>(extent));
    }
    require(entry.end - entry.begin == bytes,
            "{}: tensor '{}' {} {} needs {} bytes, its data_offsets give {}", what_, tensor(),
            safetensors_name(entry.dtype), entry.shape.str(), bytes, entry.end - entry.begin);
    header_.entries.push_back(std::move(entry));
  }

  SafetensorsHeader& header_;
  std::string_view what_;
  Place place_ = Place::outside;
  std::string key_;
  std::set<std::string> names_, keys_;
  Draft draft_;
  std::vector<std::uint64_t>* list_ = nullptr;
};

std::uint64_t read_length(std::span<const std::byte> start) {
  std::uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | std::to_integer<std::uint64_t>(start[i]);
  return n;
}

void check_coverage(const SafetensorsHeader& header, std::uint64_t data_size,
                    std::string_view what) {
  std::uint64_t at = 0;
  for (const SafetensorsHeader::Entry& e : header.entries) {
    require(e.end <= data_size,
            "{}: tensor '{}' ends at byte {} of the data, the file holds {}; it is cut off or its "
            "header lies, fetch it again",
            what, printable(e.name), e.end, data_size);
    require(e.begin >= at, "{}: tensor '{}' overlaps the one before it", what, printable(e.name));
    require(e.begin == at, "{}: {} bytes before tensor '{}' belong to no tensor", what,
            e.begin - at, printable(e.name));
    at = e.end;
  }
  require(at == data_size, "{}: {} bytes at the end belong to no tensor", what, data_size - at);
}

}  // namespace

std::string_view safetensors_name(DType dtype) {
  for (const Spelling& s : kSpellings) {
    if (s.dtype == dtype) return s.text;
  }
  return "?";
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start,
                                           std::uint64_t file_size, std::string_view what) {
  require(file_size >= 8 && start.size() >= 8, "{}: {} bytes are no safetensors file", what,
          file_size);
  const std::uint64_t length = read_length(start);
  require(length >= 2 && length <= kMaxHeader,
          "{}: a header of {} bytes is out of bounds; not a safetensors file", what, length);
  require(length <= file_size - 8 && length <= start.size() - 8,
          "{}: cut off inside its header ({} of {} bytes), fetch it again", what, file_size - 8,
          length);
  const char* text = reinterpret_cast<const char*>(start.data()) + 8;
  require(text[0] == '{', "{}: the header does not begin with '{{'; not a safetensors file", what);

  SafetensorsHeader header;
  header.data_start = 8 + length;
  Reader reader(header, what);
  json::sax_parse(text, text + length, &reader);
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  check_coverage(header, file_size - header.data_start, what);
  return header;
}

SafetensorsLayout lay_out_safetensors(std::span<const TensorSpec> tensors,
                                      const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + json(metadata).dump();
  std::vector<std::uint64_t> begins;
  std::set<std::string_view> names;
  std::uint64_t at = 0;
  for (const TensorSpec& t : tensors) {
    require(names.insert(t.name).second, "tensor '{}' is to be written twice", printable(t.name));
    begins.push_back(at);
    const std::uint64_t end = at + static_cast<std::uint64_t>(t.shape.numel()) * size_of(t.dtype);
    if (text.size() > 1) text += ',';
    text += json(t.name).dump() +
            fmt::format(":{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        safetensors_name(t.dtype), t.shape.str(), at, end);
    at = end;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  require(text.size() <= kMaxHeader, "a header of {} bytes is more than readers take", text.size());

  SafetensorsLayout layout;
  for (int i = 0; i < 8; ++i) layout.header += static_cast<char>(text.size() >> (8 * i) & 0xff);
  layout.header += text;
  for (const std::uint64_t begin : begins) layout.offsets.push_back(layout.header.size() + begin);
  layout.file_size = layout.header.size() + at;
  return layout;
}

}  // namespace tendon
