// How sure a success rate is.
#pragma once

namespace tendon::sim {

struct Interval {
  double low = 0, high = 1;
};

// The exact (Clopper-Pearson) 95 % interval of a rate after `successes` of `trials`.
Interval confidence(int successes, int trials);

}  // namespace tendon::sim
