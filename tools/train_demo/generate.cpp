// Training data from the simulation: the expert at work, disturbed, as poses to be drawn later.
//   demo_data --out DIR [--task T --verb V --episodes N --seed S --threads N --table-speed M/S]
//             [--policy FOLDER]
// With a policy it is that which begins each episode, and the expert that puts right what comes of
// it. Writes one .npy an array, a row a frame, the scene (scene.xml) and the prompts (prompts.txt).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sim/demonstration.h"
#include "sim/scene_mjcf.h"
#include "tendon/error.h"
#include "tendon/tendon.h"

namespace tendon::sim {
namespace {

// Of no rollout, so that nothing is judged on scenes it was trained with.
constexpr std::uint64_t kDataSeed = 1'000'000;

struct Settings {
  std::filesystem::path out;
  int episodes = 10000, threads = 0;
  std::string policy;  // folder; empty: the expert alone
  DataSetting data = {.seed = kDataSeed};
};

// NumPy's format 1.0: magic, header length, a Python literal padded to 64 bytes.
void write_npy(const std::filesystem::path& path, const std::vector<float>& values,
               const std::vector<std::size_t>& shape) {
  std::string dims;
  for (const std::size_t extent : shape) dims += std::to_string(extent) + ", ";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + "), }";
  header.append(63 - (header.size() + 10) % 64, ' ').push_back('\n');
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(header.size() & 255)).put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file.flush()) throw Error("demo_data: cannot write " + path.string());
}

// Every thread's own policy computes on that thread alone.
void perform_share(const Settings& settings, int worker, std::vector<Demonstration>& done) {
  World world;
  DataSetting data = settings.data;
  std::optional<Policy> policy;
  if (!settings.policy.empty()) {
    LoadOptions options;
    options.threads = 1;
    policy = load(settings.policy, options);
  }
  const Infer infer = [&policy](const Observation& seen, const InferOptions& how, Chunk& chunk) {
    return policy->infer(seen, how, chunk);
  };
  if (policy) data.leader = &infer;
  for (int number = worker; number < settings.episodes; number += settings.threads) {
    done[number] = demonstrate(world, data, number);
  }
}

std::vector<Demonstration> perform(const Settings& settings) {
  std::vector<Demonstration> done(settings.episodes);
  std::vector<std::thread> workers;
  for (int worker = 0; worker < settings.threads; ++worker) {
    workers.emplace_back([&, worker] { perform_share(settings, worker, done); });
  }
  for (std::thread& worker : workers) worker.join();
  return done;
}

void write(const Settings& settings, const std::vector<Demonstration>& done) {
  std::size_t frames = 0, successes = 0;
  for (const Demonstration& one : done) {
    frames += one.frames;
    successes += one.succeeded;
  }
  std::filesystem::create_directories(settings.out);
  for (int field = 0; field < kFields; ++field) {
    std::vector<float> all;
    all.reserve(frames * kFieldWidths[field]);
    for (const Demonstration& one : done) {
      all.insert(all.end(), one.fields[field].begin(), one.fields[field].end());
    }
    const auto width = static_cast<std::size_t>(kFieldWidths[field]);
    write_npy(settings.out / (std::string(kFieldNames[field]) + ".npy"), all, {frames, width});
  }
  std::ofstream(settings.out / "scene.xml") << kSceneMjcf;
  std::ofstream prompts(settings.out / "prompts.txt");
  for (const std::string& prompt : all_prompts(settings.data.task)) prompts << prompt << '\n';
  std::printf("%zu frames of %zu episodes, expert succeeds in %.2f %%\n", frames, done.size(),
              100.0 * static_cast<double>(successes) / static_cast<double>(done.size()));
}

}  // namespace
}  // namespace tendon::sim

int main(int argc, char** argv) {
  tendon::sim::Settings settings;
  CLI::App app("Writes training data of the simulated robot");
  app.add_option("--out", settings.out, "folder for the arrays")->required();
  app.add_option("--episodes", settings.episodes, "numbered from 0")->check(CLI::PositiveNumber);
  const std::map<std::string, tendon::sim::Task> tasks = {
      {"pick_block", tendon::sim::Task::pick_block}, {"blocks", tendon::sim::Task::blocks}};
  app.add_option("--task", settings.data.task, "pick_block or blocks")
      ->transform(CLI::CheckedTransformer(tasks));
  const std::map<std::string, tendon::sim::Verb> verbs = {{"pick", tendon::sim::Verb::pick},
                                                          {"push", tendon::sim::Verb::push},
                                                          {"stack", tendon::sim::Verb::stack}};
  app.add_option("--verb", settings.data.verb, "pick, push or stack; absent: all")
      ->transform(CLI::CheckedTransformer(verbs));
  app.add_option("--policy", settings.policy, "begins the episodes; the expert takes over");
  app.add_option("--seed", settings.data.seed, "of the episodes; rollouts count theirs from 0");
  app.add_option("--threads", settings.threads, "0: all cores");
  app.add_option("--table-speed", settings.data.table_speed, "m/s");
  CLI11_PARSE(app, argc, argv);
  if (settings.threads <= 0) {
    settings.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  try {
    tendon::sim::write(settings, tendon::sim::perform(settings));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
