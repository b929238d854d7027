// Records the op of a row of the shapes table.
#pragma once

#include "support/case_builder.h"

namespace tendon::support {

void record(CaseBuilder& b, const shapes::Linear& s);
void record(CaseBuilder& b, const shapes::GatedLinear& s);
void record(CaseBuilder& b, const shapes::Conv2d& s);
void record(CaseBuilder& b, const shapes::Attention& s);
void record_rms_norm(CaseBuilder& b, const shapes::Norm& s);
void record_layer_norm(CaseBuilder& b, const shapes::Norm& s);
void record(CaseBuilder& b, const shapes::Rope& s);
void record(CaseBuilder& b, const shapes::QkvRope& s);
void record_embed(CaseBuilder& b, const shapes::Plane& s);
void record_embed_in_place(CaseBuilder& b, const shapes::Plane& s);
void record_activation(CaseBuilder& b, const shapes::Plane& s);
void record_gated_act(CaseBuilder& b, const shapes::Plane& s);
void record_add(CaseBuilder& b, const shapes::Plane& s);
void record_add_row(CaseBuilder& b, const shapes::Plane& s);
void record_mul(CaseBuilder& b, const shapes::Plane& s);
void record_mul_column(CaseBuilder& b, const shapes::Plane& s);
void record_axpy(CaseBuilder& b, const shapes::Plane& s);
void record_axpy_table(CaseBuilder& b, const shapes::Plane& s);
void record_select(CaseBuilder& b, const shapes::Plane& s);
void record_select_in_place(CaseBuilder& b, const shapes::Plane& s);
void record_gather_rows(CaseBuilder& b, const shapes::Plane& s);
void record_gather_integers(CaseBuilder& b, const shapes::Plane& s);
void record_copy(CaseBuilder& b, const shapes::Plane& s);
void record_copy_integers(CaseBuilder& b, const shapes::Plane& s);
void record_space_to_depth(CaseBuilder& b, const shapes::Picture& s);
void record_space_to_depth_channel_major(CaseBuilder& b, const shapes::Picture& s);
void record_average_pool(CaseBuilder& b, const shapes::Picture& s);
void record_average_pool_residual(CaseBuilder& b, const shapes::Picture& s);
void record(CaseBuilder& b, const shapes::Resize& s);

}  // namespace tendon::support
