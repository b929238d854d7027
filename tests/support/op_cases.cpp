#include "support/op_cases.h"

#include <algorithm>

#include "support/record_case.h"

namespace tendon::support {
namespace {

constexpr CaseDtypes kF32{"f32", DType::f32, DType::f32, Format::f32};
constexpr CaseDtypes kBf16{"bf16", DType::bf16, DType::bf16, Format::bf16};
// Every mix a model records: fp32 with rounded weights, into and out of fp32, fp16.
constexpr CaseDtypes kAll[] = {
    kF32,
    kBf16,
    {"f32_bf16_weights", DType::f32, DType::f32, Format::bf16},
    {"bf16_to_f32", DType::bf16, DType::f32, Format::bf16},
    {"f32_to_bf16", DType::f32, DType::bf16, Format::bf16},
    {"f16", DType::f16, DType::f16, Format::bf16},
};
constexpr CaseDtypes kPictures[] = {kF32};
constexpr CaseDtypes kIntegers[] = {{"i32", DType::i32, DType::i32, Format::f32}};

constexpr double kSmall = 0.02;  // size up to which all mixes are tested

OpCase make_case(std::string name, const CaseDtypes& dtypes,
                 std::function<void(CaseBuilder&)> record) {
  OpCase c{std::move(name), dtypes, std::move(record), {}};
  CaseBuilder builder(c.name, dtypes, CaseBuilder::Fill::skip);
  c.record(builder);
  c.cost = cost(builder.trace().ops()[0], builder.trace());
  return c;
}

template <class Table, class Record, class Dtypes>
void append(std::vector<OpCase>& cases, std::string_view op, const Table& rows,
            const Dtypes& dtypes, Record record_row) {
  for (const auto& row : rows) {
    for (const CaseDtypes& d : dtypes) {
      std::string name = std::string(op) + "/" + row.name + "/" + d.name;
      OpCase c =
          make_case(std::move(name), d, [&row, record_row](CaseBuilder& b) { record_row(b, row); });
      const bool usual = d.name == std::string_view("f32") || d.name == std::string_view("bf16");
      if (usual || c.size() < kSmall || d.in == DType::i32) cases.push_back(std::move(c));
    }
  }
}

const auto record_any = [](CaseBuilder& b, const auto& row) { record(b, row); };

void append_products(std::vector<OpCase>& all) {
  append(all, "linear", shapes::kLinear, kAll, record_any);
  append(all, "gated_linear", shapes::kGatedLinear, kAll, record_any);
  append(all, "conv2d", shapes::kConv2d, kAll, record_any);
  append(all, "attention", shapes::kAttention, kAll, record_any);
  append(all, "qkv_rope", shapes::kQkvRope, kAll, record_any);
}

void append_rows(std::vector<OpCase>& all) {
  append(all, "rms_norm", shapes::kRmsNorm, kAll, record_rms_norm);
  append(all, "layer_norm", shapes::kLayerNorm, kAll, record_layer_norm);
  append(all, "rope", shapes::kRope, kAll, record_any);
  append(all, "embed", shapes::kPlane, kAll, record_embed);
  append(all, "embed/in_place", shapes::kPlane, kAll, record_embed_in_place);
  append(all, "activation", shapes::kPlane, kAll, record_activation);
  append(all, "gated_act", shapes::kPlane, kAll, record_gated_act);
  append(all, "add", shapes::kPlane, kAll, record_add);
  append(all, "add/row", shapes::kPlane, kAll, record_add_row);
  append(all, "mul/row", shapes::kPlane, kAll, record_mul);
  append(all, "mul/column", shapes::kPlane, kAll, record_mul_column);
  append(all, "axpy", shapes::kPlane, kAll, record_axpy);
  append(all, "axpy/table", shapes::kPlane, kAll, record_axpy_table);
  append(all, "select", shapes::kPlane, kAll, record_select);
  append(all, "select/in_place", shapes::kPlane, kAll, record_select_in_place);
  append(all, "gather_rows", shapes::kPlane, kAll, record_gather_rows);
  append(all, "gather_rows/integers", shapes::kPlane, kIntegers, record_gather_integers);
  append(all, "copy", shapes::kPlane, kAll, record_copy);
  append(all, "copy/integers", shapes::kPlane, kIntegers, record_copy_integers);
}

void append_pictures(std::vector<OpCase>& all) {
  append(all, "space_to_depth", shapes::kPicture, kAll, record_space_to_depth);
  append(all, "space_to_depth/channel_major", shapes::kPicture, kAll,
         record_space_to_depth_channel_major);
  append(all, "average_pool", shapes::kPicture, kAll, record_average_pool);
  append(all, "average_pool/residual", shapes::kPicture, kAll, record_average_pool_residual);
  append(all, "resize", shapes::kResize, kPictures, record_any);
}

}  // namespace

double OpCase::size() const {
  static constexpr std::string_view kProducts[] = {"linear", "gated_linear", "conv2d", "attention",
                                                   "qkv_rope"};
  const bool product =
      std::find(std::begin(kProducts), std::end(kProducts), op()) != std::end(kProducts);
  return cost.flops / (product ? shapes::kLargeFlops : shapes::kLargeElements);
}

CaseProgram OpCase::make() const {
  CaseBuilder builder(name, dtypes, CaseBuilder::Fill::make);
  record(builder);
  return builder.take();
}

std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  append_products(all);
  append_rows(all);
  append_pictures(all);
  return all;
}

}  // namespace tendon::support
