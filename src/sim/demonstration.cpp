#include "sim/demonstration.h"

#include "sim/expert.h"
#include "sim/prompt.h"
#include "sim/random.h"

namespace tendon::sim {
namespace {

constexpr int kMostTicks = 110;
constexpr int kAfterLift = 12;        // ticks kept once the cube is up
constexpr double kTremble = 0.006;    // rad, on every joint, every tick
constexpr double kPushChance = 0.07;  // a tick
constexpr double kPush = 0.035;       // rad, per joint
constexpr std::uint64_t kDisturbanceSeed = 0xD157, kWordSeed = 0x30D5;

// Noise on the commands: a tremble, and now and then a push of 2 to 5 ticks.
class Disturbance {
 public:
  Disturbance(std::uint64_t seed, std::uint64_t number)
      : random_(seed ^ kDisturbanceSeed, number), active_(number % 2 == 1) {}

  Command applied_to(Command command) {
    if (!active_) return command;
    for (double& joint : command.joints) joint += random_.normal(kTremble);
    if (left_ == 0 && random_.uniform() < kPushChance) begin_push();
    if (left_ == 0) return command;
    --left_;
    for (int i = 0; i < 4; ++i) command.joints[i] += offset_[i];
    if (gripper_ >= 0) command.gripper = gripper_;
    return command;
  }

 private:
  void begin_push() {
    left_ = 2 + random_.index(4);
    for (double& offset : offset_) offset = random_.normal(kPush);
    gripper_ = random_.uniform() < 0.25 ? random_.uniform() : -1;
  }

  Random random_;
  bool active_;
  int left_ = 0;
  Joints offset_ = {};
  double gripper_ = -1;  // what the push makes of the gripper; -1: leaves it alone
};

template <class From>
void append(std::vector<float>& to, const From& from) {
  for (const auto value : from) to.push_back(static_cast<float>(value));
}

void keep_scene(World& world, Demonstration& out) {
  for (const Box& box : world.boxes()) {
    append(out.fields[kPositions], box.position);
    append(out.fields[kRotations], box.rotation);
    append(out.fields[kColours], box.colour);
  }
  for (int camera = 0; camera < kCameras; ++camera) {
    const View view = world.view(camera);
    append(out.fields[kViews], view.position);
    append(out.fields[kViews], view.rotation);
  }
}

// The named cube from the grasp point; the wrist camera turns with the hand, so its axes serve.
void keep_target(const World& world, int target, Demonstration& out) {
  const View hand = world.view(kWristCamera);
  const Vec3 tip = world.tip(), cube = world.cube(target);
  std::vector<float>& row = out.fields[kTarget];
  for (int axis = 0; axis < 3; ++axis) {
    double along = 0;
    for (int i = 0; i < 3; ++i) along += hand.rotation[3 * i + axis] * (cube[i] - tip[i]);
    row.push_back(static_cast<float>(along));
  }
  append(row, cube);
}

}  // namespace

std::vector<std::string> all_prompts() {
  std::vector<std::string> prompts;
  for (const std::string_view wording : kWordings) {
    for (const std::string_view colour : kColourNames) {
      prompts.push_back(filled(wording, "{colour}", colour));
    }
  }
  return prompts;
}

Demonstration demonstrate(World& world, std::uint64_t seed, std::uint64_t number,
                          double table_speed) {
  Episode episode = draw_episode(seed, number, number % 10 < 4 ? Start::normal : Start::wild);
  episode.table_speed = table_speed;
  world.reset(episode);
  Disturbance disturbance(seed, number);
  Random words(seed ^ kWordSeed, number);
  Demonstration out;
  int after = 0;
  for (int tick = 0; tick < kMostTicks && after <= kAfterLift; ++tick) {
    const Command command = expert_command(world, episode.target);
    keep_scene(world, out);
    append(out.fields[kState], world.joints());
    out.fields[kState].push_back(static_cast<float>(world.opening()));
    append(out.fields[kAction], command.joints);
    out.fields[kAction].push_back(static_cast<float>(command.gripper));
    keep_target(world, episode.target, out);
    const int wording = words.index(static_cast<int>(kWordings.size()));
    const int colour = episode.cubes[episode.target].colour;
    append(out.fields[kEpisode],
           std::array{static_cast<double>(number),
                      static_cast<double>(wording * kColourNames.size() + colour)});
    ++out.frames;
    world.step(disturbance.applied_to(command));
    if (world.held_up() == episode.target) ++after;
  }
  out.succeeded = world.held_up() == episode.target;
  return out;
}

}  // namespace tendon::sim
