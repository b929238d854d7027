#include "ops/independence.h"

#include <gtest/gtest.h>

namespace tendon {
namespace {

class IndependenceTest : public testing::Test {
 protected:
  IndependenceTest() {
    program_.traces.reserve(2);
    for (const char* name : {"first", "second"}) program_.traces.emplace_back(name, program_);
    for (BufferRef& b : buffers_) b = program_.add(BufferSpec{"b", DType::f32, {4, 64}});
  }
  // The trace adds rows of buffers `x` and `y` into the first row of buffer `out`.
  void add(std::size_t trace, int x, int y, int out) {
    Trace& t = program_.traces[trace];
    const Value from = t.rows(t.buffer(buffers_[x]), 1, 1), to = t.make(DType::f32, {1, 64});
    t.add(ops::Add{from, t.rows(t.buffer(buffers_[y]), 2, 1), to});
    t.add(ops::Add{to, to, t.rows(t.buffer(buffers_[out]), 0, 1)});
  }
  bool clashing() const {
    const bool forth = clash(program_.traces[0], program_.traces[1]);
    EXPECT_EQ(forth, clash(program_.traces[1], program_.traces[0]));
    return forth;
  }

  Program program_;
  BufferRef buffers_[6];
};

TEST_F(IndependenceTest, TracesThatOnlyReadTheSameDoNotClash) {
  add(0, 0, 1, 2);
  add(1, 0, 1, 3);
  EXPECT_FALSE(clashing());
}

TEST_F(IndependenceTest, AWriterClashesWithAReaderEvenOfOtherRows) {
  add(0, 0, 1, 2);
  add(1, 4, 2, 5);
  EXPECT_TRUE(clashing());
}

TEST_F(IndependenceTest, ATraceTouchesWhatItReadsAndWrites) {
  add(0, 0, 1, 2);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(touches(program_.traces[0], buffers_[i]), i < 3) << i;
}

TEST_F(IndependenceTest, TwoWritersClash) {
  add(0, 0, 1, 2);
  add(1, 3, 4, 2);
  EXPECT_TRUE(clashing());
}

}  // namespace
}  // namespace tendon
