#include "preprocess/array_collector.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "preprocess/describe_inputs.h"

namespace tendon {
namespace {

PolicyInfo info_of(const char* contract) {
  PolicyInfo info;
  describe_inputs(builtin_contract(contract), info);
  return info;
}

template <class T>
struct Array {
  std::vector<T> values;
  std::vector<std::int64_t> shape, strides;
  ArrayType type;
  ArrayView view() const { return {values.data(), type, shape, strides}; }
};

template <class T>
Array<T> array(ArrayType type, std::vector<std::int64_t> shape, std::vector<T> values = {}) {
  Array<T> a{std::move(values), std::move(shape), {}, type};
  std::int64_t n = 1;
  for (const std::int64_t d : a.shape) n *= d;
  if (a.values.empty()) {
    for (std::int64_t i = 0; i < n; ++i) a.values.push_back(static_cast<T>(i % 251));
  }
  return a;
}

template <class Call>
std::string sentence(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was refused";
}

class LiberoTest : public testing::Test {
 protected:
  void SetUp() override { builder.clear(); }
  void add_all() {
    builder.add("observation/image", image.view());
    builder.add("observation/wrist_image", image.view());
    builder.add("observation/state", state.view());
    builder.add_text("prompt", "pick");
  }
  ArrayCollector builder{info_of("pi05_libero")};
  Array<std::uint8_t> image = array<std::uint8_t>(ArrayType::u8, {4, 5, 3});
  Array<double> state = array<double>(ArrayType::f64, {8});
};

TEST_F(LiberoTest, DensePicturesAreNotCopied) {
  add_all();
  const Observation& seen = builder.observation();
  ASSERT_EQ(seen.cameras.size(), 2u);
  EXPECT_EQ(seen.cameras[0].name, "observation/image");
  EXPECT_EQ(seen.cameras[0].image.data, image.values.data());
  EXPECT_EQ(seen.cameras[0].image.row_bytes, 15u);
  EXPECT_EQ(seen.state[0].values, state.values);
  EXPECT_EQ(seen.prompt, "pick");
  EXPECT_TRUE(builder.unknown().empty());
}

TEST_F(LiberoTest, RowsWithAGapAreNotCopied) {
  Array<std::uint8_t> part{std::vector<std::uint8_t>(400), {4, 5, 3}, {100, 3, 1}, ArrayType::u8};
  builder.add("observation/image", part.view());
  builder.add("observation/wrist_image", image.view());
  builder.add("observation/state", state.view());
  builder.add_text("prompt", "pick");
  const Image& got = builder.observation().cameras[0].image;
  EXPECT_EQ(got.data, part.values.data());
  EXPECT_EQ(got.row_bytes, 100u);
}

TEST_F(LiberoTest, PlanesAndAnyStridesBecomeRows) {
  add_all();
  const auto planes = array<std::uint8_t>(ArrayType::u8, {3, 4, 5});
  builder.add("observation/image", planes.view());  // a second time: the last one counts
  const Observation& seen = builder.observation();
  ASSERT_EQ(seen.cameras.size(), 2u);
  const std::uint8_t* rows = seen.cameras[0].image.data;
  for (int p = 0; p < 20; ++p) {
    for (int c = 0; c < 3; ++c) EXPECT_EQ(rows[p * 3 + c], planes.values[c * 20 + p]);
  }
  Array<std::uint8_t> flipped = image;  // rows from below, as numpy's [::-1]
  flipped.strides = {-15, 3, 1};
  const ArrayView view{flipped.values.data() + 45, ArrayType::u8, flipped.shape, flipped.strides};
  builder.add("observation/image", view);
  EXPECT_EQ(
      std::memcmp(builder.observation().cameras[0].image.data, flipped.values.data() + 45, 15), 0);
}

TEST_F(LiberoTest, AThreeRowPictureWithItsColoursLastStaysAsItIs) {
  const auto three = array<std::uint8_t>(ArrayType::u8, {3, 5, 3});
  add_all();
  builder.add("observation/image", three.view());
  EXPECT_EQ(builder.observation().cameras[0].image.data, three.values.data());
}

TEST_F(LiberoTest, FloatsAreTruncatedAndWrap) {
  add_all();
  const auto floats = array<float>(ArrayType::f32, {1, 3, 3},
                                   {0, 1, 0.5f, 0.999f, 1.01f, -0.01f, 0.1f, 0.2f, 0.3f});
  builder.add("observation/image", floats.view());
  const std::uint8_t* got = builder.observation().cameras[0].image.data;
  const std::array<int, 9> wanted{0, 255, 127, 254, 1, 254, 25, 51, 76};
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(got[i], wanted[i]) << i;
}

TEST_F(LiberoTest, HalvesMultiplyAsHalves) {
  add_all();
  // numpy: (255 * np.float16([1, .5, .1])).astype(np.uint8) = 255, 127, 25; 0.9976 -> 254.4 -> 254.
  const auto halves = array<std::uint16_t>(ArrayType::f16, {1, 1, 3}, {0x3c00, 0x3800, 0x3bfb});
  builder.add("observation/image", halves.view());
  const std::uint8_t* got = builder.observation().cameras[0].image.data;
  EXPECT_EQ(got[0], 255);
  EXPECT_EQ(got[1], 127);
  EXPECT_EQ(got[2], 254);
}

TEST_F(LiberoTest, StatesOfAnyNumericTypeAndOrder) {
  add_all();
  builder.add("observation/state", array<std::int16_t>(ArrayType::i16, {1, 8}).view());
  EXPECT_EQ(builder.observation().state[0].values[7], 7.0);
  std::vector<std::uint8_t> big(32);
  for (int i = 0; i < 8; ++i) big[static_cast<std::size_t>(i) * 4] = 0x3f, big[i * 4 + 1] = 0x80;
  const std::int64_t shape[] = {8};
  builder.add("observation/state", {big.data(), ArrayType::f32, shape, {}, ByteOrder::big});
  EXPECT_EQ(builder.observation().state[0].values[3], 1.0);
}

TEST_F(LiberoTest, RefusalsNameKeyWishAndWhatCame) {
  const auto text = [&](auto call) { return sentence(call); };
  EXPECT_EQ(
      text([&] { builder.add("observation/state", array<double>(ArrayType::f64, {7}).view()); }),
      "observation/state: 8 numbers are wanted, float64 [7] came");
  EXPECT_EQ(text([&] {
              builder.add("observation/image", array<std::uint8_t>(ArrayType::u8, {4, 5}).view());
            }),
            "picture observation/image: three axes are wanted, uint8 [4,5] came");
  EXPECT_EQ(
      text([&] {
        builder.add("observation/image", array<std::int32_t>(ArrayType::i32, {4, 5, 3}).view());
      }),
      "picture observation/image: uint8 or floats in [0,1] are wanted, int32 [4,5,3] came");
  auto nan = array<double>(ArrayType::f64, {8});
  nan.values[2] = std::nan("");
  EXPECT_EQ(text([&] { builder.add("observation/state", nan.view()); }),
            "observation/state: entry 2 is not finite");
  builder.clear();
  builder.add("observation/wrist_image", image.view());
  EXPECT_EQ(text([&] { builder.observation(); }),
            "the observation lacks observation/image, observation/state, prompt; it has "
            "observation/wrist_image");
  EXPECT_NE(text([&] { builder.add_text("prompt", "\xff"); }).find("UTF-8"), std::string::npos);
}

TEST_F(LiberoTest, UnknownKeysAreListed) {
  add_all();
  builder.add("observation/depth", image.view());
  builder.add_text("note", "x");
  ASSERT_EQ(builder.unknown().size(), 2u);
  EXPECT_EQ(builder.unknown()[0], "observation/depth");
  builder.observation();
  builder.clear();
  EXPECT_TRUE(builder.unknown().empty());
}

TEST_F(LiberoTest, AnotherFormOfTheState) {
  builder.add("observation/image", image.view());
  builder.add("observation/wrist_image", image.view());
  builder.add_text("prompt", "pick");
  builder.add("robot0_eef_pos", array<double>(ArrayType::f64, {3}).view());
  EXPECT_THROW(builder.observation(), Error);
  builder.add("robot0_eef_quat", array<double>(ArrayType::f64, {4}).view());
  builder.add("robot0_gripper_qpos", array<double>(ArrayType::f64, {2}).view());
  EXPECT_EQ(builder.observation().state.size(), 3u);
}

TEST(Arrays, AlohaTakesPlanesOnlyAndKnowsItsCameras) {
  ArrayCollector builder(info_of("pi0_aloha"));
  const auto planes = array<std::uint8_t>(ArrayType::u8, {3, 4, 5});
  const auto rows = array<std::uint8_t>(ArrayType::u8, {4, 5, 3});
  builder.add("images/cam_high", planes.view());
  builder.add("images/cam_low", planes.view());  // taken and not used
  builder.add("state", array<float>(ArrayType::f32, {14}).view());
  builder.add_text("prompt", "fold");
  EXPECT_EQ(builder.observation().cameras.size(), 1u);
  EXPECT_EQ(builder.observation().cameras[0].name, "images/cam_high");
  EXPECT_EQ(sentence([&] { builder.add("images/cam_left_wrist", rows.view()); }),
            "picture images/cam_left_wrist: [3,h,w] is wanted, uint8 [4,5,3] came");
  EXPECT_NE(sentence([&] { builder.add("images/cam_top", planes.view()); }).find("cam_left_wrist"),
            std::string::npos);
}

TEST(Arrays, DroidTakesAScalarGripper) {
  ArrayCollector builder(info_of("pi05_droid"));
  const auto image = array<std::uint8_t>(ArrayType::u8, {4, 5, 3});
  builder.add("observation/exterior_image_1_left", image.view());
  builder.add("observation/wrist_image_left", image.view());
  builder.add("observation/joint_position", array<float>(ArrayType::f32, {7}).view());
  builder.add("observation/gripper_position", array<float>(ArrayType::f32, {}, {0.5f}).view());
  builder.add_text("prompt", "pick");
  EXPECT_EQ(builder.observation().state[1].values, std::vector<double>{0.5});
}

TEST(Arrays, SlotsAndTheirBeginningsNameACamera) {
  ArrayCollector builder(info_of("pi05_libero"));
  EXPECT_TRUE(builder.takes("base_0_rgb"));
  EXPECT_TRUE(builder.takes("base"));
  EXPECT_TRUE(builder.takes("left_wrist"));
  EXPECT_TRUE(builder.takes("state"));
  EXPECT_FALSE(builder.takes("right"));
}

}  // namespace
}  // namespace tendon
