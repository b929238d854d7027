#include "preprocess/text.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

TEST(Text, strip_is_pythons) {
  EXPECT_EQ(python_strip(" \t\r\n\v\f a b\xc2\xa0\xe3\x80\x80"), "a b");
  EXPECT_EQ(python_strip("\x1c\x1d\x1e\x1fx\x1f"), "x");
  EXPECT_EQ(python_strip("\xc2\x85y\xe2\x80\xa8"), "y");  // U+0085, U+2028
  EXPECT_EQ(python_strip(" \xe3\x80\x80 "), "");
  EXPECT_EQ(python_strip("\xe2\x80\x8bz"), "\xe2\x80\x8bz");  // a zero-width space is none
  EXPECT_EQ(python_strip(""), "");
}

TEST(Text, cleaning_strips_before_it_replaces) {
  std::string out;
  clean_text(Cleaning::strip_underscore, " hello_", out);
  EXPECT_EQ(out, "hello ");
  clean_text(Cleaning::strip_underscore, "a\nb\tc", out);
  EXPECT_EQ(out, "a b\tc");
  clean_text(Cleaning::none, " a_ ", out);
  EXPECT_EQ(out, " a_ ");
}

TEST(Text, fastwam_recorded_cleaning) {
  const golden::File file("fastwam_tiny");
  int cases = 0;
  for (const auto& c : file.json["prompt_cleaning"]["cases"]) {
    std::string text = c["in"];
    clean_piece(Cleaning::html_collapse, text);
    EXPECT_EQ(text, c["out"].get<std::string>());
    ++cases;
  }
  EXPECT_EQ(cases, 8);
}

// Expected values from Python's html.unescape.
TEST(Text, html_references) {
  EXPECT_EQ(html_unescape("&notit; &notin; &ampx"), "\xc2\xacit; \xe2\x88\x89 &x");
  EXPECT_EQ(html_unescape("&#65;&#x41;&#X41 &#65x"), "AAA Ax");
  EXPECT_EQ(html_unescape("&#0;&#xd800;&#x110000;"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(html_unescape("&#150;&#1;|"), "\xe2\x80\x93|");
  EXPECT_EQ(html_unescape("&nosuchname; & &# &#x;"), "&nosuchname; & &# &#x;");
  EXPECT_EQ(html_unescape("&NotEqualTilde;"), "\xe2\x89\x82\xcc\xb8");
  EXPECT_EQ(html_unescape("&CounterClockwiseContourIntegral;"), "\xe2\x88\xb3");
  EXPECT_EQ(html_unescape("&#99999999999999999999;"), "\xef\xbf\xbd");
}

TEST(Text, collapsing_white_space) {
  EXPECT_EQ(collapse_spaces("  a \xc2\xa0\t b\n"), "a b");
  EXPECT_EQ(collapse_spaces("\n"), "");
}

TEST(Text, broken_utf8_is_refused) {
  EXPECT_NO_THROW(require_utf8("caf\xc3\xa9 \xe9\x9b\xaa", "prompt"));
  for (const char* bad : {"\xc3", "a\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf"}) {
    EXPECT_THROW(require_utf8(bad, "prompt"), Error);
  }
}

}  // namespace
}  // namespace tendon
