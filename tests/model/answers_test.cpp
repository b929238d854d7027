// The chunk's answer to one token and to one entry of the noise. No recording holds two calls that
// differ in these alone (they differ in a camera, the state, the steps, the shift or pinned rows,
// or in every input), so the definition answers: the reference backend, whose stages the recordings
// judge one by one. An answer, not a chunk, is compared: what both calls share cancels out.
#include <cmath>

#include "engine/backends.h"
#include "tests/model/session.h"

namespace tendon::testing {
namespace {

struct Subject {
  const char *file, *name;
};

class Answers : public ::testing::TestWithParam<Subject> {
 protected:
  Answers() {
    if (recorded.family().make_text_encoder == nullptr) return;
    options.token_buckets = {static_cast<int>(recorded.call.tokens[0].size())};
    options.camera_counts = {1};
  }

  // The family's text rows where it takes them.
  ModelInput with_context(ModelInput input, std::vector<float>& rows) const {
    if (recorded.family().make_text_encoder == nullptr) return input;
    const Checkpoint weights = recorded.weights();
    const auto encoder = recorded.family().make_text_encoder(recorded.dims(), DType::f32, weights);
    rows = encoder->encode(input.samples[0].tokens, *make_backend("reference"));
    input.samples[0].context = rows;
    return input;
  }

  // Relative difference of the two backends' answers, and the size of the reference's.
  struct Compared {
    double difference, size;
  };
  Compared compare(const ModelInput& changed) {
    std::vector<float> base_rows, rows;
    const ModelInput base = with_context(recorded.call.input, base_rows);
    const ModelInput other = with_context(changed, rows);
    const auto answer = [&](const char* device) {
      Session session(recorded.family(), recorded.dims(), options, recorded.weights(),
                      {.device = device});
      const std::vector<float> before = session.run(base);
      std::vector<float> after = session.run(other);
      for (std::size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
      return after;
    };
    const std::vector<float> wanted = answer("reference"), got = answer("cpu");
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      difference += std::pow(static_cast<double>(got[i]) - wanted[i], 2);
      size += std::pow(static_cast<double>(wanted[i]), 2);
    }
    return {std::sqrt(difference / size), std::sqrt(size / static_cast<double>(got.size()))};
  }

  RecordedCase recorded{GetParam().file, GetParam().name};
  ModelOptions options = recorded.options();
};

TEST_P(Answers, OneToken) {
  ModelInput changed = recorded.call.input;
  std::vector<std::int32_t> tokens = recorded.call.tokens[0];
  tokens[3] = tokens[3] == 7 ? 8 : 7;
  changed.samples[0].tokens = tokens;
  const Compared answer = compare(changed);
  EXPECT_GT(answer.size, 1e-4);
  EXPECT_LT(answer.difference, 1e-3);
}

TEST_P(Answers, OneEntryOfTheNoise) {
  const std::size_t last = recorded.call.input.noise.size() - 1;
  for (std::size_t entry : {std::size_t{0}, last}) {
    ModelInput changed = recorded.call.input;
    std::vector<float> noise(changed.noise.begin(), changed.noise.end());
    noise[entry] += 0.5f;
    changed.noise = noise;
    const Compared answer = compare(changed);
    EXPECT_GT(answer.size, 1e-4) << entry;
    EXPECT_LT(answer.difference, 1e-4) << entry;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Answers,
                         ::testing::Values(Subject{"pi05_cases", "a_two_cameras"},
                                           Subject{"pi0_cases", "a_two_cameras"},
                                           Subject{"lingbot_vla_tiny", "base"},
                                           Subject{"fastwam_tiny", "n4"}),
                         [](const auto& info) {
                           const std::string file = info.param.file;
                           return file.substr(0, file.rfind('_'));
                         });

}  // namespace
}  // namespace tendon::testing
