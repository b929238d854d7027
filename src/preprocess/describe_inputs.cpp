#include "preprocess/describe_inputs.h"

#include <algorithm>

namespace tendon {
namespace {

PolicyInfo::Channels channels(ChannelOrder order) {
  switch (order) {
    case ChannelOrder::first:
      return PolicyInfo::Channels::first;
    case ChannelOrder::last:
      return PolicyInfo::Channels::last;
    case ChannelOrder::either:
      break;
  }
  return PolicyInfo::Channels::either;
}

// A slot that one camera fills names it, and so does its beginning: "base" for "base_0_rgb".
void add_slot_names(const Picture& picture, std::vector<std::string>& aliases) {
  if (picture.cameras.size() != 1) return;
  aliases.push_back(picture.slot);
  for (std::size_t at = picture.slot.find('_'); at != std::string::npos;
       at = picture.slot.find('_', at + 1)) {
    if (at > 0) aliases.push_back(picture.slot.substr(0, at));
  }
}

PolicyInfo::Input camera_input(const Contract& contract, const Picture& picture,
                               const Camera& camera) {
  PolicyInfo::Input input{
      .key = camera.keys.front(), .slot = picture.slot, .required = camera.required};
  input.aliases.assign(camera.keys.begin() + 1, camera.keys.end());
  add_slot_names(picture, input.aliases);
  input.channels = channels(contract.images.channels);
  return input;
}

PolicyInfo::Input vector_input(const StatePart& part) {
  constexpr int kQuaternion = 4;  // numbers that arrive, of which the state keeps three
  return {.key = part.key,
          .slot = {},
          .size = part.form == StateForm::values ? part.width : kQuaternion};
}

// An alias that two inputs share, or that is another's key, names neither.
void drop_ambiguous(std::vector<PolicyInfo::Input>& inputs) {
  std::vector<std::string> all;
  for (const auto& input : inputs) {
    all.push_back(input.key);
    all.insert(all.end(), input.aliases.begin(), input.aliases.end());
  }
  for (auto& input : inputs) {
    std::erase_if(input.aliases, [&](const std::string& alias) {
      return std::count(all.begin(), all.end(), alias) > 1;
    });
  }
}

}  // namespace

void describe_inputs(const Contract& contract, PolicyInfo& info) {
  for (const Picture& picture : contract.images.pictures) {
    for (const Camera& camera : picture.cameras) {
      info.inputs.push_back(camera_input(contract, picture, camera));
    }
  }
  drop_ambiguous(info.inputs);
  info.ignored = contract.images.ignored;
  info.state_size = contract.state_dim;
  const auto& sources = contract.robot_rules.state_sources;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    std::vector<PolicyInfo::Input> form;
    for (const StatePart& part : sources[s]) form.push_back(vector_input(part));
    if (s == 0) {
      info.inputs.insert(info.inputs.end(), form.begin(), form.end());
    } else {
      info.state_forms.push_back(std::move(form));
    }
  }
}

}  // namespace tendon
