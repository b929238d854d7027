#include "preprocess/contract.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace tendon {

bool PromptRules::state_in_prompt() const {
  return std::any_of(pieces.begin(), pieces.end(),
                     [](const std::string& p) { return p.find("{state}") != std::string::npos; });
}

std::vector<std::uint8_t> delta_mask(const std::vector<int>& runs) {
  std::vector<std::uint8_t> mask;
  for (const int run : runs) {
    require(run != 0 && std::abs(run) <= 4096, "delta mask: a run of {} dimensions makes no sense",
            run);
    mask.insert(mask.end(), std::abs(run), run > 0 ? 1 : 0);
  }
  return mask;
}

void set_picture_size(ImageRules& images, int height, int width) {
  for (Picture& p : images.pictures) {
    for (Camera& c : p.cameras) {
      const int bottom = (c.top + c.height) * height / p.height;
      const int right = (c.left + c.width) * width / p.width;
      c.top = c.top * height / p.height;
      c.left = c.left * width / p.width;
      c.height = bottom - c.top;
      c.width = right - c.left;
    }
    p.height = height;
    p.width = width;
  }
}

namespace {

void validate_images(const Contract& c) {
  require(!c.images.pictures.empty(), "contract {}: images.pictures is empty", c.name);
  std::set<std::string> keys;
  for (const Picture& p : c.images.pictures) {
    require(p.height > 0 && p.width > 0 && p.height <= 8192 && p.width <= 8192,
            "contract {}: picture {} has no possible size, {}x{}", c.name, p.slot, p.height,
            p.width);
    for (const Camera& camera : p.cameras) {
      require(!camera.keys.empty(), "contract {}: a camera of picture {} has no key", c.name,
              p.slot);
      require(camera.top >= 0 && camera.left >= 0 && camera.height > 0 && camera.width > 0 &&
                  camera.top + camera.height <= p.height && camera.left + camera.width <= p.width,
              "contract {}: camera {} leaves its picture of {}x{}", c.name, camera.keys[0],
              p.height, p.width);
      for (const std::string& key : camera.keys) {
        require(keys.insert(key).second, "contract {}: two cameras answer to \"{}\"", c.name, key);
      }
    }
  }
}

void validate_robot(const Contract& c) {
  const RobotRules& r = c.robot_rules;
  for (const auto& source : r.state_sources) {
    int width = 0;
    for (const StatePart& part : source) width += part.width;
    require(width == c.state_dim, "contract {}: its state parts add up to {}, state_dim is {}",
            c.name, width, c.state_dim);
  }
  const int widest = std::max(c.state_dim, c.returned_dims);
  require(static_cast<int>(r.sign.size()) <= widest, "contract {}: {} signs for {} dimensions",
          c.name, r.sign.size(), widest);
  for (const int g : r.grippers) {
    require(g >= 0 && g < c.returned_dims, "contract {}: gripper dimension {} of {}", c.name, g,
            c.returned_dims);
  }
  for (std::size_t i = 0; i < r.delta.size(); ++i) {
    require(!r.delta[i] || static_cast<int>(i) < std::min(c.state_dim, c.returned_dims),
            "contract {}: action {} is relative to a state of {} numbers", c.name, i, c.state_dim);
  }
  std::set<int> used;
  for (const int slot : r.slots) {
    require(slot >= 0 && slot < c.action_dim && slot < c.state_width && used.insert(slot).second,
            "contract {}: slot {} is used twice or lies outside {} dimensions", c.name, slot,
            c.action_dim);
  }
  require(r.slots.empty() || (static_cast<int>(r.slots.size()) >= widest),
          "contract {}: {} slots for {} dimensions", c.name, r.slots.size(), widest);
}

}  // namespace

void validate(const Contract& c) {
  require(!c.model.empty(),
          "contract {}: model is missing; say which family, \"pi05\" for instance", c.name);
  require(c.horizon > 0 && c.horizon <= 4096, "contract {}: horizon {} makes no sense", c.name,
          c.horizon);
  require(c.action_dim > 0 && c.action_dim <= 4096, "contract {}: action_dim {} makes no sense",
          c.name, c.action_dim);
  require(c.state_dim >= 0 && c.state_dim <= c.state_width,
          "contract {}: a state of {} numbers in a width of {}", c.name, c.state_dim,
          c.state_width);
  require(c.returned_dims > 0 && c.returned_dims <= c.action_dim,
          "contract {}: {} returned dimensions of {} that the model has", c.name, c.returned_dims,
          c.action_dim);
  require(c.steps > 0 && c.steps <= 1000, "contract {}: {} steps make no sense", c.name, c.steps);
  require(c.execute_rows >= 0 && c.execute_rows <= c.horizon,
          "contract {}: {} rows to execute of {}", c.name, c.execute_rows, c.horizon);
  require(std::isfinite(c.control_hz) && c.control_hz >= 0, "contract {}: control_hz {}", c.name,
          c.control_hz);
  require(!c.prompt.pieces.empty(), "contract {}: prompt.pieces is empty", c.name);
  require(c.prompt.capacity > 0 && c.prompt.capacity <= 65536,
          "contract {}: a prompt capacity of {} tokens makes no sense", c.name, c.prompt.capacity);
  validate_images(c);
  validate_robot(c);
}

const Contract& builtin_contract(std::string_view name) {
  std::string names;
  for (const Contract& c : builtin_contracts()) {
    if (c.name == name) return c;
    names += (names.empty() ? "" : ", ") + c.name;
  }
  fail("contract \"{}\" is unknown; there are {}, or give the path of a tendon.json", name, names);
}

}  // namespace tendon
