// A device's resize against the host's: the same frames through ops::Resize on the backends of this
// machine and through the composer that policies use without it.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "preprocess/compose.h"
#include "preprocess/observation.h"
#include "preprocess/pixels.h"
#include "support/frames.h"
#include "support/record_case.h"

namespace tendon {
namespace {

using shapes::Resize;

// What the host makes of the pictures of a case, [V, Y, X, 3].
std::vector<float> by_host(const Resize& s) {
  const ImageRules rules = support::image_rules(s);
  const Picture& layout = rules.pictures[0];
  Composer composer(rules.resize);
  ImageReader reader;
  const auto size = static_cast<std::size_t>(s.Y * s.X * 3);
  std::vector<float> all;
  for (int v = 0; v < s.V; ++v) {
    std::vector<std::uint8_t> bytes(size);
    std::vector<float> values(size);
    for (int k = 0; k < s.K; ++k) {
      const std::vector<std::uint8_t> frame = support::frame_bytes(s, v, k);
      const Camera& camera = layout.cameras[static_cast<std::size_t>(k)];
      const ImageInput input{.key = "camera",
                             .data = frame.data(),
                             .shape = {s.height, s.width, 3},
                             .channels = ChannelOrder::last};
      if (is_float(rules.resize)) {
        composer.place(reader.floats(input, ChannelOrder::last), camera, layout, values.data());
      } else {
        composer.place(reader.bytes(input, ChannelOrder::last), camera, layout, bytes.data());
      }
    }
    if (is_float(rules.resize)) {
      apply_pixel_rule(rules, values);
    } else {
      to_values({bytes.data(), s.Y, s.X, std::ptrdiff_t{s.X} * 3}, pixel_table(rules),
                values.data());
    }
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

std::vector<float> by_backend(const Resize& s, Backend& backend) {
  support::CaseBuilder builder("frames", {"f32"}, support::CaseBuilder::Fill::make);
  support::record(builder, s);
  support::CaseProgram made = builder.take();
  const std::unique_ptr<Executable> run = backend.compile(std::move(made.program), {});
  std::int32_t id = 0;
  for (const std::vector<std::byte>& bytes : made.contents) {
    if (!bytes.empty()) {
      EXPECT_TRUE(run->write({id}, bytes).ok());
    }
    ++id;
  }
  const Status status = run->run(0);
  EXPECT_TRUE(status.ok()) << status.message();
  const Trace& trace = run->program().traces[0];
  return run->fetch(0, std::get<ops::Resize>(trace.ops()[0]).out);
}

// One step of a byte, in the numbers that a model reads.
double unit_step(const Resize& s) {
  const PixelTable table = pixel_table(support::image_rules(s));
  return std::abs(table[0][1] - table[0][0]);
}

class Frames : public testing::TestWithParam<Resize> {};

TEST_P(Frames, BecomeWhatTheHostMakesOfThem) {
  const Resize& s = GetParam();
  const std::vector<float> wanted = by_host(s);
  const std::unique_ptr<Backend> backends[] = {make_reference(), make_cpu()};
  for (const auto& backend : backends) {
    const std::vector<float> got = by_backend(s, *backend);
    ASSERT_EQ(got.size(), wanted.size());
    double most = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      most = std::max(most, std::abs(static_cast<double>(got[i]) - wanted[i]));
    }
    const bool bytes = !is_float(support::image_rules(s).resize);
    EXPECT_LE(most, bytes ? 0.0 : 1e-3 * unit_step(s)) << backend->name();
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Frames, testing::ValuesIn(shapes::kResize),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tendon
