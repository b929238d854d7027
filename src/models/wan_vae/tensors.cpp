// Names and shapes of the published file.
#include "models/published.h"
#include "models/wan_vae/wan_vae.h"

namespace tendon::wan_vae {
namespace {

void residual_block(const std::string& at, std::int64_t in, std::int64_t out, TensorList& s) {
  s.add(at + "residual.0.gamma", {in, 1, 1, 1});
  s.kernel(at + "residual.2", {out, in, 3, 3, 3});
  s.add(at + "residual.3.gamma", {out, 1, 1, 1});
  s.kernel(at + "residual.6", {out, out, 3, 3, 3});
  if (in != out) s.kernel(at + "shortcut", {out, in, 1, 1, 1});
}

}  // namespace

std::vector<TensorSpec> tensors(std::int64_t base) {
  TensorList s(DType::f32, "vae:");
  std::int64_t width = base;
  s.kernel("encoder.conv1", {width, 12, 3, 3, 3});
  for (std::int64_t i = 0; i < 4; ++i) {
    const std::string at = "encoder.downsamples." + std::to_string(i) + ".downsamples.";
    const std::int64_t out = channels(base, i);
    residual_block(at + "0.", width, out, s);
    residual_block(at + "1.", out, out, s);
    if (i < 3) s.kernel(at + "2.resample.1", {out, out, 3, 3});
    if (i == 1 || i == 2) s.kernel(at + "2.time_conv", {out, out, 3, 1, 1});
    width = out;
  }
  residual_block("encoder.middle.0.", width, width, s);
  s.add("encoder.middle.1.norm.gamma", {width, 1, 1});
  s.kernel("encoder.middle.1.to_qkv", {3 * width, width, 1, 1});
  s.kernel("encoder.middle.1.proj", {width, width, 1, 1});
  residual_block("encoder.middle.2.", width, width, s);
  s.add("encoder.head.0.gamma", {width, 1, 1, 1});
  s.kernel("encoder.head.2", {2 * kLatent, width, 3, 3, 3});
  s.kernel("conv1", {2 * kLatent, 2 * kLatent, 1, 1, 1});
  return s.take();
}

std::vector<std::string> unread() { return {"vae:decoder.*", "vae:conv2.*", "vae:*.time_conv.*"}; }

std::vector<NameRule> name_rules() {
  const std::string down = "encoder.downsamples.$1.downsamples.";
  return {{"model_state.*", "$1"},
          {"model.encoder.*", "encoder.$1"},
          {"model.decoder.*", "decoder.$1"},
          {"model.conv1.*", "conv1.$1"},
          {"model.conv2.*", "conv2.$1"},
          {"quant_conv.*", "conv1.$1"},
          {"post_quant_conv.*", "conv2.$1"},
          {"encoder.conv_in.*", "encoder.conv1.$1"},
          {"encoder.conv_out.*", "encoder.head.2.$1"},
          {"encoder.norm_out.*", "encoder.head.0.$1"},
          {"encoder.mid_block.resnets.0.*", "encoder.middle.0.$1"},
          {"encoder.mid_block.resnets.1.*", "encoder.middle.2.$1"},
          {"encoder.mid_block.attentions.0.*", "encoder.middle.1.$1"},
          {"encoder.down_blocks.*.resnets.*.*", down + "$2.$3"},
          {"encoder.down_blocks.*.downsampler.*", down + "2.$2"},
          {"encoder.*.norm1.*", "encoder.$1.residual.0.$2"},
          {"encoder.*.conv1.*", "encoder.$1.residual.2.$2"},
          {"encoder.*.norm2.*", "encoder.$1.residual.3.$2"},
          {"encoder.*.conv2.*", "encoder.$1.residual.6.$2"},
          {"encoder.*.conv_shortcut.*", "encoder.$1.shortcut.$2"}};
}

}  // namespace tendon::wan_vae
