#include "weights/safetensors.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "base/text.h"
#include "weights/safetensors_header.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// The checkpoint inside a folder: nothing is guessed.
fs::path find_in_folder(const fs::path& folder) {
  const bool single = fs::exists(folder / kSingle), index = fs::exists(folder / kIndex);
  require(!(single && index), "{}: holds both {} and {}; pass the one that is meant",
          folder.string(), kSingle, kIndex);
  if (single) return folder / kSingle;
  if (index) return folder / kIndex;
  std::vector<std::string> others;
  for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
    if (e.path().extension() == ".safetensors") others.push_back(e.path().filename().string());
  }
  std::sort(others.begin(), others.end());
  require(others.empty(), "{}: holds neither {} nor {}; pass the file itself (there are: {})",
          folder.string(), kSingle, kIndex, list_some(others, 8));
  fail("{}: holds no checkpoint ({} or {})", folder.string(), kSingle, kIndex);
}

std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const json document = read_json_file(index);
  const auto found = document.is_object() ? document.find("weight_map") : document.end();
  require(found != document.end() && found->is_object() && !found->empty(), "{}: has no weight_map",
          index.string());
  std::map<std::string, std::string> map;
  for (const auto& [tensor, file] : found->items()) {
    require(file.is_string(), "{}: the file of tensor '{}' is not a string", index.string(),
            printable(tensor));
    const std::string name = file.get<std::string>();
    require(!name.empty() && name.find('/') == name.npos && name.find('\0') == name.npos &&
                name != "." && name != "..",
            "{}: tensor '{}' lies in '{}', which is not a file of this folder", index.string(),
            printable(tensor), printable(name));
    map[tensor] = name;
  }
  return map;
}

}  // namespace

Safetensors Safetensors::open(const fs::path& path) {
  require(fs::exists(path), "{}: does not exist", path.string());
  const fs::path file = fs::is_directory(path) ? find_in_folder(path) : path;
  Safetensors checkpoint;
  if (file.extension() == ".json") {
    checkpoint.add_shards(file);
  } else {
    checkpoint.add_file(file);
  }
  checkpoint.sort();
  require(!checkpoint.tensors_.empty(), "{}: holds no tensor", file.string());
  return checkpoint;
}

void Safetensors::add_file(const fs::path& path) {
  MappedFile file(path);
  SafetensorsHeader header =
      parse_safetensors_header(file.bytes(), file.bytes().size(), path.string());
  const auto data = file.bytes().subspan(header.data_start);
  for (SafetensorsHeader::Entry& e : header.entries) {
    tensors_.push_back({std::move(e.name), e.dtype, e.shape, data.subspan(e.begin, e.end - e.begin),
                        files_.size()});
  }
  for (const auto& [key, value] : header.metadata) {
    const auto [at, fresh] = metadata_.emplace(key, value);
    require(fresh || at->second == value, "{}: metadata '{}' differs from the other shards'",
            path.string(), printable(key));
  }
  files_.push_back(std::move(file));
}

void Safetensors::add_shards(const fs::path& index) {
  const std::map<std::string, std::string> map = read_weight_map(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  for (const std::string& name : names) {
    const fs::path shard = index.parent_path() / name;
    require(fs::exists(shard), "{}: names the shard {}, which is not there; fetch it",
            index.string(), printable(name));
    add_file(shard);
  }
  std::set<std::string> seen;
  for (const StoredTensor& t : tensors_) {
    const std::string file = files_[t.file].path().filename().string();
    const auto at = map.find(t.name);
    require(at != map.end() && at->second == file, "{}: tensor '{}' of {} is not in the index",
            index.string(), printable(t.name), file);
    seen.insert(t.name);
  }
  for (const auto& [tensor, file] : map) {
    require(seen.count(tensor) == 1, "{}: tensor '{}' is not in its shard {}", index.string(),
            printable(tensor), file);
  }
}

void Safetensors::sort() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
}

const StoredTensor* Safetensors::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const StoredTensor& t, std::string_view wanted) { return t.name < wanted; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

std::string Safetensors::fingerprint() const {
  constexpr std::size_t kBlock = 4096;
  Sha256 hash;
  for (const MappedFile& file : files_) {
    std::size_t data_start = file.bytes().size();
    for (const StoredTensor& t : tensors_) {
      if (&file == &files_[t.file]) {
        data_start = std::min<std::size_t>(
            data_start, static_cast<std::size_t>(t.bytes.data() - file.bytes().data()));
      }
    }
    hash.update(fmt::format("{};", file.bytes().size()));
    hash.update(file.bytes().first(data_start));
  }
  for (const StoredTensor& t : tensors_) {
    const std::size_t n = std::min(kBlock, t.bytes.size()), last = t.bytes.size() - n;
    for (const std::size_t at : {std::size_t{0}, last / 2, last}) {
      hash.update(t.bytes.subspan(at, n));
    }
  }
  return "sampled-sha256:" + hash.hex();
}

std::string Safetensors::sha256() const {
  if (files_.size() == 1) return "sha256:" + sha256_file(files_[0].path());
  Sha256 hash;
  for (const MappedFile& file : files_) {
    constexpr std::size_t kStep = 16u << 20;
    for (std::size_t at = 0; at < file.bytes().size(); at += kStep) {
      const auto part = file.bytes().subspan(at, std::min(kStep, file.bytes().size() - at));
      hash.update(part);
      file.drop(part);
    }
  }
  return "sha256:" + hash.hex();
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, std::span<const TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path), file_(path) {
  SafetensorsLayout layout = lay_out_safetensors(tensors, metadata);
  offsets_ = std::move(layout.offsets);
  for (const TensorSpec& t : tensors) {
    left_.push_back(static_cast<std::uint64_t>(t.shape.numel()) * size_of(t.dtype));
    names_.push_back(t.name);
  }
  offsets_.push_back(layout.file_size);
  file_.resize(layout.file_size);
  file_.write_at(0, std::as_bytes(std::span(layout.header.data(), layout.header.size())));
}

void SafetensorsWriter::write(std::size_t index, std::uint64_t offset,
                              std::span<const std::byte> bytes) {
  const std::uint64_t begin = offsets_.at(index) + offset;
  require(begin + bytes.size() <= offsets_.at(index + 1), "{}: too many bytes for tensor '{}'",
          path_.string(), printable(names_[index]));
  file_.write_at(begin, bytes);
  const std::lock_guard lock(mutex_);
  require(left_[index] >= bytes.size(), "{}: tensor '{}' is written twice", path_.string(),
          printable(names_[index]));
  left_[index] -= bytes.size();
}

void SafetensorsWriter::finish() {
  for (std::size_t i = 0; i < left_.size(); ++i) {
    require(left_[i] == 0, "{}: tensor '{}' still lacks {} bytes", path_.string(),
            printable(names_[i]), left_[i]);
  }
  file_.commit();
}

void write_safetensors(const fs::path& path, std::vector<StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  constexpr std::size_t kStep = 16u << 20;
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    const std::size_t wide = size_of(a.dtype), other = size_of(b.dtype);
    return wide != other ? wide > other : a.name < b.name;
  });
  std::vector<TensorSpec> specs;
  for (const StoredTensor& t : tensors) specs.push_back({t.name, t.dtype, t.shape, ""});
  SafetensorsWriter writer(path, specs, metadata);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = tensors[i].bytes;
    for (std::size_t at = 0; at < bytes.size(); at += kStep) {
      writer.write(i, at, bytes.subspan(at, std::min(kStep, bytes.size() - at)));
    }
  }
  writer.finish();
}

void write_safetensors_index(const fs::path& folder,
                             const std::map<std::string, std::string>& weight_map,
                             std::uint64_t total_size) {
  const json document = {{"metadata", {{"total_size", total_size}}}, {"weight_map", weight_map}};
  write_file(folder / kIndex, document.dump(2) + "\n");
}

}  // namespace tendon
