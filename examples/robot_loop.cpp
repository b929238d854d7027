// A control loop around a policy: look, infer beside the loop, play the chunk at a fixed rate.
//   robot_loop MODEL "pick up the red block"
// Put your robot in the place of class Robot; the rest stays as it is.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tendon/tendon.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSeconds = 5;
constexpr int kExecute = 8;  // ticks from one inference to the next

// Stands in for a robot: grey cameras, joints that follow their targets half-way each tick.
class Robot {
 public:
  explicit Robot(const tendon::PolicyInfo& info) : inputs_(info.inputs) {
    for (const tendon::PolicyInfo::Input& input : inputs_) {
      if (input.size > 0) joints_.resize(static_cast<std::size_t>(input.size));
    }
  }

  // The newest picture of each camera and the state in the units of the training. The pictures must
  // stay until the inference that reads them is over.
  tendon::Observation look() const {
    tendon::Observation seen;
    for (const tendon::PolicyInfo::Input& input : inputs_) {
      if (input.size > 0) {
        seen.state.push_back({input.key, joints_});
      } else if (input.required) {
        const tendon::Image image{.data = pixels_.data(), .height = 224, .width = 224};
        seen.cameras.push_back({input.key, image});
      }
    }
    return seen;
  }

  // One row of a chunk: here absolute joint targets and a gripper. Keep your own limits here too: a
  // policy's numbers are not checked against what your joints may do.
  void move(const double* action, int width) {
    const std::size_t shared = std::min(joints_.size(), static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < shared; ++i) joints_[i] += (action[i] - joints_[i]) / 2;
  }

  double first_joint() const { return joints_.empty() ? 0 : joints_[0]; }

 private:
  std::vector<tendon::PolicyInfo::Input> inputs_;
  std::vector<double> joints_;
  std::vector<std::uint8_t> pixels_ = std::vector<std::uint8_t>(224 * 224 * 3, 128);
};

// A chunk and the tick whose observation it answers: row r belongs to tick observed + r.
struct Plan {
  tendon::Chunk chunk;
  int observed = 0;
};

// Stands where the next chunk is computed; at most one inference runs at a time.
class Planner {
 public:
  Planner(tendon::Policy& policy, std::string prompt)
      : policy_(policy), prompt_(std::move(prompt)) {}

  bool idle() const { return !next_.valid(); }
  void start(const Robot& robot, int tick) {
    tendon::Observation seen = robot.look();
    seen.prompt = prompt_;
    next_ = std::async(std::launch::async, [this, seen = std::move(seen), tick] {
      return Plan{policy_.infer(seen, {.seed = static_cast<std::uint64_t>(tick)}), tick};
    });
  }
  bool ready() const {
    return next_.valid() && next_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  Plan take() { return next_.get(); }

 private:
  tendon::Policy& policy_;
  std::string prompt_;
  std::future<Plan> next_;
};

void drive(tendon::Policy& policy, const std::string& prompt) {
  const tendon::PolicyInfo& info = policy.info();
  const double hz = info.control_hz > 0 ? info.control_hz : 20;
  const auto period =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / hz));
  Robot robot(info);
  Planner planner(policy, prompt);
  planner.start(robot, 0);
  Plan plan = planner.take();  // the arm stands still until the first chunk is there
  Clock::time_point next = Clock::now();
  const int ticks = static_cast<int>(kSeconds * hz);
  for (int tick = 0; tick < ticks; ++tick) {
    if (tick - plan.observed >= kExecute && planner.idle()) planner.start(robot, tick);
    if (planner.ready()) plan = planner.take();  // a late chunk: the old one has run on meanwhile
    const int row = std::min(tick - plan.observed, plan.chunk.horizon - 1);
    robot.move(plan.chunk.actions.data() + static_cast<std::size_t>(row) * plan.chunk.width,
               plan.chunk.width);
    if (tick % 20 == 0) {
      std::printf("tick %3d: row %2d of the chunk of tick %3d, %5.1f ms, first joint %.3f\n", tick,
                  row, plan.observed, plan.chunk.seconds * 1e3, robot.first_joint());
    }
    next += period;
    std::this_thread::sleep_until(next);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: robot_loop MODEL PROMPT\n");
    return 2;
  }
  try {
    tendon::Policy policy = tendon::load(argv[1], {});
    drive(policy, argv[2]);
  } catch (const tendon::Error& error) {
    std::fprintf(stderr, "robot_loop: %s\n", error.what());
    return 2;
  }
  return 0;
}
