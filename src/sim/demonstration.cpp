#include "sim/demonstration.h"

#include <algorithm>

#include "sim/expert.h"
#include "sim/judge.h"
#include "sim/prompt.h"
#include "sim/random.h"

namespace tendon::sim {
namespace {

constexpr int kAfterDeed = 12;        // ticks kept once it is done
constexpr double kTremble = 0.006;    // rad, on every joint, every tick
constexpr double kPushChance = 0.07;  // a tick
constexpr double kPush = 0.035;       // rad, per joint
constexpr int kLongestLead = 180;     // ticks
constexpr std::uint64_t kDisturbanceSeed = 0xD157, kWordSeed = 0x30D5, kLeadSeed = 0x1EAD;

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

// Tells each frame in one of the wordings.
class Speaker {
 public:
  Speaker(const DataSetting& setting, std::uint64_t number)
      : prompts_(all_prompts(setting.task)), random_(setting.seed ^ kWordSeed, number) {}

  // An index into all_prompts().
  std::size_t prompt_for(const Episode& episode) {
    return std::find(prompts_.begin(), prompts_.end(), text_for(episode)) - prompts_.begin();
  }
  std::string text_for(Episode episode) {
    const auto choices = wordings(episode.verb);
    const std::string_view wording = choices[random_.index(static_cast<int>(choices.size()))];
    return instruct(episode, wording, 0).text;
  }

 private:
  std::vector<std::string> prompts_;
  Random random_;
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

// Lets the leader drive, and sets the world back to some tick of that.
void lead(World& world, const DataSetting& setting, const Episode& episode, std::uint64_t number) {
  Random random(setting.seed ^ kLeadSeed, number);
  Disturbance disturbance(setting.seed ^ kLeadSeed, number);
  Pilot pilot(*setting.leader, {});
  pilot.begin(episode, Speaker(setting, number).text_for(episode), random);
  std::vector<Command> commands;
  const Deed told = {episode.target, episode.base};
  while (commands.size() < kLongestLead && look_for(episode.verb, world) != told) {
    const Command command = pilot.command(world, static_cast<int>(commands.size()));
    commands.push_back(disturbance.applied_to(command));
    world.step(commands.back());
  }
  commands.resize(random.index(static_cast<int>(commands.size())));
  world.reset(episode);
  for (const Command& command : commands) world.step(command);
}

}  // namespace

std::vector<std::string> all_prompts(Task task) {
  std::vector<std::string> prompts;
  for (const Verb verb : {Verb::pick, Verb::push, Verb::stack}) {
    if (verb != Verb::pick && task == Task::pick_block) break;
    for (const std::string_view wording : wordings(verb)) {
      for (const std::string_view colour : kColourNames) {
        const std::string named = filled(wording, "{colour}", colour);
        if (verb != Verb::stack) prompts.push_back(named);
        for (const std::string_view base : kColourNames) {
          if (verb == Verb::stack && base != colour)
            prompts.push_back(filled(named, "{base}", base));
        }
      }
    }
  }
  return prompts;
}

Demonstration demonstrate(World& world, const DataSetting& setting, std::uint64_t number) {
  const bool led = setting.leader != nullptr;
  const Start start = led || number % 10 < 4 ? Start::normal : Start::wild;
  Episode episode = draw_episode({.task = setting.task, .start = start, .verb = setting.verb},
                                 setting.seed, number);
  episode.table_speed = setting.table_speed;
  world.reset(episode);
  if (led) lead(world, setting, episode, number);
  Disturbance disturbance(setting.seed, number);
  Speaker speaker(setting, number);
  const Deed told = {episode.target, episode.base};
  const int most = setting.task == Task::pick_block ? 110 : 180;
  Demonstration out;
  int after = 0;
  for (int tick = 0; tick < most && after <= kAfterDeed; ++tick) {
    const Command command = expert_command(world, episode);
    keep_scene(world, out);
    append(out.fields[kState], world.joints());
    out.fields[kState].push_back(static_cast<float>(world.opening()));
    append(out.fields[kAction], command.joints);
    out.fields[kAction].push_back(static_cast<float>(command.gripper));
    keep_target(world, episode.target, out);
    append(out.fields[kEpisode], std::array{static_cast<double>(number),
                                            static_cast<double>(speaker.prompt_for(episode))});
    ++out.frames;
    world.step(disturbance.applied_to(command));
    if (look_for(episode.verb, world) == told) ++after;
  }
  out.succeeded = look_for(episode.verb, world) == told;
  if (led && !out.succeeded) return {};
  return out;
}

}  // namespace tendon::sim
