// The byte-exact vectors of the protocol and the bytes that must be refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "wire/encoder.h"
#include "wire/request.h"

namespace tendon::wire {
namespace {

std::string hex_bytes(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

std::span<const std::byte> span_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// What one entry of a decoded vector should be; written again it must give the same bytes.
struct Vector {
  const char* name;
  const char* hex;
  std::size_t size;
};

const Vector kVectors[] = {
    {"M1", "80", 1},
    {"M2", "81aa72657365745f706f73659600cbbff8000000000000cb3ff8000000000000000000", 35},
    {"E1",
     "82b16f62736572766174696f6e2f737461746584c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f"
     "00000040c4056474797065a33c6634c40573686170659102a670726f6d7074a47069636b",
     82},
    {"E2",
     "81b16f62736572766174696f6e2f696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c40c00010203"
     "0405060708090a0bc4056474797065a37c7531c405736861706593020203",
     76},
    {"E3",
     "82a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c41000000000000000000000000000000000"
     "c4056474797065a33c6638c40573686170659102a6696d6167657381a863616d5f6869676884c40b5f5f6e646172"
     "7261795f5fc3c40464617461c403000102c4056474797065a37c7531c405736861706593030101",
     131},
    {"E4",
     "81a16783c40d5f5f6e7067656e657269635f5fc3c40464617461cb3fe0000000000000c4056474797065a33c6634",
     46},
    {"E5", "81a167cb3fe0000000000000", 12},
    {"E6", "81a17283c40d5f5f6e7067656e657269635f5fc3c40464617461c3c4056474797065a37c6231", 38},
    {"E7", "81a17283c40d5f5f6e7067656e657269635f5fc3c4046461746107c4056474797065a33c6938", 38},
    {"E8",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c4040000003fc4056474797065a33c6634c405736861"
     "706590",
     49},
    {"E9",
     "81a670726f6d707484c40b5f5f6e6461727261795f5fc3c40464617461c4286200000065000000200000006100000"
     "020000000720000006f000000620000006f00000074000000c4056474797065a43c553130c405736861706590",
     91},
    {"E10",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c40c000003000100040002000500c4056474797065a33"
     "c6932c4057368617065920302",
     59},
    {"E11",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c4083f80000040000000c4056474797065a33e6634c40"
     "573686170659102",
     54},
    {"E12",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c402003cc4056474797065a33c6632c4057368617065"
     "9101",
     48},
    {"E13",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c4020100c4056474797065a37c6231c4057368617065"
     "9102",
     48},
    {"E14",
     "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c400c4056474797065a33c6634c405736861706592000"
     "3",
     47},
    {"E15", "81a670726f6d7074c4047069636b", 14},
};

std::string vector_bytes(std::string_view name) {
  for (const Vector& v : kVectors) {
    if (v.name == name) return hex_bytes(v.hex);
  }
  ADD_FAILURE() << "no vector " << name;
  return {};
}

void write_again(const Message& message, const Node& node, Encoder& out) {
  const auto nodes = message.nodes();
  if (const auto array = as_ndarray(message, node)) {
    const auto* dtype = message.find(node, "dtype");
    out.ndarray(dtype->view, array->view().shape, array->data);
  } else if (const Node* scalar = as_generic(message, node)) {
    out.generic_begin();
    write_again(message, *scalar, out);
    out.generic_end(message.find(node, "dtype")->view);
  } else if (node.kind == Node::Kind::map || node.kind == Node::Kind::array) {
    std::uint32_t children = 0;
    for (std::uint32_t i = message.index(node) + 1; i < node.end; i = nodes[i].end) ++children;
    node.kind == Node::Kind::map ? out.map(children / 2) : out.array(children);
    for (std::uint32_t i = message.index(node) + 1; i < node.end; i = nodes[i].end) {
      write_again(message, nodes[i], out);
    }
  } else if (node.kind == Node::Kind::text) {
    out.text(node.view);
  } else if (node.kind == Node::Kind::bytes) {
    out.bytes(node.view);
  } else if (node.kind == Node::Kind::integer) {
    out.integer(node.integer);
  } else if (node.kind == Node::Kind::real) {
    out.real(node.real);
  } else if (node.kind == Node::Kind::boolean) {
    out.boolean(node.integer != 0);
  } else {
    out.nil();
  }
}

TEST(Codec, VectorsDecodeAndEncodeToTheByte) {
  for (const Vector& v : kVectors) {
    SCOPED_TRACE(v.name);
    const std::string bytes = hex_bytes(v.hex);
    ASSERT_EQ(bytes.size(), v.size);
    Message message;
    message.parse(span_of(bytes));
    Encoder out;
    write_again(message, message.root(), out);
    EXPECT_EQ(out.str(), bytes);
  }
}

TEST(Codec, MetadataFromJson) {
  Encoder out;
  out.json(nlohmann::ordered_json::parse(R"({"reset_pose": [0.0, -1.5, 1.5, 0.0, 0.0, 0.0]})"));
  EXPECT_EQ(out.str(), vector_bytes("M2"));
  out.clear();
  out.json(nlohmann::ordered_json::object());
  EXPECT_EQ(out.str(), vector_bytes("M1"));
}

Request decoded(std::string_view bytes) {
  Request request;
  RequestDecoder().decode(span_of(bytes), request);
  return request;
}

TEST(Codec, ValuesOfTheVectors) {
  const std::string e1_bytes = vector_bytes("E1"), e3_bytes = vector_bytes("E3");
  const Request e1 = decoded(e1_bytes);
  ASSERT_EQ(e1.entries.size(), 2u);
  EXPECT_EQ(e1.entries[0].key, "observation/state");
  EXPECT_EQ(e1.entries[0].array.element.type, ArrayType::f32);
  EXPECT_EQ(e1.entries[1].text, "pick");
  const Request e3 = decoded(e3_bytes);
  ASSERT_EQ(e3.entries.size(), 2u);
  EXPECT_EQ(e3.entries[1].key, "images/cam_high");
  EXPECT_EQ(e3.entries[1].array.rank, 3);
  EXPECT_EQ(e3.entries[1].array.data, std::string_view("\0\1\2", 3));
  EXPECT_EQ(decoded(vector_bytes("E4")).entries[0].numbers, std::vector<double>{0.5});
  EXPECT_EQ(decoded(vector_bytes("E6")).entries[0].numbers, std::vector<double>{1});
  EXPECT_EQ(decoded(vector_bytes("E7")).entries[0].numbers, std::vector<double>{7});
  EXPECT_EQ(decoded(vector_bytes("E9")).entries[0].text, "be a robot");
  EXPECT_EQ(decoded(vector_bytes("E15")).entries[0].text, "pick");
}

// Picture data in place, of a full request.
TEST(Codec, FullLiberoRequest) {
  const auto picture = [](int modulus) {
    std::string pixels(224 * 224 * 3, '\0');
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<char>(i % static_cast<std::size_t>(modulus));
    }
    return pixels;
  };
  const std::string image = picture(251), wrist = picture(241);
  double state[8];
  for (int i = 0; i < 8; ++i) state[i] = i / 8.0;
  const std::int64_t size[] = {224, 224, 3}, width[] = {8};
  Encoder out;
  out.map(4).text("observation/image").ndarray("|u1", size, image);
  out.text("observation/wrist_image").ndarray("|u1", size, wrist);
  out.text("observation/state").ndarray(ArrayType::f64, width, state);
  out.text("prompt").text("put the bowl on the plate");
  EXPECT_EQ(out.str().size(), 301357u);
  EXPECT_EQ(sha256_hex(span_of(out.str())),
            "12b0b2af2c3a64daa2d3f0228a2d765b1f71a10b5546bdfb3a4d95d1475a6828");
  const Request request = decoded(out.str());
  ASSERT_EQ(request.entries.size(), 4u);
  EXPECT_EQ(request.entries[0].array.data, image);
  EXPECT_GE(request.entries[0].array.data.data(), out.str().data());
  EXPECT_LT(request.entries[0].array.data.data(), out.str().data() + out.str().size());
}

TEST(Codec, KeysMayBeTextAndStandInAnyOrder) {
  Encoder out;
  out.map(1).text("x").map(4);
  out.text("shape").array(1).integer(1).text("dtype").text("<f4");
  out.text("data").bytes(std::string_view("\0\0\0\x3f", 4)).text("__ndarray__").boolean(true);
  const Request request = decoded(out.str());
  EXPECT_EQ(request.entries[0].kind, Entry::Kind::array);
}

// One ndarray under "x".
std::string array_message(std::string_view dtype, std::vector<std::int64_t> shape,
                          std::string_view data) {
  Encoder out;
  out.map(1).text("x").ndarray(dtype, shape, data);
  return out.str();
}

TEST(Codec, RefusesWhatContradictsItself) {
  const std::string four(4, 'a'), eight(8, 'a'), none;
  const std::vector<std::string> bad{
      array_message("<c8", {1}, eight),
      array_message("|O", {1}, eight),
      array_message("|V4", {1}, four),
      array_message("<f4", {2}, four),
      array_message("<f4", {-1}, four),
      array_message("<f4", std::vector<std::int64_t>(9, 1), four),
      array_message("<f4", {INT32_MAX, INT32_MAX, INT32_MAX, 4}, none),
      array_message("<f4", {std::int64_t{1} << 31}, none),
      array_message("", {1}, four),
      array_message("<f", {1}, four),
      array_message("<f4x", {1}, four),
  };
  for (const std::string& bytes : bad) EXPECT_THROW(decoded(bytes), EncodingError) << bytes;
  Encoder text_data;
  text_data.map(1).text("x").map(4).bytes("__ndarray__").boolean(true).bytes("data").text("aaaa");
  text_data.bytes("dtype").text("<f4").bytes("shape").array(1).integer(1);
  EXPECT_THROW(decoded(text_data.str()), EncodingError);
}

TEST(Codec, RefusesBytesThatAreNoMessage) {
  const std::string e2 = vector_bytes("E2");
  for (std::size_t size = 0; size < e2.size(); ++size) {
    EXPECT_THROW(decoded(std::string_view(e2).substr(0, size)), EncodingError) << size;
  }
  EXPECT_THROW(decoded(e2 + '\0'), EncodingError);
  EXPECT_THROW(decoded("hello"), EncodingError);
  EXPECT_THROW(decoded(hex_bytes("90")), EncodingError);            // no map
  EXPECT_THROW(decoded(hex_bytes("8101c0")), EncodingError);        // a key that is no text
  EXPECT_THROW(decoded(hex_bytes("81a178d40100")), EncodingError);  // ext
  EXPECT_THROW(decoded(hex_bytes("81a178c1")), EncodingError);      // never used
  EXPECT_THROW(decoded(hex_bytes("81a178a1ff")), EncodingError);    // no UTF-8
  EXPECT_THROW(decoded(hex_bytes("dfffffffff")), EncodingError);    // a length that lies
  EXPECT_THROW(decoded(hex_bytes("81a178ddffffffff")), EncodingError);
  EXPECT_THROW(decoded(hex_bytes("81a178c6ffffffff")), EncodingError);
  std::string deep = "\x81\xa1x";
  for (int i = 0; i < 100; ++i) deep += '\x91';
  EXPECT_THROW(decoded(deep + '\xc0'), EncodingError);
  Encoder many;
  many.map(1).text("x").array(70000);
  for (int i = 0; i < 70000; ++i) many.nil();
  EXPECT_THROW(decoded(many.str()), EncodingError);
}

TEST(Codec, OptionsOfARequest) {
  Encoder out;
  out.map(3).text("reset").boolean(true).text("seed").integer(5).text("robo_name").text("x");
  const Request reset = decoded(out.str());
  EXPECT_TRUE(reset.reset);
  EXPECT_EQ(reset.seed, 5u);
  EXPECT_FALSE(reset.overrides);
  EXPECT_EQ(reset.form, ReplyForm::action);
  out.clear();
  out.map(3).text("task").text("fold").text("num_steps").integer(4);
  out.text("ext").map(1).text("errors").boolean(true);
  const Request other = decoded(out.str());
  EXPECT_EQ(other.form, ReplyForm::action);
  EXPECT_EQ(other.steps, 4);
  EXPECT_TRUE(other.overrides);
  EXPECT_TRUE(other.error_maps);
  out.clear();
  out.map(1).text("endpoint").text("delete");
  EXPECT_THROW(decoded(out.str()), Error);
  out.clear();
  out.map(1).text("endpoint").text("reset");
  EXPECT_TRUE(decoded(out.str()).reset);
}

TEST(Codec, ListsOfNumbersAreVectors) {
  Encoder out;
  out.map(2).text("state").array(2).real(0.5).integer(1).text("other").array(1).nil();
  const Request request = decoded(out.str());
  EXPECT_EQ(request.entries[0].numbers, (std::vector<double>{0.5, 1}));
  EXPECT_EQ(request.entries[1].kind, Entry::Kind::other);
}

}  // namespace
}  // namespace tendon::wire
