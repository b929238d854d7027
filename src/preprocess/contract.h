// The contract of a checkpoint: everything around the network that its weights do not say, as plain
// data. Read from the checkpoint (contract_source.h) or taken from the built-in table; nothing is
// guessed.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tendon {

// How a camera image reaches its place in a picture. The u8 rules are Pillow's bilinear, to the
// byte.
enum class ResizeRule : std::uint8_t {
  letterbox,             // u8, aspect kept, black bars
  squash,                // u8, aspect not kept
  crop,                  // u8, enlarged or shrunk to cover, then the centre is cut out
  letterbox_float,       // f32 in [0,1], bilinear without antialias, bars 0
  letterbox_float_dark,  // the same with bars at -1, so -3 after the pixel rule (LeRobot before
                         // 0.5)
  squash_float,          // f32 in [0,1], antialiased bilinear, aspect not kept
};

// What a byte becomes, in f32. Float rules see p / 255.
enum class PixelRule : std::uint8_t {
  unit,          // p / 255 * 2 - 1
  two_over_255,  // p * (2 / 255) - 1
  standardised,  // (p / 255 - mean[c]) / std[c]
};

// Where the colour channels of a float or byte array stand when its shape does not settle it.
enum class ChannelOrder : std::uint8_t { either, first, last };
enum class Turn : std::uint8_t { none, half };  // half: rotated by 180 degrees before the resize

// One camera and the rectangle that it fills in its picture.
struct Camera {
  std::vector<std::string> keys;  // observation keys that name it; the first is the one documented
  int top = 0, left = 0, height = 0, width = 0;
  Turn turn = Turn::none;
  bool required = false;  // absent although required: refused; otherwise the picture is masked
};

// One image of the model, of one camera or composed of several.
struct Picture {
  std::string slot;
  int height = 0, width = 0;
  std::vector<Camera> cameras;
};

struct ImageRules {
  ResizeRule resize = ResizeRule::letterbox;
  PixelRule pixels = PixelRule::unit;
  ChannelOrder channels = ChannelOrder::either;
  double mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};  // standardised
  std::vector<Picture> pictures;                   // in the model's order
  std::vector<std::string> ignored;                // keys accepted and not used
};

enum class Scaling : std::uint8_t { identity, mean_std, std_only, min_max, quantile };

// The arithmetic around a scaling: where epsilon stands and in which type it is evaluated.
enum class Formula : std::uint8_t {
  eps_added,  // 1e-6 added to every denominator, both ways; fp64, the quantile's (x+1)/2 in fp32
              // (openpi)
  eps_added_f64,  // the same, all of it fp64, rounded to fp32 once
  eps_if_zero,    // fp32; std + 1e-8 forward only; ranges become 1e-8 only where zero (LeRobot)
  affine,         // fp32; x * scale + offset; a range below 1e-4 gives scale 1, offset -min
};

// Which numbers of a statistics feature, in the order of the robot's vector. count 0: all.
struct StatisticsSlice {
  std::string feature;
  int begin = 0, count = 0;
};

struct Normalisation {
  Scaling scaling = Scaling::identity;
  Formula formula = Formula::eps_added;
  double clamp = 0;  // forward results are kept in [-clamp, clamp]; 0: never
  std::vector<StatisticsSlice> features;
};

// One piece of the state vector as it arrives.
enum class StateForm : std::uint8_t {
  values,
  quaternion,      // x y z w -> rotation vector of 3, fp64
  quaternion_f32,  // the same in fp32, angles below 1e-10 are zero (LeRobot)
};
struct StatePart {
  std::string key;
  int width = 0;  // numbers that it adds to the state
  StateForm form = StateForm::values;
};

enum class GripperMap : std::uint8_t {
  none,
  aloha,          // metres of the real gripper <-> the angle that the model was trained on
  negate,         // actions only: -(2g - 1)
  negate_binary,  // actions only: sign(-(2g - 1))
};

// How a robot's vectors differ from the model's.
struct RobotRules {
  std::vector<std::vector<StatePart>> state_sources;  // the first whose keys are all there is taken
  std::vector<double> sign;                           // factors on state and actions; empty: 1
  std::vector<int> grippers;                          // dimensions of the gripper map
  GripperMap gripper = GripperMap::none;
  std::vector<std::uint8_t> delta;  // 1: the model's action is relative to the state; empty: none
  std::vector<int> slots;           // model dimension of robot dimension i; empty: i
  std::vector<double> reset_pose;   // metadata for clients
};

enum class Cleaning : std::uint8_t {
  none,
  strip_underscore,  // on the text: strip, then '_' and newline become blanks
  html_collapse,  // on the finished piece: unescape HTML twice, every run of white space one blank,
                  // strip
};
enum class Precision : std::uint8_t { f32, f64 };

// The prompt as pieces that are encoded one after the other. "{text}" and "{state}" are replaced.
struct PromptRules {
  Cleaning cleaning = Cleaning::strip_underscore;
  std::string ensure_prefix, ensure_suffix;  // put around the text unless it is already there
  std::vector<std::string> pieces;
  std::int32_t bos = -1, eos = -1, pad = 0;  // -1: none
  int capacity = 0;                          // tokens, bos and eos included
  int widen_state = 0;                  // zeros up to this width before it is discretised; 0: none
  Precision bins = Precision::f64;      // arithmetic of the state bins
  std::optional<std::string> fallback;  // prompt where the observation has none
  bool state_in_prompt() const;
};

enum class TimeSchedule : std::uint8_t {
  exact,    // as the original code counts, in fp32
  bf16,     // rounded to bf16 at every step
  divided,  // 1 - k / steps in fp64, as LeRobot's ports count
};
enum class RopeTable : std::uint8_t { f32, bf16 };

struct Contract {
  std::string name;
  std::string model;  // the registry's name of the family
  std::string robot;  // a label: libero, droid, aloha, ...
  int horizon = 0;
  int action_dim = 0;     // width of the model's action rows
  int state_dim = 0;      // numbers of the robot's state
  int state_width = 0;    // width handed to the model: zeros follow the state's numbers
  int returned_dims = 0;  // leading robot dimensions of a row that are returned
  int steps = 10;
  double shift = 0;  // of the time schedule; 0: the family has none
  TimeSchedule schedule = TimeSchedule::exact;
  RopeTable rope = RopeTable::f32;
  double control_hz = 0;  // 0: not known
  int execute_rows = 0;   // rows usually executed before the next inference; 0: all
  std::optional<std::int64_t> noise_seed;  // the seed its evaluation re-uses on every call
  std::string
      dims;  // JSON object: dimensions in the family's words that shapes do not tell; empty: none
  std::string asset;  // openpi: assets/<asset>/norm_stats.json
  ImageRules images;
  Normalisation state, actions;
  RobotRules robot_rules;
  PromptRules prompt;
};

// Throws Error naming the field that contradicts another.
void validate(const Contract& contract);

// A built-in contract, or Error listing the names near it.
const Contract& builtin_contract(std::string_view name);
const std::vector<Contract>& builtin_contracts();

// "task_state", "text_newline", ... : see contract_table.cpp. Throws Error listing the names.
PromptRules named_prompt(std::string_view name);

// Makes every picture `height` x `width` and scales the cameras' rectangles with it.
void set_picture_size(ImageRules& images, int height, int width);

// (6,-1): six ones, one zero.
std::vector<std::uint8_t> delta_mask(const std::vector<int>& runs);

// The whole contract as JSON, and back: {"contract": "pi05_libero", "horizon": 20} starts from a
// built-in one. Unknown keys and values are refused. `origin` names the file in errors.
nlohmann::json to_json(const Contract& contract);
Contract contract_from_json(const nlohmann::json& json, std::string_view origin);

}  // namespace tendon
