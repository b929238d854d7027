#include "weights/pt_reader.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tendon/error.h"
#include "weights/pickle.h"
#include "weights/safetensors.h"
#include "weights/zip_directory.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += i < 8 ? static_cast<char>(value >> (8 * i)) : '\0';
  return text;
}

// A zip archive as PyTorch writes them: stored, sizes in the headers.
class Zip {
 public:
  void add(const std::string& name, const std::string& data) {
    const std::string extra = wide ? "\x01" + std::string(1, '\0') + little(24, 2) +
                                         little(data.size(), 8) + little(data.size(), 8) +
                                         little(body_.size(), 8)
                                   : "";
    const std::string sizes = little(data.size(), 4) + little(data.size(), 4);
    const std::string name_size = little(name.size(), 2);
    directory_ += "PK\x01\x02" + little(0, 4) + little(flags, 2) + little(method, 2) +
                  little(0, 8) + (wide ? std::string(8, '\xff') : sizes) + name_size +
                  little(extra.size(), 2) + little(0, 10) +
                  (wide ? std::string(4, '\xff') : little(body_.size(), 4)) + name + extra;
    body_ += std::string("PK\x03\x04", 4) + little(0, 14) + sizes + name_size + little(5, 2) +
             name + std::string("FB\x01\x00\x00", 5) + data;
    ++entries_;
  }
  std::string str() const {
    std::string end;
    if (wide) {
      end = "PK\x06\x06" + little(44, 8) + little(0, 12) + little(entries_, 8) +
            little(entries_, 8) + little(directory_.size(), 8) + little(body_.size(), 8) +
            "PK\x06\x07" + little(0, 4) + little(body_.size() + directory_.size(), 8) +
            little(1, 4);
    }
    const std::string count = wide ? "\xff\xff" : little(entries_, 2);
    return body_ + directory_ + end + "PK\x05\x06" + little(0, 4) + count + count +
           little(directory_.size(), 4) +
           (wide ? std::string(4, '\xff') : little(body_.size(), 4)) + little(0, 2);
  }

  bool wide = false;
  std::uint64_t flags = 0, method = 0;

 private:
  std::string body_, directory_;
  std::uint64_t entries_ = 0;
};

// Opcodes of pickle protocol 2, as torch.save emits them.
std::string text(const std::string& s) { return "X" + little(s.size(), 4) + s; }
std::string integer(std::uint64_t n) { return "J" + little(n, 4); }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string tuple(const std::vector<int>& values) {
  std::string s = "(";
  for (const int v : values) s += integer(static_cast<std::uint64_t>(v));
  return s + "t";
}

struct TensorText {
  std::string storage = "FloatStorage", key = "0";
  int elements = 6, offset = 0;
  std::vector<int> shape = {2, 3}, strides = {3, 1};
};
std::string tensor(const TensorText& t) {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
         global("torch", t.storage) + text(t.key) + text("cpu") +
         integer(static_cast<std::uint64_t>(t.elements)) + "tQ" +
         integer(static_cast<std::uint64_t>(t.offset)) + tuple(t.shape) + tuple(t.strides) +
         "\x89" + global("collections", "OrderedDict") + ")RtR";
}

class PtReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("tendon_pt_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& bytes) {
    std::ofstream(folder_ / "x.pt", std::ios::binary) << bytes;
    return folder_ / "x.pt";
  }
  fs::path archive(const std::string& pickle) {
    zip_.add("run/data.pkl", std::string("\x80\x02", 2) + pickle + ".");
    zip_.add("run/byteorder", "little");
    zip_.add("run/data/0", floats_);
    return write(zip_.str());
  }
  std::string refusal(const std::string& pickle) {
    zip_ = {};
    return refused(archive(pickle));
  }
  static std::string refused(const fs::path& path) {
    try {
      PtFile::open(path);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }

  fs::path folder_;
  Zip zip_;
  std::string floats_ = std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12) +
                        std::string("\0\0\x80\x40\0\0\xa0\x40\0\0\xc0\x40", 12);
};

// {'mot': OrderedDict(w=..., v=view of the same storage), 'step': 7, 'torch_dtype': torch.bfloat16}
std::string good_pickle() {
  return "}q" + std::string(1, '\0') + "(" + text("mot") + global("collections", "OrderedDict") +
         ")R(" + text("a.w") + tensor({}) + text("v") +
         tensor({.offset = 2, .shape = {4}, .strides = {1}}) + "u}" + text("_metadata") + "}sb" +
         text("step") + "K\x07" + text("torch_dtype") + global("torch", "bfloat16") + text("lr") +
         std::string("G\x3f\xe0\0\0\0\0\0\0", 9) + text("groups") + "](K\x01\x8a\x02\xff\xffN\x88" +
         "e" + "u";
}

TEST_F(PtReaderTest, ReadsTensorsAndPlainValues) {
  for (const bool wide : {false, true}) {
    zip_ = {};
    zip_.wide = wide;
    const PtFile pt = PtFile::open(archive(good_pickle()));
    ASSERT_EQ(pt.tensors().size(), 2u);
    const StoredTensor& w = pt.tensors()[0];
    EXPECT_EQ(w.name, "mot.a.w");
    EXPECT_EQ(w.shape, (Shape{2, 3}));
    float values[6];
    std::memcpy(values, w.bytes.data(), sizeof values);
    EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(pt.tensors()[1].name, "mot.v");
    EXPECT_EQ(pt.tensors()[1].bytes.data(), w.bytes.data() + 8);
    EXPECT_EQ(pt.values().at("step"), "7");
    EXPECT_EQ(pt.values().at("torch_dtype"), "torch.bfloat16");
    EXPECT_EQ(pt.values().at("lr"), "0.5");
    EXPECT_EQ(pt.values().at("groups.1"), "-1");
    EXPECT_EQ(pt.values().at("groups.2"), "none");
    EXPECT_EQ(pt.values().at("groups.3"), "true");
  }
}

TEST_F(PtReaderTest, BecomesSafetensors) {
  const PtFile pt = PtFile::open(archive(good_pickle()));
  write_safetensors(folder_ / "model.safetensors", pt.tensors(), pt.values());
  const Safetensors copy = Safetensors::open(folder_);
  ASSERT_EQ(copy.tensors().size(), 2u);
  for (const StoredTensor& t : pt.tensors()) {
    EXPECT_EQ(std::memcmp(copy.find(t.name)->bytes.data(), t.bytes.data(), t.bytes.size()), 0);
  }
  EXPECT_EQ(copy.metadata().at("step"), "7");
}

TEST_F(PtReaderTest, ReadsTheOpcodesOfNewerProtocols) {
  // STACK_GLOBAL, SHORT_BINUNICODE, MEMOIZE and FRAME: protocol 4.
  EXPECT_THAT(refusal("\x8c\x02os\x8c\x06system\x93"), HasSubstr("'os.system'"));
  const std::string stream =
      std::string("\x80\x04\x95\x08\0\0\0\0\0\0\0}\x94\x8c\x01k\x94K\x05s.", 21);
  const Pickle p = read_pickle(std::as_bytes(std::span(stream)), {}, "x");
  ASSERT_EQ(p[p.root].kind, Pickle::Kind::dictionary);
  EXPECT_EQ(p[p[p.root].items[0]].text, "k");
  EXPECT_EQ(p[p[p.root].items[1]].integer, 5);
}

TEST_F(PtReaderTest, NothingIsRunAndTheRefusalNamesIt) {
  EXPECT_THAT(refusal(global("os", "system") + text("true") + "\x85R"),
              HasSubstr("wants Python's 'os.system'"));
  EXPECT_THAT(refusal(global("builtins", "eval") + text("1") + "\x85R"),
              HasSubstr("'builtins.eval'"));
  EXPECT_THAT(refusal(global("torch.nn", "Linear") + ")R"), HasSubstr("'torch.nn.Linear'"));
  EXPECT_THAT(refusal(global("a\x1b[2J", "b")), HasSubstr("'a?[2J.b'"));
  EXPECT_THAT(refusal("}" + text("x") + global("torch", "FloatStorage") + ")Rs"),
              HasSubstr("'x' is made by torch.FloatStorage, not a tensor"));
  for (const char* op : {"i", "o", "\x81", "\x92", "\x82", "P", "I", "L", "S", "V", "F", "\x8b"}) {
    EXPECT_THAT(refusal(op), HasSubstr("is not tensor data; it was not run")) << op;
  }
}

TEST_F(PtReaderTest, TensorsThatLieAreRefused) {
  const auto one = [&](const TensorText& t) { return refusal("}" + text("w") + tensor(t) + "s"); };
  EXPECT_EQ(one({}), "");
  EXPECT_THAT(one({.storage = "ShortStorage"}), HasSubstr("'torch.ShortStorage'"));
  EXPECT_THAT(one({.key = "9"}), HasSubstr("storage '9', which is missing"));
  EXPECT_THAT(one({.elements = 7}), HasSubstr("should hold 7 elements"));
  EXPECT_THAT(one({.storage = "BFloat16Storage"}), HasSubstr("should hold 6 elements of bf16"));
  EXPECT_THAT(one({.offset = 1}), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(one({.offset = -1}), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(one({.shape = {3, 2}, .strides = {1, 3}}), HasSubstr("not dense"));
  EXPECT_THAT(one({.shape = {2, 3}, .strides = {3}}), HasSubstr("dimensions"));
  EXPECT_THAT(one({.shape = {-2, 3}}), HasSubstr("impossible shape"));
  EXPECT_THAT(one({.shape = {2147483647, 2147483647}, .strides = {2147483647, 1}}),
              HasSubstr("impossible shape"));
  EXPECT_THAT(one({.shape = {1, 6}, .strides = {17, 1}}), "");
}

TEST_F(PtReaderTest, DamagedPicklesAreRefused) {
  EXPECT_THAT(refusal("0"), HasSubstr("nothing to take"));
  EXPECT_THAT(refusal("(0"), HasSubstr("nothing to take"));
  EXPECT_THAT(refusal("t"), HasSubstr("no mark"));
  EXPECT_THAT(refusal("h\x05"), HasSubstr("never kept"));
  EXPECT_THAT(refusal("}(Nu"), HasSubstr("a key without a value"));
  EXPECT_THAT(refusal("](NNu"), HasSubstr("items for something else"));
  EXPECT_THAT(refusal("X\xff\xff\xff\x7f"), HasSubstr("cut off"));
  EXPECT_THAT(refusal("}" + text("a") + "Ns" + text("a") + "Ns"), HasSubstr("'a' is there twice"));
  EXPECT_THAT(refusal("}NNs"), HasSubstr("neither a text nor a number"));
  // A list that holds itself, and lists that double at every level.
  EXPECT_THAT(refusal("]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a"),
              HasSubstr("refers to itself"));
  std::string doubling = "]q" + std::string(1, '\0') + "0";
  for (char i = 0; i < 30; ++i) {
    doubling += "](h" + std::string(1, i) + "h" + std::string(1, i) + "eq" +
                std::string(1, static_cast<char>(i + 1)) + "0";
  }
  EXPECT_THAT(refusal(doubling + "h\x1e"), HasSubstr("refers to itself"));
}

TEST_F(PtReaderTest, EveryTruncationIsRefused) {
  const std::string whole = [&] {
    archive(good_pickle());
    return zip_.str();
  }();
  for (std::size_t n = 0; n < whole.size(); n += 11) {
    EXPECT_NE(refused(write(whole.substr(0, n))), "") << n;
  }
  for (std::size_t n = 0; n < whole.size(); n += 3) {  // one byte wrong: refused or read, no crash
    std::string damaged = whole;
    damaged[n] = static_cast<char>(damaged[n] ^ 0x55);
    refused(write(damaged));
  }
}

TEST_F(PtReaderTest, OtherArchivesAreRefused) {
  EXPECT_THAT(refused(write("")), HasSubstr("not a zip archive"));
  EXPECT_THAT(refused(write("\x80\x02\x8a\x0a")), HasSubstr("before 1.6"));
  EXPECT_THAT(refused(write("PK")), HasSubstr("not a zip archive"));
  zip_.add("run/other", "x");
  EXPECT_THAT(refused(write(zip_.str())), HasSubstr("no data.pkl"));
  zip_ = {};
  zip_.method = 8;
  EXPECT_THAT(refused(archive("N")), HasSubstr("is compressed"));
  zip_ = {};
  zip_.flags = 1;
  EXPECT_THAT(refused(archive("N")), HasSubstr("is encrypted"));
  zip_ = {};
  zip_.add("run/data/0", "");
  EXPECT_THAT(refused(archive("N")), HasSubstr("twice"));
  zip_ = {};
  zip_.add("run/byteorder", "big");
  zip_.add("run/data.pkl", "N.");
  EXPECT_THAT(refused(write(zip_.str())), HasSubstr("big-endian"));
}

}  // namespace
}  // namespace tendon
