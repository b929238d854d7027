// Which form a product on warpgroups takes, and whether the library does better: the best forms are
// found by themselves, the choice is made where the product runs.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "backends/cuda/product.h"
#include "backends/cuda/row_product.h"
#include "backends/cuda/tiles.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

constexpr std::array<int, 6> kRows = {16, 104, 128, 136, 200, 256};
constexpr TileForm kRowForm{.rows = 1};  // stands for row_product.h
constexpr int kFeatures = 128, kMostCluster = 8;
constexpr std::size_t kForms = 2;  // that are tried in place
constexpr const char* kLibrary = "library";

int ceiling(int a, int b) { return (a + b - 1) / b; }

std::int64_t span(const device::RowsView& v) {
  return v.offset(v.count - 1) + std::max<std::int64_t>(v.row_stride, v.width) + 64;
}

std::vector<int> row_choices(int count) {
  int least = 1 << 30;
  for (const int rows : kRows) least = std::min(least, ceiling(count, rows) * rows);
  std::vector<int> all;
  for (const int rows : kRows) {
    const int computed = ceiling(count, rows) * rows;
    if (computed * 4 <= least * 5 || (count > 16 && computed * 2 <= least * 3 && rows >= 128)) {
      all.push_back(rows);
    }
  }
  return all;
}

// Tiles of rows, of pixels where it is a convolution.
int tile_count(const TileProduct& p, int rows) {
  return p.conv.kernel_x ? conv_tiles(p.conv, rows) : ceiling(p.x.count, rows);
}

void launch_form(const TileProduct& p, const TileForm& form, cudaStream_t stream) {
  if (form.rows == kRowForm.rows) {
    launch_row_product(p, stream);
  } else {
    launch_tiles(p, form, stream);
  }
}

// The fastest forms that give the plain product.
std::vector<TileForm> fastest(Planner& planner, TileProduct p) {
  GemmLibrary& library = *planner.shared().gemms;
  const auto padded = [](std::size_t n) { return (n + 1023) / 1024 * 1024; };
  const TileConv& v = p.conv;
  const std::int64_t pixels = v.kernel_x ? v.batch * v.x.stride[0] : 0;
  const std::size_t x = padded(static_cast<std::size_t>(std::max(span(p.x), pixels)) * 2 + 4096);
  const std::size_t out = static_cast<std::size_t>(span(p.epilogue.out)) * 4;
  const std::size_t plain = static_cast<std::size_t>(p.x.count) * static_cast<std::size_t>(p.n) * 4;
  const std::size_t weights = static_cast<std::size_t>(p.n) * static_cast<std::size_t>(p.k) * 2;
  const GemmLibrary::Operands random = library.operands(
      x + std::max(out, plain) + 4096, p.paired ? 2 * weights : weights, DType::bf16);
  std::byte* memory = random.data;
  p.x.data = memory, p.conv.x.data = memory, p.epilogue.out.data = memory + x;
  std::vector<std::pair<double, TileForm>> found;
  for (const TileForm& form :
       tile_forms(p, planner.shared().device.properties.multiProcessorCount)) {
    const double taken = library.seconds([&](cudaStream_t stream, int i) {
      TileProduct own = p;
      own.weight = random.weight(i);
      launch_form(own, form, stream);
    });
    found.emplace_back(taken, form);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  TileProduct bare = p;
  bare.n = p.paired ? 2 * p.n : p.n, bare.paired = 0, bare.up_bias = nullptr;
  bare.epilogue = {};
  bare.epilogue.out = {memory + x, DType::bf16, p.x.count, bare.n, p.x.count, 0, bare.n};
  GemmShape shape;
  shape.m = p.x.count, shape.n = bare.n, shape.k = p.k;
  shape.x_stride = std::max<std::int64_t>(p.x.row_stride, p.k), shape.out_stride = bare.n;
  std::vector<TileForm> best;
  for (const auto& [taken, form] : found) {
    if (taken > 1 || best.size() == kForms) break;
    if (!p.conv.kernel_x) {
      library.seconds([&](cudaStream_t stream, int) { launch_form(bare, form, stream); });
      if (!library.holds(shape, p.x.data, p.weight, bare.epilogue.out.data)) continue;
    }
    best.push_back(form);
  }
  return best;
}

const Choice& choice_of(Planner& planner, const TileProduct& p) {
  GemmLibrary& library = *planner.shared().gemms;
  const std::string key = p.str();
  if (const Choice* known = library.choices().find(key)) return *known;
  if (const std::string* remembered = library.recall(key)) {
    TileForm form;
    const bool tiles = parse(*remembered, form);
    return library.choices().add(key, {tiles ? *remembered : std::string(kLibrary)});
  }
  std::vector<std::string> options{kLibrary};
  for (const TileForm& form : fastest(planner, p)) options.push_back(form.str());
  return library.choices().add(key, std::move(options));
}

}  // namespace

std::string TileForm::str() const {
  return fmt::format("{}.{}.{}.{}.{}", rows, features, tokens, split, per_multiprocessor);
}

bool parse(const std::string& text, TileForm& form) {
  std::istringstream in(text);
  TileForm f;
  char dot;
  in >> f.rows >> dot >> f.features >> dot >> f.tokens >> dot >> f.split >> dot >>
      f.per_multiprocessor;
  const bool known =
      f.rows == kRowForm.rows || std::find(kRows.begin(), kRows.end(), f.rows) != kRows.end();
  const bool fits = f.features > 0 && f.tokens > 0 && f.split > 0 &&
                    f.features * f.tokens * f.split <= kMostCluster &&
                    (f.per_multiprocessor == 1 || f.per_multiprocessor == 2);
  if (!in || !known || !fits) return false;
  form = f;
  return true;
}

std::string TileProduct::str() const {
  const EpilogueArgs& e = epilogue;
  const std::string picture =
      conv.kernel_x ? fmt::format("c{}x{}s{}", conv.out_width, conv.kernel_x, conv.stride) : "";
  return fmt::format("tiles/{}{}x{}x{}.{}.p{}.{}.{}{}{}{}", picture, x.count, n, k, x.row_stride,
                     paired, name(e.out.dtype), e.bias ? "b" : "", static_cast<int>(e.curve),
                     e.gate.data ? "g" : "", e.residual.data ? "r" : "");
}

std::vector<TileForm> tile_forms(const TileProduct& p, int multiprocessors) {
  std::vector<TileForm> all;
  if (suits_row_product(p)) all.push_back(kRowForm);
  const int features = ceiling(p.n, p.paired ? kFeatures / 2 : kFeatures),
            pieces = ceiling(p.k, 64);
  const std::vector<int> choices =
      p.conv.kernel_x ? std::vector<int>{128, 256} : row_choices(p.x.count);
  for (const int rows : choices) {
    const int tokens = tile_count(p, rows), tiles = features * tokens;
    for (const int split : {1, 2, 3, 4, 6, 8}) {
      if (split > 1 && (tiles * split > multiprocessors * 5 / 4 || pieces < 4 * split)) continue;
      for (const int f : {1, 2, 4}) {
        for (const int t : {1, 2}) {
          const bool fits =
              f <= features && t <= tokens && f * t * split <= kMostCluster && f * t <= 4;
          if (!fits || (f == 4 && tokens > 4)) continue;
          all.push_back({rows, f, t, split, 1});
          if (rows <= 136) all.push_back({rows, f, t, split, 2});
        }
      }
    }
  }
  return all;
}

void plan_tiles(Planner& planner, const TileProduct& p, const std::function<void()>& otherwise) {
  if (!suits_tiles(planner.shared().device, p)) {
    otherwise();
    return;
  }
  const Choice& choice = choice_of(planner, p);
  std::vector<std::vector<Launch>> ways;
  for (std::size_t i = 0; i < choice.options.size(); ++i) {
    TileForm form;
    if (parse(choice.options[i], form)) {
      ways.push_back({[p, form](cudaStream_t stream) { launch_form(p, form, stream); }});
    } else {
      ways.push_back(planner.apart(choice, i, otherwise));
    }
  }
  planner.launch([&choice, ways = std::move(ways)](cudaStream_t stream) {
    for (const Launch& launch : ways[choice.selected]) launch(stream);
  });
}

}  // namespace tendon::cuda
