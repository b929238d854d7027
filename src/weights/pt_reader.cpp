#include "weights/pt_reader.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "weights/pickle.h"
#include "weights/zip_directory.h"

namespace tendon {
namespace {

using Kind = Pickle::Kind;
using Object = Pickle::Object;
using Directory = std::map<std::string, std::span<const std::byte>>;

struct Storage {
  std::string_view name;
  DType dtype;
};
constexpr Storage kStorages[] = {
    {"torch.FloatStorage", DType::f32},     {"torch.DoubleStorage", DType::f64},
    {"torch.BFloat16Storage", DType::bf16}, {"torch.HalfStorage", DType::f16},
    {"torch.IntStorage", DType::i32},       {"torch.LongStorage", DType::i64},
    {"torch.ByteStorage", DType::u8},       {"torch.BoolStorage", DType::boolean}};

constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kAllowed[] = {
    "collections.OrderedDict", kRebuildTensor,          kRebuildParameter,   "torch.FloatStorage",
    "torch.DoubleStorage",     "torch.BFloat16Storage", "torch.HalfStorage", "torch.IntStorage",
    "torch.LongStorage",       "torch.ByteStorage",     "torch.BoolStorage", "torch.float32",
    "torch.float64",           "torch.bfloat16",        "torch.float16"};

// A dictionary inside a dictionary inside ...: real checkpoints have four levels.
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxLeaves = 200'000;  // a policy with its optimizer's state has 20 000
constexpr std::size_t kMaxText = 512;        // of a name; longer values are cut

// Walks the objects and collects leaves under dotted names.
class Walker {
 public:
  Walker(const Pickle& pickle, const Directory& files, std::string folder, std::string what)
      : pickle_(pickle), files_(files), folder_(std::move(folder)), what_(std::move(what)) {}

  void walk(Pickle::Id id, const std::string& name, int depth) {
    require(depth < kMaxDepth && ++leaves_ < kMaxLeaves && name.size() <= kMaxText,
            "{}: '{}' is nested too deeply or refers to itself", what_, printable(name));
    const Object& o = pickle_[id];
    switch (o.kind) {
      case Kind::dictionary:
        for (std::size_t i = 0; i + 1 < o.items.size(); i += 2) {
          walk(o.items[i + 1], join(name, key_text(o.items[i], name)), depth + 1);
        }
        return;
      case Kind::list:
      case Kind::tuple:
        for (std::size_t i = 0; i < o.items.size(); ++i) {
          walk(o.items[i], join(name, std::to_string(i)), depth + 1);
        }
        return;
      case Kind::call:
        add_tensor(o, name);
        return;
      case Kind::persistent:
        fail("{}: '{}' is a storage without a tensor", what_, printable(name));
      default:
        add_value(name, value_text(o));
        return;
    }
  }

  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> values;

 private:
  static std::string join(const std::string& name, const std::string& key) {
    return name.empty() ? key : name + "." + key;
  }

  std::string key_text(Pickle::Id id, const std::string& name) const {
    const Object& key = pickle_[id];
    require(key.kind == Kind::text || key.kind == Kind::integer,
            "{}: a key of '{}' is neither a text nor a number", what_, printable(name));
    return key.kind == Kind::text ? key.text : std::to_string(key.integer);
  }

  static std::string value_text(const Object& o) {
    switch (o.kind) {
      case Kind::boolean:
        return o.integer ? "true" : "false";
      case Kind::integer:
        return std::to_string(o.integer);
      case Kind::real:
        return fmt::format("{}", o.real);
      case Kind::text:
      case Kind::global:
        return o.text;
      default:
        return "none";
    }
  }

  void add_value(const std::string& name, std::string text) {
    require(values.emplace(name, std::move(text)).second, "{}: '{}' is there twice", what_,
            printable(name));
  }

  const Object& item(const Object& o, std::size_t i, Kind kind, const std::string& name) const {
    require(i < o.items.size() && pickle_[o.items[i]].kind == kind,
            "{}: '{}' is not a tensor as PyTorch writes them", what_, printable(name));
    return pickle_[o.items[i]];
  }

  void add_tensor(const Object& call, const std::string& name) {
    const Object* o = &call;
    for (int layer = 0; pickle_[o->items[0]].text == kRebuildParameter; ++layer) {
      o = &item(pickle_[o->items[1]], 0, Kind::call, name);
      require(layer < 4, "{}: '{}' is nested too deeply", what_, printable(name));
    }
    require(pickle_[o->items[0]].text == kRebuildTensor, "{}: '{}' is made by {}, not a tensor",
            what_, printable(name), pickle_[o->items[0]].text);
    const Object& arguments = pickle_[o->items[1]];
    StoredTensor t;
    t.name = name;
    const auto storage = storage_of(item(arguments, 0, Kind::persistent, name), t);
    const std::int64_t offset = item(arguments, 1, Kind::integer, name).integer;
    set_shape(item(arguments, 2, Kind::tuple, name), item(arguments, 3, Kind::tuple, name), t);
    const std::size_t element = size_of(t.dtype), held = storage.size() / element;
    const auto count = static_cast<std::size_t>(t.shape.numel());
    require(offset >= 0 && static_cast<std::size_t>(offset) <= held &&
                count <= held - static_cast<std::size_t>(offset),
            "{}: tensor '{}' {} reaches beyond its storage of {} elements", what_, printable(name),
            t.shape.str(), held);
    t.bytes = storage.subspan(static_cast<std::size_t>(offset) * element, count * element);
    tensors.push_back(std::move(t));
  }

  // ('storage', type, key, device, elements)
  std::span<const std::byte> storage_of(const Object& persistent, StoredTensor& t) const {
    const Object& id = item(persistent, 0, Kind::tuple, t.name);
    const std::string& type = item(id, 1, Kind::global, t.name).text;
    const std::string& key = item(id, 2, Kind::text, t.name).text;
    const std::int64_t elements = item(id, 4, Kind::integer, t.name).integer;
    const auto* known = std::find_if(std::begin(kStorages), std::end(kStorages),
                                     [&](const Storage& s) { return s.name == type; });
    require(item(id, 0, Kind::text, t.name).text == "storage" && known != std::end(kStorages),
            "{}: tensor '{}' lies in a {}, which is not read", what_, printable(t.name), type);
    t.dtype = known->dtype;
    const auto file = files_.find(folder_ + "data/" + key);
    require(file != files_.end(), "{}: tensor '{}' lies in storage '{}', which is missing", what_,
            printable(t.name), printable(key));
    require(elements >= 0 &&
                static_cast<std::uint64_t>(elements) == file->second.size() / size_of(t.dtype) &&
                file->second.size() % size_of(t.dtype) == 0,
            "{}: storage '{}' should hold {} elements of {}, it has {} bytes", what_,
            printable(key), elements, name_of(t.dtype), file->second.size());
    return file->second;
  }

  static std::string_view name_of(DType dtype) { return tendon::name(dtype); }

  void set_shape(const Object& sizes, const Object& strides, StoredTensor& t) const {
    const std::size_t rank = sizes.items.size();
    require(rank <= Shape::kMaxRank && strides.items.size() == rank,
            "{}: tensor '{}' has {} dimensions, at most {}", what_, printable(t.name), rank,
            Shape::kMaxRank);
    std::int64_t numel = 1;
    for (std::size_t i = 0; i < rank; ++i) {
      const std::int64_t extent = item(sizes, i, Kind::integer, t.name).integer;
      require(extent >= 0 && (extent == 0 || numel <= (std::int64_t{1} << 56) / extent),
              "{}: tensor '{}' has an impossible shape", what_, printable(t.name));
      numel *= extent;
      t.shape.push_back(extent);
    }
    std::int64_t dense = 1;
    for (std::size_t i = rank; i-- > 0;) {
      const std::int64_t stride = item(strides, i, Kind::integer, t.name).integer;
      require(numel == 0 || t.shape[static_cast<int>(i)] == 1 || stride == dense,
              "{}: tensor '{}' is not dense; save it .contiguous()", what_, printable(t.name));
      dense *= t.shape[static_cast<int>(i)];
    }
  }

  const Pickle& pickle_;
  const Directory& files_;
  std::string folder_, what_;
  std::size_t leaves_ = 0;
};

// "archive/" of "archive/data.pkl": the folder carries the name the file was first saved under.
std::string find_folder(const Directory& files, const std::string& what) {
  constexpr std::string_view kPickle = "data.pkl";
  std::vector<std::string> found;
  for (const auto& [name, bytes] : files) {
    const std::size_t cut = name.size() - std::min(name.size(), kPickle.size());
    if (name.substr(cut) != kPickle) continue;
    if (cut == 0 || name.find('/') == cut - 1) found.push_back(name.substr(0, cut));
  }
  require(found.size() == 1, "{}: a zip archive, but not a PyTorch checkpoint (no data.pkl)", what);
  return found[0];
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

PtFile PtFile::open(const std::filesystem::path& path) {
  const std::string what = path.string();
  PtFile pt(path);
  const std::string_view start =
      text_of(pt.file_.bytes().first(std::min<std::size_t>(4, pt.file_.bytes().size())));
  require(start.substr(0, 2) == "PK",
          "{}: not a zip archive; files saved by PyTorch before 1.6 must be saved again", what);
  const Directory files = read_zip_directory(pt.file_.bytes(), what);
  const std::string folder = find_folder(files, what);
  const auto order = files.find(folder + "byteorder");
  require(order == files.end() || text_of(order->second) == "little",
          "{}: saved on a big-endian machine", what);
  const Pickle pickle = read_pickle(files.at(folder + "data.pkl"), kAllowed, what);
  Walker walker(pickle, files, folder, what);
  walker.walk(pickle.root, "", 0);
  pt.tensors_ = std::move(walker.tensors);
  pt.values_ = std::move(walker.values);
  std::sort(pt.tensors_.begin(), pt.tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < pt.tensors_.size(); ++i) {
    require(pt.tensors_[i - 1].name != pt.tensors_[i].name, "{}: tensor '{}' is there twice", what,
            printable(pt.tensors_[i].name));
  }
  return pt;
}

}  // namespace tendon
