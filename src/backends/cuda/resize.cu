// Camera frames to pictures: one thread makes one pixel, columns first and then rows as on the
// host. Every column sum is made about twice, by both rows that want it: cheaper than a pass
// through memory.
#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/planner.h"
#include "base/frame_table.h"

namespace tendon::cuda {
namespace {

namespace table = frame_table;

constexpr int kTileX = 32, kTileY = 4;

struct ResizeArgs {
  const std::uint8_t* frames = nullptr;
  const std::int32_t* tables = nullptr;
  const float* weights = nullptr;
  std::int64_t frame_bytes = 0, weight_count = 0;  // of a frame's place
  int table_size = 0, frames_each = 1;             // of a picture
  device::Strided out;                             // [V, Y, X, 3]
  int height = 0, width = 0;
};

struct Taps {
  int first, begin, end;
};

__device__ Taps taps_of(const std::int32_t* first, const std::int32_t* begin, int i) {
  return {first[i], begin[i], begin[i + 1]};
}

__device__ std::int32_t rounded(std::int32_t sum) {
  return min(max(sum >> table::kFraction, 0), 255);
}

struct Source {
  const std::uint8_t* origin;  // of pixel (0, 0), turned or not
  std::int64_t down;           // bytes to the next row
  int across;                  // to the next pixel
};

__device__ Source source_of(const std::uint8_t* frame, const std::int32_t* numbers) {
  const std::int64_t row = std::int64_t{3} * numbers[table::kWidth];
  if (numbers[table::kTurned] == 0) return {frame, row, 3};
  return {frame + row * numbers[table::kHeight] - 3, -row, -3};
}

__device__ void bytes_of(const Source& in, const float* weights, Taps rows, Taps columns,
                         std::int32_t* sum) {
  constexpr std::int32_t kHalf = 1 << (table::kFraction - 1);
  for (int c = 0; c < 3; ++c) sum[c] = kHalf;
  for (int j = rows.begin; j < rows.end; ++j) {
    const std::uint8_t* p =
        in.origin + (rows.first + j - rows.begin) * in.down + columns.first * in.across;
    std::int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (int i = columns.begin; i < columns.end; ++i, p += in.across) {
      const auto w = static_cast<std::int32_t>(weights[i]);
      red += p[0] * w, green += p[1] * w, blue += p[2] * w;
    }
    const auto w = static_cast<std::int32_t>(weights[j]);
    sum[0] += rounded(red) * w, sum[1] += rounded(green) * w, sum[2] += rounded(blue) * w;
  }
}

__device__ void floats_of(const Source& in, const float* weights, Taps rows, Taps columns,
                          float* sum) {
  for (int c = 0; c < 3; ++c) sum[c] = 0;
  for (int j = rows.begin; j < rows.end; ++j) {
    const std::uint8_t* p =
        in.origin + (rows.first + j - rows.begin) * in.down + columns.first * in.across;
    float red = 0, green = 0, blue = 0;
    for (int i = columns.begin; i < columns.end; ++i, p += in.across) {
      const float w = weights[i];
      red += p[0] / 255.0f * w, green += p[1] / 255.0f * w, blue += p[2] / 255.0f * w;
    }
    const float w = weights[j];
    sum[0] += red * w, sum[1] += green * w, sum[2] += blue * w;
  }
}

// Pixel (y, x) of a picture from a frame that has it in its rectangle.
__device__ void pixel_of(const ResizeArgs& p, std::int64_t frame, int2 at, float* out) {
  const std::int32_t* numbers = p.tables + frame * p.table_size;
  const float* weights = p.weights + frame * p.weight_count;
  const int i = at.y - numbers[table::kInnerTop], j = at.x - numbers[table::kInnerLeft];
  const bool inside =
      i >= 0 && i < numbers[table::kInnerRows] && j >= 0 && j < numbers[table::kInnerColumns];
  const bool smooth = numbers[table::kSmooth] != 0;
  std::int32_t bytes[3] = {0, 0, 0};
  const float bar = smooth ? weights[table::kBar] : 0.0f;
  float parts[3] = {bar, bar, bar};
  if (inside) {
    const Source in = source_of(p.frames + frame * p.frame_bytes, numbers);
    const Taps rows =
        taps_of(numbers + table::first_row(), numbers + table::row_weights(p.height), i);
    const Taps columns = taps_of(numbers + table::first_column(p.height),
                                 numbers + table::column_weights(p.height, p.width), j);
    if (smooth) {
      floats_of(in, weights, rows, columns, parts);
    } else {
      bytes_of(in, weights, rows, columns, bytes);
    }
  }
  for (int c = 0; c < 3; ++c) {
    const float* values = weights + table::kValues + 256 * c;
    out[c] = smooth ? values[0] + fminf(fmaxf(parts[c], bar), 1.0f) * (values[255] - values[0])
                    : values[rounded(bytes[c])];
  }
}

__global__ void __launch_bounds__(kTileX* kTileY) resize_kernel(ResizeArgs p) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int x = blockIdx.x * kTileX + threadIdx.x % kTileX;
  const int y = blockIdx.y * kTileY + threadIdx.x / kTileX, v = blockIdx.z;
  if (x >= p.width || y >= p.height) return;
  std::int64_t frame = std::int64_t{v} * p.frames_each;
  float out[3];
  for (int c = 0; c < 3; ++c) out[c] = p.weights[frame * p.weight_count + 256 * c];
  for (int k = 0; k < p.frames_each; ++k, ++frame) {
    const std::int32_t* numbers = p.tables + frame * p.table_size;
    const int down = y - numbers[table::kTop], right = x - numbers[table::kLeft];
    if (down >= 0 && down < numbers[table::kRows] && right >= 0 &&
        right < numbers[table::kColumns]) {
      pixel_of(p, frame, {x, y}, out);
    }
  }
  const std::int64_t to = v * p.out.stride[0] + y * p.out.stride[1] + x * p.out.stride[2];
  for (int c = 0; c < 3; ++c)
    device::store(p.out.data, to + c * p.out.stride[3], p.out.dtype, out[c]);
}

}  // namespace

void plan(Planner& planner, const ops::Resize& op) {
  const Shape &frames = planner.trace().shape(op.frames), &y = planner.trace().shape(op.out);
  ResizeArgs p;
  p.frames = planner.data<std::uint8_t>(op.frames);
  p.tables = planner.data<std::int32_t>(op.tables);
  p.weights = planner.data<float>(op.weights);
  p.frame_bytes = frames[2], p.weight_count = planner.trace().shape(op.weights)[2];
  p.height = static_cast<int>(y[1]), p.width = static_cast<int>(y[2]);
  p.table_size = table::size(p.height, p.width), p.frames_each = static_cast<int>(frames[1]);
  p.out = planner.strided(op.out);
  const dim3 grid(blocks(p.width, kTileX), blocks(p.height, kTileY), static_cast<unsigned>(y[0]));
  planner.launch([p, grid](cudaStream_t stream) {
    launch(resize_kernel, {grid, kTileX * kTileY}, stream, p);
  });
}

}  // namespace tendon::cuda
