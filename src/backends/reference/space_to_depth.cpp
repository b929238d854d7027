#include "backends/reference/planner.h"

namespace tendon::reference {

void plan(Planner& p, const ops::SpaceToDepth& op) {
  p.step([x = p.view(op.x), out = p.view(op.out), block = op.block,
          channel_major = op.channel_major, threads = p.threads()](auto) {
    const std::int64_t channels = x.shape[3];
    parallel_for(threads, out.rows(), [&](std::int64_t r) {
      std::vector<double> from(static_cast<std::size_t>(channels)),
          to(static_cast<std::size_t>(out.width()));
      const std::int64_t column = r % out.shape[2], row = r / out.shape[2] % out.shape[1];
      const std::int64_t sample = r / (out.shape[1] * out.shape[2]);
      for (std::int64_t dy = 0; dy < block; ++dy) {
        for (std::int64_t dx = 0; dx < block; ++dx) {
          const std::int64_t y = row * block + dy, at = column * block + dx;
          x.load((sample * x.shape[1] + y) * x.shape[2] + at, 0, channels, from.data());
          for (std::int64_t c = 0; c < channels; ++c) {
            to[channel_major ? (c * block + dx) * block + dy : (dy * block + dx) * channels + c] =
                from[c];
          }
        }
      }
      out.store(r, 0, out.width(), to.data());
    });
  });
}

}  // namespace tendon::reference
