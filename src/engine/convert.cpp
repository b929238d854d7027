#include "engine/convert.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "engine/loader.h"
#include "models/family.h"
#include "preprocess/contract.h"
#include "weights/pt_reader.h"
#include "weights/safetensors.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The part of a tensor's name: "policy:" of "policy:mixtures..", empty where a family has one file.
std::string part_of(const std::string& name) {
  const std::size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(0, colon + 1);
}

bool is_policy(const std::string& part) { return part.empty() || part == "policy:"; }

// Whether a file may lack the tensor. A part that inference never reads (the text encoder, which
// runs beside it) is whole or not there.
bool may_lack(const Family& f, const std::string& name) {
  return std::any_of(f.unused.begin(), f.unused.end(), [&](const std::string& glob) {
    return glob != part_of(name) + "*" && glob_match(glob, name);
  });
}

// A source file, its tensors under the names that models ask for.
struct Part {
  PtFile file;
  const Family* family = nullptr;
  std::string name;                                    // "policy:"
  std::map<std::string, const StoredTensor*> tensors;  // with the part's name before theirs
};

// How many of a small model's tensors a file should have; every larger one has them too.
struct Match {
  const Family* family = nullptr;
  std::string part, missing;
  std::size_t found = 0, wanted = 0;
  double share() const {
    return wanted == 0 ? 0 : static_cast<double>(found) / static_cast<double>(wanted);
  }
};

std::map<std::string, Match> matches(const Family& f, const PtFile& file) {
  std::set<std::string> names;
  for (const StoredTensor& t : file.tensors()) names.insert(apply_rules(f.name_rules, t.name));
  std::map<std::string, Match> all;
  for (const TensorSpec& t : f.tensors(f.mini_dims())) {
    if (may_lack(f, t.name)) continue;
    const std::string part = part_of(t.name);
    Match& m = all[part];
    m.family = &f, m.part = part;
    ++m.wanted;
    if (names.contains(t.name.substr(part.size())))
      ++m.found;
    else if (m.missing.empty())
      m.missing = t.name.substr(part.size());
  }
  return all;
}

Match best_match(const PtFile& file) {
  Match best;
  for (const Family& f : families()) {
    for (const auto& [part, m] : matches(f, file)) {
      if (m.share() > best.share()) best = m;
    }
  }
  const std::string path = file.file().path().string();
  require(best.share() >= 0.5, "{}: {} tensors, but of no policy that is known here", path,
          file.tensors().size());
  require(best.missing.empty(), "{}: {} {} without the tensor '{}'", path, best.family->name,
          best.part.empty() ? "policy" : best.part.substr(0, best.part.size() - 1), best.missing);
  return best;
}

Part open_part(const fs::path& path) {
  Part part{PtFile::open(path), nullptr, {}, {}};
  const Match match = best_match(part.file);
  part.family = match.family;
  part.name = match.part;
  for (const StoredTensor& t : part.file.tensors()) {
    const std::string name = apply_rules(match.family->name_rules, t.name);
    require(part.tensors.emplace(match.part + name, &t).second, "{}: two tensors are called '{}'",
            path.string(), printable(name));
  }
  return part;
}

std::vector<Part> open_parts(const std::vector<fs::path>& sources) {
  require(!sources.empty(), "convert: name at least one .pt file");
  std::vector<Part> parts;
  for (const fs::path& source : sources) {
    parts.push_back(open_part(source));
    const Part& last = parts.back();
    for (const Part& other : parts) {
      if (&other == &last) break;
      require(other.family == last.family, "{} is of {}, {} of {}: one policy at a time",
              other.file.file().path().string(), other.family->name, source.string(),
              last.family->name);
      require(other.name != last.name, "{} and {} are the same part of a policy",
              other.file.file().path().string(), source.string());
    }
  }
  return parts;
}

// The dimensions that the given parts show; those of absent parts are a small model's.
json dimensions(const std::vector<Part>& parts, const Contract& contract) {
  const Family& f = *parts.front().family;
  Checkpoint shapes;
  shapes.set_origin(parts.front().file.file().path().string());
  const auto add = [&](const std::string& name, const auto& t) {
    shapes.add(
        {.name = name, .stored_name = name, .dtype = t.dtype, .shape = t.shape, .source = {}});
  };
  std::set<std::string> given;
  for (const Part& part : parts) {
    given.insert(part.name);
    for (const auto& [name, tensor] : part.tensors) add(name, *tensor);
  }
  for (const TensorSpec& t : f.tensors(f.mini_dims())) {
    if (!given.contains(part_of(t.name))) add(t.name, t);
  }
  return f.dims_of(shapes, known_dims({}, contract));
}

// Drops what the policy does not have, refuses what does not fit.
void check_part(Part& part, const json& dims, std::vector<std::string>& left_out) {
  const Family& f = *part.family;
  const std::string path = part.file.file().path().string();
  std::set<std::string> wanted;
  for (const TensorSpec& t : f.tensors(dims)) {
    if (part_of(t.name) != part.name) continue;
    wanted.insert(t.name);
    const auto at = part.tensors.find(t.name);
    const std::string name = t.name.substr(part.name.size());
    if (at == part.tensors.end()) {
      require(may_lack(f, t.name), "{}: the tensor '{}' is missing", path, name);
      continue;
    }
    require(at->second->shape == t.shape, "{}: the tensor '{}' is {}, wanted {}", path, name,
            at->second->shape.str(), t.shape.str());
  }
  std::erase_if(part.tensors, [&](const auto& entry) {
    if (wanted.contains(entry.first)) return false;
    left_out.push_back(entry.second->name);
    return true;
  });
}

const Family::WrittenLayout* layout_of(const Family& f, const std::string& asked) {
  std::vector<std::string> names;
  for (const auto& layout : f.written_layouts) {
    if (asked.empty() || layout.name == asked) return &layout;
    names.emplace_back(layout.name);
  }
  require(asked.empty(), "layout \"{}\": {} has {}", asked, f.name,
          names.empty() ? "one layout only" : list_some(names, 8));
  return nullptr;
}

struct Output {
  std::string name;  // as written
  const StoredTensor* tensor;
};

std::vector<Output> outputs(const Part& part, const Family::WrittenLayout* layout) {
  std::vector<Output> all;
  for (const auto& [name, tensor] : part.tensors) {
    std::string plain = name.substr(part.name.size());
    if (is_policy(part.name) && layout != nullptr) plain = apply_rules(layout->rules, plain);
    all.push_back({std::move(plain), tensor});
  }
  std::sort(all.begin(), all.end(),
            [](const Output& a, const Output& b) { return a.name < b.name; });
  return all;
}

// Where a step of progress is told.
struct Meter {
  const std::function<void(double)>& tell;
  std::uint64_t done = 0, all = 0;
  void add(std::uint64_t bytes) {
    done += bytes;
    if (tell)
      tell(static_cast<double>(done) / static_cast<double>(std::max<std::uint64_t>(all, 1)));
  }
};

void write_file_of(const fs::path& path, const MappedFile& from, std::span<const Output> tensors,
                   Meter& meter) {
  constexpr std::size_t kStep = 16u << 20;
  std::vector<Output> order(tensors.begin(), tensors.end());
  std::stable_sort(order.begin(), order.end(), [](const Output& a, const Output& b) {
    return size_of(a.tensor->dtype) > size_of(b.tensor->dtype);
  });
  std::vector<TensorSpec> specs;
  for (const Output& o : order) specs.push_back({o.name, o.tensor->dtype, o.tensor->shape, ""});
  SafetensorsWriter writer(path, specs, {{"format", "pt"}});
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto bytes = order[i].tensor->bytes;
    from.will_read(bytes);
    for (std::size_t at = 0; at < bytes.size(); at += kStep) {
      const auto step = bytes.subspan(at, std::min(kStep, bytes.size() - at));
      writer.write(i, at, step);
      meter.add(step.size());
    }
    from.drop(bytes);  // memory stays flat however large the file
  }
  writer.finish();
}

// Tensors in order, each file at most `limit` bytes unless one tensor alone is larger.
std::vector<std::span<const Output>> shards_of(std::span<const Output> tensors,
                                               std::uint64_t limit) {
  std::vector<std::span<const Output>> shards;
  std::size_t first = 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t more = tensors[i].tensor->bytes.size();
    if (i > first && bytes + more > limit) {
      shards.push_back(tensors.subspan(first, i - first));
      first = i, bytes = 0;
    }
    bytes += more;
  }
  shards.push_back(tensors.subspan(first));
  return shards;
}

std::uint64_t bytes_of(std::span<const Output> tensors) {
  std::uint64_t bytes = 0;
  for (const Output& o : tensors) bytes += o.tensor->bytes.size();
  return bytes;
}

void write_part(const fs::path& folder, const Part& part, std::span<const Output> tensors,
                std::uint64_t shard_bytes, Meter& meter, ConvertReport& report) {
  const std::string own = part.name.empty() ? "" : part.name.substr(0, part.name.size() - 1);
  const auto shards = shards_of(tensors, shard_bytes);
  const MappedFile& from = part.file.file();
  const auto write = [&](const fs::path& name, std::span<const Output> some) {
    write_file_of(folder / name, from, some, meter);
    report.files.push_back({name.string(), some.size(), bytes_of(some)});
  };
  if (shards.size() == 1) {
    return write(is_policy(part.name) ? "model.safetensors" : own + ".safetensors", tensors);
  }
  const fs::path inside = is_policy(part.name) ? fs::path() : fs::path(own);
  if (!inside.empty()) fs::create_directory(folder / inside);
  std::map<std::string, std::string> where;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    write(inside / name, shards[s]);
    for (const Output& o : shards[s]) where[o.name] = name;
  }
  write_safetensors_index(folder / inside, where, bytes_of(tensors));
}

// A folder under a temporary name beside its own, which takes it in commit().
class NewFolder {
 public:
  explicit NewFolder(const fs::path& path)
      : path_(path.has_filename() ? path : path.parent_path()),
        temporary_(path_.string() + fmt::format(".partial-{}", getpid())) {
    require(!path_.empty(), "convert: name the folder to be made");
    require(!fs::exists(path_) || (fs::is_directory(path_) && fs::is_empty(path_)),
            "{}: is there already; name a new folder", path_.string());
    std::error_code failure;
    fs::create_directories(temporary_, failure);
    require(!failure, "{}: {}", temporary_.string(), failure.message());
  }
  ~NewFolder() {
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const fs::path& place() const { return temporary_; }
  void commit() {
    std::error_code failure;
    fs::rename(temporary_, path_, failure);
    require(!failure, "{}: {}", path_.string(), failure.message());
  }

 private:
  fs::path path_, temporary_;
};

void check_companions(const std::vector<fs::path>& companions) {
  std::set<std::string> names;
  for (const fs::path& file : companions) {
    require(fs::is_regular_file(file), "{}: there is no such file", file.string());
    require(names.insert(file.filename()).second, "{}: two files of this name", file.string());
  }
}

}  // namespace

ConvertReport convert(const ConvertOptions& options) {
  check_companions(options.companions);
  std::vector<Part> parts = open_parts(options.sources);
  const Family& f = *parts.front().family;
  const std::string name =
      options.contract.empty() ? std::string(f.usual_contract) : options.contract;
  const Contract& contract = builtin_contract(name);
  require(contract.model == f.name, "contract {} is for {}, the files are of {}", name,
          contract.model, f.name);
  const Family::WrittenLayout* layout = layout_of(f, options.layout);
  const json dims = dimensions(parts, contract);
  const int width = f.dimensions(dims).action;
  require(options.contract.empty() || width == contract.action_dim,
          "contract {} has actions of {} numbers, the files of {}", name, contract.action_dim,
          width);
  ConvertReport report{.family = std::string(f.name), .files = {}, .left_out = {}};
  std::vector<std::vector<Output>> all;
  Meter meter{options.progress};
  for (Part& part : parts) {
    check_part(part, dims, report.left_out);
    all.push_back(outputs(part, layout));
    meter.all += bytes_of(all.back());
  }
  NewFolder folder(options.folder);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    write_part(folder.place(), parts[i], all[i], options.shard_bytes, meter, report);
  }
  for (const fs::path& file : options.companions) {
    write_file(folder.place() / file.filename(), read_file(file));
  }
  if (!options.contract.empty()) {
    write_file(folder.place() / "tendon.json", json{{"contract", options.contract}}.dump(1) + "\n");
  }
  folder.commit();
  return report;
}

}  // namespace tendon
