#include "measure/table.h"

#include <gtest/gtest.h>

#include "tendon/error.h"

namespace tendon::measure {
namespace {

TEST(Table, NumbersRightWordsLeft) {
  Table table({"stage", "p50", "note"});
  table.add({"vision", "9.5 ms", "first"});
  table.add({"prefix", "120 ms", ""});
  table.add({"step", "-", "10 times"});
  EXPECT_EQ(table.str(),
            "stage      p50  note\n"
            "vision  9.5 ms  first\n"
            "prefix  120 ms\n"
            "step         -  10 times\n");
}

TEST(Table, CodePointsNotBytes) {
  Table table({"name", "n"});
  table.add({"\xc3\xa9t\xc3\xa9", "1"});
  table.add({"abcd", "-2"});
  EXPECT_EQ(table.str(), "name   n\n\xc3\xa9t\xc3\xa9    1\nabcd  -2\n");
}

TEST(Table, HeaderAlone) { EXPECT_EQ(Table({"a", "b"}).str(), "a  b\n"); }

TEST(Table, RefusesARaggedRow) { EXPECT_THROW(Table({"a", "b"}).add({"1"}), Error); }

}  // namespace
}  // namespace tendon::measure
