#include "sim/recording.h"

#include <algorithm>
#include <cstdio>

#include "sim/gif.h"
#include "tendon/error.h"

namespace tendon::sim {
namespace {

constexpr int kSheetSide = 144, kAnimationSide = 240;
constexpr int kSheetFrames = 6;
constexpr int kGap = 6, kBand = 24, kTextScale = 2;
constexpr int kOversampling = 2;
constexpr Colour kPaper = {24, 24, 28}, kInk = {235, 235, 235}, kFaint = {140, 140, 150};

bool ends_with_gif(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  const std::string ending = dot == std::string::npos ? "" : path.substr(dot);
  if (ending != ".png" && ending != ".gif") {
    throw Error("recording: the path must end in .png or .gif, got " + path);
  }
  return ending == ".gif";
}

std::string clock(std::size_t tick) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", static_cast<double>(tick) / kControlHz);
  return text;
}

void write_right(Picture& picture, std::string_view text, int y, Colour colour) {
  write_text(picture, text,
             {picture.width - kGap - text_width(text, kTextScale), y, kTextScale, colour});
}

}  // namespace

Recording::Recording(std::string path)
    : path_(std::move(path)),
      animated_(ends_with_gif(path_)),
      side_(animated_ ? kAnimationSide : kSheetSide),
      cameras_(side_ * kOversampling) {}

void Recording::begin(std::string prompt) {
  episodes_.emplace_back();
  episodes_.back().prompt = std::move(prompt);
}

void Recording::keep(World& world, const std::array<bool, kCameras>& blanked) {
  cameras_.look(world);
  const int step = side_ + kGap;
  Picture frame(animated_ ? side_ + step : side_, animated_ ? side_ : side_ + step, kPaper);
  for (int camera = 0; camera < kCameras; ++camera) {
    if (blanked[camera]) cameras_.blank(camera);
    const Picture small = shrunk(cameras_.picture(camera), kOversampling);
    frame.paste(small.view(), animated_ ? camera * step : 0, animated_ ? 0 : camera * step);
  }
  episodes_.back().frames.push_back(std::move(frame));
}

void Recording::end(std::string verdict, Colour colour) {
  episodes_.back().verdict = std::move(verdict);
  episodes_.back().colour = colour;
}

void Recording::write() const {
  if (episodes_.empty()) throw Error("recording: no episode was kept for " + path_);
  animated_ ? write_animation() : write_sheet();
}

void Recording::write_sheet() const {
  const int column = side_ + kGap, block = 2 * kBand + 2 * side_ + 2 * kGap;
  const int width = kSheetFrames * column + kGap;
  Picture sheet(width, static_cast<int>(episodes_.size()) * block, kPaper);
  for (std::size_t e = 0; e < episodes_.size(); ++e) {
    const Episode& episode = episodes_[e];
    const int top = static_cast<int>(e) * block;
    write_text(sheet, episode.prompt, {kGap, top + 6, kTextScale, kInk});
    write_right(sheet, episode.verdict, top + 6, episode.colour);
    for (int i = 0; i < kSheetFrames; ++i) {
      const std::size_t tick = (episode.frames.size() - 1) * i / (kSheetFrames - 1);
      const int left = kGap + i * column;
      sheet.paste(episode.frames[tick].view(), left, top + kBand);
      write_text(sheet, clock(tick), {left, top + block - kBand + 4, 1, kFaint});
    }
  }
  write_png(path_, sheet);
}

void Recording::write_animation() const {
  std::vector<GifFrame> film;
  for (const Episode& episode : episodes_) {
    for (std::size_t tick = 0; tick < episode.frames.size(); ++tick) {
      const bool last = tick + 1 == episode.frames.size();
      const Picture& frame = episode.frames[tick];
      Picture page(frame.width + 2 * kGap, frame.height + 2 * kBand + kGap, kPaper);
      write_text(page, episode.prompt, {kGap, 6, kTextScale, kInk});
      page.paste(frame.view(), kGap, kBand);
      const int foot = page.height - kBand + 4;
      write_text(page, clock(tick), {kGap, foot, kTextScale, kFaint});
      if (last) write_right(page, episode.verdict, foot, episode.colour);
      film.push_back({std::move(page), last ? 150 : static_cast<int>(100 / kControlHz)});
    }
  }
  write_gif(path_, film);
}

}  // namespace tendon::sim
