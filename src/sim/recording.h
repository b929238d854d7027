// Pictures of episodes for people: a sheet (PNG) or an animation (GIF).
#pragma once

#include <string>
#include <vector>

#include "sim/cameras.h"
#include "sim/picture.h"

namespace tendon::sim {

// Collects what the cameras show, tick by tick, and draws it when asked. One thread at a time.
class Recording {
 public:
  // The file's ending decides: .png or .gif. Throws Error for another.
  explicit Recording(std::string path);

  void begin(std::string prompt);
  // `blanked`: cameras the policy was denied, shown as it sees them.
  void keep(World& world, const std::array<bool, kCameras>& blanked);
  void end(std::string verdict, Colour colour);

  void write() const;  // throws Error naming the path
  const std::string& path() const { return path_; }

 private:
  struct Episode {
    std::string prompt, verdict;
    Colour colour;                // of the verdict
    std::vector<Picture> frames;  // both cameras, side by side or one above the other
  };
  void write_sheet() const;
  void write_animation() const;

  std::string path_;
  bool animated_;
  int side_;         // pixels of a camera's picture
  Cameras cameras_;  // of twice the size, for smooth edges
  std::vector<Episode> episodes_;
};

inline constexpr Colour kGood = {60, 190, 90}, kBad = {220, 80, 60};

}  // namespace tendon::sim
