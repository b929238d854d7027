// The table of one instruction set; TENDON_ISA is its name. Included last.

constexpr Kernels kTable{
    .isa = TENDON_ISA,
    .width = W,
    .panel_columns = kColumns,
    .tile_rows = kTileRows,
    .pair_rows = kPairRows,
    .load = load_row,
    .store = store_row,
    .activate = activate_row,
    .add = add_row,
    .multiply = multiply_row,
    .scale = scale_row,
    .add_scaled = add_scaled_row,
    .normalise = normalise_row,
    .rotate = rotate_row,
    .pack_group = pack_group,
    .pack_panel = pack_panel,
    .multiply_tile = multiply_tile,
    .attend = attend,
    .to_lanes = to_lanes,
    .from_lanes = from_lanes,
};
