#include "sim/rollout.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <optional>

#include "sim/expert.h"
#include "sim/prompt.h"
#include "tendon/error.h"

namespace tendon::sim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kNoiseSeed = 0x4E015E;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check(const RolloutOptions& options) {
  if (options.episodes < 1) throw Error("rollout: at least one episode, got fewer");
  if (options.execute < 0) throw Error("rollout: a chunk is executed for at least one tick");
  if (options.delay < 0) throw Error("rollout: the delay counts ticks from 0 up");
}

double at_quantile(std::vector<double> values, double quantile) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1) + 0.5)];
}

int most_ticks(const RolloutOptions& options) {
  if (options.most_ticks > 0) return options.most_ticks;
  return options.task == Task::blocks ? 200 : 140;
}

class Loop {
 public:
  // `infer` null: the expert drives.
  Loop(const Infer* infer, const RolloutOptions& options) : options_(options) {
    PilotOptions pilot = options;
    // Pushing and letting go want a fresh look sooner than picking up: docs/demo.md.
    if (pilot.execute == 0 && options.task == Task::blocks) pilot.execute = 4;
    if (infer != nullptr) pilot_.emplace(*infer, pilot);
  }

  EpisodeOutcome run(int number) {
    Setting setting = {.task = options_.task};
    const std::vector<std::string>& prompts = options_.prompts;
    if (!prompts.empty()) {
      const std::string& wording = prompts[number % prompts.size()];
      setting.verb = verb_in(wording);
      setting.other_named = names_another(wording);
    }
    Episode episode = draw_episode(setting, options_.seed, number);
    EpisodeOutcome outcome = assign(episode, number);
    episode.table_speed = options_.table_speed;
    world_.reset(episode);
    if (pilot_) pilot_->begin(episode, outcome.prompt, Random(options_.seed ^ kNoiseSeed, number));
    Episode told = episode;
    told.target = outcome.named;
    const bool recorded = options_.recording != nullptr && number < options_.recorded;
    if (recorded) options_.recording->begin(outcome.prompt);
    int lasted = 0;
    Deed last;
    while (outcome.ticks < most_ticks(options_) && lasted < kLastingTicks) {
      if (recorded) options_.recording->keep(world_, options_.blanked);
      world_.step(command(told, outcome.ticks++));
      note_state();
      const Deed deed = look_for(episode.verb, world_);
      lasted = deed == Deed{} ? 0 : deed == last ? lasted + 1 : 1;
      last = deed;
    }
    if (lasted >= kLastingTicks) outcome.done = last;
    if (recorded) finish_recording(episode, outcome);
    return outcome;
  }

  Pilot* pilot() { return pilot_ ? &*pilot_ : nullptr; }

  std::uint64_t fingerprint = 0xCBF29CE484222325u;  // FNV-1a, 64-bit words

 private:
  // `told`: the episode as the prompt has it.
  Command command(const Episode& told, int tick) {
    if (pilot_) return pilot_->command(world_, tick);
    // Told of a block that is not there the expert stays where it is.
    return told.target < 0 ? Command{told.joints, 1} : expert_command(world_, told);
  }

  EpisodeOutcome assign(Episode& episode, int number) {
    const std::span<const std::string_view> trained = wordings(episode.verb);
    const std::vector<std::string>& given = options_.prompts;
    const std::string_view wording = given.empty() ? trained[number % trained.size()]
                                                   : std::string_view(given[number % given.size()]);
    Instruction instruction = instruct(episode, wording, number);
    EpisodeOutcome outcome;
    outcome.target = episode.target;
    outcome.named = instruction.named;
    outcome.verb = episode.verb;
    outcome.base = episode.base;
    outcome.prompt = std::move(instruction.text);
    return outcome;
  }

  void note_state() {
    const auto add = [this](double value) {
      fingerprint = (fingerprint ^ std::bit_cast<std::uint64_t>(value)) * 0x100000001B3u;
    };
    for (const double joint : world_.joints()) add(joint);
    add(world_.opening());
  }

  void finish_recording(const Episode& episode, const EpisodeOutcome& outcome) {
    options_.recording->keep(world_, options_.blanked);
    constexpr const char* kDone[] = {"lifted", "pushed", "stacked"};
    const std::string done = kDone[static_cast<int>(outcome.verb)];
    std::string verdict = "nothing " + done;
    if (outcome.done.cube >= 0) {
      verdict = std::string(kColourNames[episode.cubes[outcome.done.cube].colour]) + " " + done;
    }
    verdict += outcome.success() ? ": success" : ": failure";
    options_.recording->end(std::move(verdict), outcome.success() ? kGood : kBad);
  }

  const RolloutOptions& options_;
  std::optional<Pilot> pilot_;
  World world_;
};

RolloutResult drive(const Infer* infer, const RolloutOptions& options) {
  check(options);
  const Clock::time_point begin = Clock::now();
  Loop loop(infer, options);
  RolloutResult result;
  for (int number = 0; number < options.episodes; ++number) {
    result.episodes.push_back(loop.run(number));
    if (options.progress) options.progress(number + 1, result.episodes.back());
  }
  if (Pilot* pilot = loop.pilot()) {
    result.latencies = std::move(pilot->latencies);
    result.drawings = std::move(pilot->drawings);
  }
  result.fingerprint = loop.fingerprint;
  result.seconds = seconds_since(begin);
  if (options.recording != nullptr) options.recording->write();
  return result;
}

}  // namespace

RolloutResult rollout(const Infer& infer, const RolloutOptions& options) {
  return drive(&infer, options);
}

RolloutResult rollout_by_expert(const RolloutOptions& options) { return drive(nullptr, options); }

int RolloutResult::successes() const {
  return static_cast<int>(std::count_if(episodes.begin(), episodes.end(),
                                        [](const EpisodeOutcome& e) { return e.success(); }));
}

int RolloutResult::others() const {
  return static_cast<int>(
      std::count_if(episodes.begin(), episodes.end(),
                    [](const EpisodeOutcome& e) { return e.done.cube >= 0 && !e.success(); }));
}

int RolloutResult::originals() const {
  return static_cast<int>(std::count_if(
      episodes.begin(), episodes.end(),
      [](const EpisodeOutcome& e) { return e.done.cube >= 0 && e.done.cube == e.target; }));
}

double RolloutResult::mean_ticks() const {
  double sum = 0, count = 0;
  for (const EpisodeOutcome& episode : episodes) {
    if (episode.done.cube >= 0) sum += episode.ticks, count += 1;
  }
  return count > 0 ? sum / count : 0;
}

double RolloutResult::latency(double quantile) const { return at_quantile(latencies, quantile); }
double RolloutResult::drawing(double quantile) const { return at_quantile(drawings, quantile); }

}  // namespace tendon::sim
