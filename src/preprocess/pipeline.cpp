#include "preprocess/pipeline.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "preprocess/compose.h"
#include "preprocess/frames.h"
#include "preprocess/normalise.h"
#include "preprocess/observation.h"
#include "preprocess/pixels.h"
#include "preprocess/prompt.h"
#include "preprocess/robot.h"

namespace tendon {

struct Preprocessor::State {
  Contract contract;
  Normaliser state_norm, action_norm;
  std::unique_ptr<Tokenizer> tokenizer;
  PreprocessOptions options;
  PromptEncoder prompt;
  Composer composer;
  PixelTable table;
  ImageReader reader;
  struct FrameSource {  // of a camera, where the device resizes
    ImageReader reader;
    FrameMaker maker;
  };
  std::vector<FrameSource> frames;         // in the order of `cameras`
  std::vector<const ImageInput*> cameras;  // by picture and camera, in the contract's order
  std::vector<double> raw, normalised, row;
  std::vector<float> model_row;
  std::vector<float> picture;  // float rules: [height, width, 3] before the pixel rule

  State(Contract c, const Statistics& statistics, std::unique_ptr<Tokenizer> t, PreprocessOptions o)
      : contract(std::move(c)),
        state_norm(statistics, contract.state, contract.state_dim),
        action_norm(statistics, contract.actions, contract.returned_dims),
        tokenizer(std::move(t)),
        options(o),
        prompt(contract.prompt, o.truncate_prompt ? Overflow::truncate : Overflow::refuse),
        composer(contract.images.resize),
        table(pixel_table(contract.images)) {
    if (options.frame_pixels == 0) return;
    for (const Picture& p : contract.images.pictures) {
      for (std::size_t i = 0; i < p.cameras.size(); ++i) {
        frames.push_back({{}, FrameMaker(contract.images, p, i, options.frame_pixels)});
      }
    }
  }

  void images(const ObservationView& observation, PreparedInput& input);
  void frames_from(std::size_t first, std::span<const ImageInput* const> cameras,
                   PreparedPicture& out);
  void picture_from(const Picture& layout, std::span<const ImageInput* const> cameras,
                    PreparedPicture& out);
  void state(const ObservationView& observation, PreparedInput& input);
  void text(const ObservationView& observation, PreparedInput& input);
  void finish(std::span<const float> chunk, const PreparedInput& input, std::span<double> actions);
  void encode(std::span<const double> actions, const PreparedInput& input, std::span<float> chunk);
  int slot(int dimension) const {
    const auto& slots = contract.robot_rules.slots;
    return slots.empty() ? dimension : slots[dimension];
  }
};

void Preprocessor::State::picture_from(const Picture& layout,
                                       std::span<const ImageInput* const> given,
                                       PreparedPicture& out) {
  const std::size_t size = static_cast<std::size_t>(layout.height) * layout.width * 3;
  if (is_float(contract.images.resize)) {
    out.values.resize(size);
    for (std::size_t i = 0; i < given.size(); ++i) {
      composer.place(reader.floats(*given[i], contract.images.channels), layout.cameras[i], layout,
                     out.values.data());
    }
    apply_pixel_rule(contract.images, out.values);
    return;
  }
  out.bytes.resize(size);
  for (std::size_t i = 0; i < given.size(); ++i) {
    composer.place(reader.bytes(*given[i], contract.images.channels), layout.cameras[i], layout,
                   out.bytes.data());
  }
  if (!options.float_pictures) return;
  out.values.resize(size);
  to_values({out.bytes.data(), layout.height, layout.width, std::ptrdiff_t{layout.width} * 3},
            table, out.values.data());
}

// `first`: the number of the picture's first camera.
void Preprocessor::State::frames_from(std::size_t first, std::span<const ImageInput* const> given,
                                      PreparedPicture& out) {
  out.frames.clear();
  for (std::size_t i = 0; i < given.size(); ++i) {
    FrameSource& source = frames[first + i];
    if (given[i]->dtype != DType::u8 && is_float(contract.images.resize)) {
      fail("camera {}: with frame_pixels, contract {} takes bytes only", printable(given[i]->key),
           contract.name);
    }
    out.frames.push_back(
        source.maker.of(source.reader.bytes(*given[i], contract.images.channels), given[i]->key));
  }
}

void Preprocessor::State::images(const ObservationView& observation, PreparedInput& input) {
  const std::vector<Picture>& layouts = contract.images.pictures;
  assign_cameras(contract.images, observation.images, cameras);
  input.pictures.resize(layouts.size());
  std::size_t first = 0;
  bool any = false;
  for (std::size_t p = 0; p < layouts.size(); ++p) {
    const std::span given(cameras.data() + first, layouts[p].cameras.size());
    first += given.size();
    input.pictures[p].present =
        !given.empty() && std::find(given.begin(), given.end(), nullptr) == given.end();
    if (!input.pictures[p].present) continue;
    if (frames.empty()) {
      picture_from(layouts[p], given, input.pictures[p]);
    } else {
      frames_from(first - given.size(), given, input.pictures[p]);
    }
    any = true;
  }
  if (!any)
    fail("the observation has no camera image; contract {} takes {}", contract.name,
         camera_names(contract.images));
}

void Preprocessor::State::state(const ObservationView& observation, PreparedInput& input) {
  collect_state(contract, observation.vectors, raw);
  input.robot_state = raw;
  adapt_state(contract.robot_rules, input.robot_state);
  normalised.resize(raw.size());
  state_norm.forward(input.robot_state, normalised);
  input.state.assign(contract.state_width, 0.0f);
  input.largest_state = 0;
  for (std::size_t i = 0; i < normalised.size(); ++i) {
    input.state[slot(static_cast<int>(i))] = static_cast<float>(normalised[i]);
    input.largest_state = std::max(input.largest_state, std::abs(normalised[i]));
  }
}

void Preprocessor::State::text(const ObservationView& observation, PreparedInput& input) {
  const auto& fallback = contract.prompt.fallback;
  require(observation.prompt || fallback,
          "the observation has no prompt and contract {} no default one; pass a prompt",
          contract.name);
  const std::string_view text =
      observation.prompt ? *observation.prompt : std::string_view(*fallback);
  require(tokenizer != nullptr,
          "there is no tokenizer for the prompt; pass the checkpoint's with --tokenizer");
  input.token_count = prompt.encode(text, normalised, *tokenizer, input.tokens);
  input.text.clear();
  for (const std::string& piece : prompt.last_pieces()) input.text += piece;
}

void Preprocessor::State::finish(std::span<const float> chunk, const PreparedInput& input,
                                 std::span<double> actions) {
  const std::size_t width = contract.action_dim, returned = contract.returned_dims;
  const std::size_t rows = chunk.size() / width;
  require(chunk.size() == rows * width && actions.size() == rows * returned,
          "a chunk of {} numbers for {} actions: wanted rows of {} and {}", chunk.size(),
          actions.size(), width, returned);
  model_row.resize(returned);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = 0; i < returned; ++i) {
      model_row[i] = chunk[r * width + slot(static_cast<int>(i))];
      require(std::isfinite(model_row[i]), "the model's action {} of row {} is not finite", i, r);
    }
    const std::span out = actions.subspan(r * returned, returned);
    action_norm.inverse(model_row, out);
    to_robot_action(contract.robot_rules, input.robot_state, out);
  }
}

void Preprocessor::State::encode(std::span<const double> actions, const PreparedInput& input,
                                 std::span<float> chunk) {
  const std::size_t width = contract.action_dim, returned = contract.returned_dims;
  const std::size_t rows = actions.size() / returned;
  require(actions.size() == rows * returned && chunk.size() == rows * width,
          "{} action numbers for a chunk of {}: wanted rows of {} and {}", actions.size(),
          chunk.size(), returned, width);
  std::fill(chunk.begin(), chunk.end(), 0.0f);
  row.resize(returned);
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(actions.begin() + r * returned, returned, row.begin());
    from_robot_action(contract.robot_rules, input.robot_state, row);
    action_norm.forward(row, row);
    for (std::size_t i = 0; i < returned; ++i) {
      require(std::isfinite(row[i]), "action {} of row {} is not finite", i, r);
      chunk[r * width + slot(static_cast<int>(i))] = static_cast<float>(row[i]);
    }
  }
}

namespace {

template <class F>
Status guarded(F&& work) noexcept {
  try {
    work();
    return {};
  } catch (const std::exception& e) {
    return Status(e.what());
  }
}

// Where the state stands in the prompt, a token count above capacity is the contract's fault, not
// the user's.
void check_tokenizer(const Contract& contract, const Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return;
  for (const std::int32_t id : {contract.prompt.bos, contract.prompt.eos, contract.prompt.pad}) {
    require(id < tokenizer->vocabulary(),
            "contract {}: its special token {} is outside the tokenizer's {} pieces; this is "
            "another model's "
            "tokenizer",
            contract.name, id, tokenizer->vocabulary());
  }
}

}  // namespace

Preprocessor::Preprocessor(Contract contract, const Statistics& statistics,
                           std::unique_ptr<Tokenizer> tokenizer, PreprocessOptions options) {
  validate(contract);
  check_tokenizer(contract, tokenizer.get());
  state_ = std::make_unique<State>(std::move(contract), statistics, std::move(tokenizer), options);
}
Preprocessor::~Preprocessor() = default;
Preprocessor::Preprocessor(Preprocessor&&) noexcept = default;
Preprocessor& Preprocessor::operator=(Preprocessor&&) noexcept = default;

const Contract& Preprocessor::contract() const { return state_->contract; }

PreparedInput Preprocessor::make_input() const {
  const Contract& c = state_->contract;
  PreparedInput input;
  input.pictures.resize(c.images.pictures.size());
  for (std::size_t p = 0; p < input.pictures.size(); ++p) {
    const Picture& layout = c.images.pictures[p];
    input.pictures[p].frames.reserve(layout.cameras.size());
    if (state_->options.frame_pixels > 0) continue;
    const std::size_t size = static_cast<std::size_t>(layout.height) * layout.width * 3;
    const bool floats = is_float(c.images.resize);
    if (!floats) input.pictures[p].bytes.resize(size);
    if (floats || state_->options.float_pictures) input.pictures[p].values.resize(size);
  }
  input.text.reserve(4096);  // any usual prompt: a longer one than the last does not allocate
  input.tokens.assign(c.prompt.capacity, c.prompt.pad);
  input.state.assign(c.state_width, 0.0f);
  input.robot_state.assign(c.state_dim, 0.0);
  return input;
}

bool Preprocessor::accepts(std::string_view key) const {
  return takes_image(state_->contract.images, key) || takes_vector(state_->contract, key);
}

Status Preprocessor::prepare_images(const ObservationView& o, PreparedInput& input) noexcept {
  return guarded([&] { state_->images(o, input); });
}
Status Preprocessor::prepare_state(const ObservationView& o, PreparedInput& input) noexcept {
  return guarded([&] { state_->state(o, input); });
}
Status Preprocessor::prepare_prompt(const ObservationView& o, PreparedInput& input) noexcept {
  return guarded([&] { state_->text(o, input); });
}
Status Preprocessor::prepare(const ObservationView& o, PreparedInput& input) noexcept {
  return guarded([&] {
    state_->state(o, input);
    state_->text(o, input);
    state_->images(o, input);
  });
}

Status Preprocessor::finish(std::span<const float> chunk, const PreparedInput& input,
                            std::span<double> actions) noexcept {
  return guarded([&] { state_->finish(chunk, input, actions); });
}
Status Preprocessor::encode_actions(std::span<const double> actions, const PreparedInput& input,
                                    std::span<float> chunk) noexcept {
  return guarded([&] { state_->encode(actions, input, chunk); });
}

}  // namespace tendon
