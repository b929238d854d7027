#include "backends/cuda/gemm.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "backends/cuda/gemm_check.h"
#include "base/error.h"
#include "base/file.h"

namespace tendon::cuda {
namespace {

constexpr int kCandidates = 24, kWarm = 1, kTimed = 3, kChain = 4;
constexpr std::size_t kMostWeights = 768u << 20;
constexpr std::size_t kFlush = 96u << 20;  // larger than any L2

cudaDataType_t type_of(DType t) {
  return t == DType::bf16 ? CUDA_R_16BF : t == DType::f16 ? CUDA_R_16F : CUDA_R_32F;
}

template <class T>
void set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(d, attribute, &value, sizeof value), "describing a product");
}

MatrixLayout layout(DType t, int rows, int columns, std::int64_t stride) {
  MatrixLayout l;
  check(cublasLtMatrixLayoutCreate(l.put(), type_of(t), static_cast<std::uint64_t>(rows),
                                   static_cast<std::uint64_t>(columns), stride),
        "describing a matrix");
  return l;
}

void set_batches(const MatrixLayout& l, int count, std::int64_t stride) {
  check(cublasLtMatrixLayoutSetAttribute(l.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                         sizeof count),
        "describing a batch");
  check(cublasLtMatrixLayoutSetAttribute(l.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                         &stride, sizeof stride),
        "describing a batch");
}

std::string to_hex(const cublasLtMatmulAlgo_t& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm.data) text += fmt::format("{:016x}", word);
  return text;
}

bool from_hex(const std::string& text, cublasLtMatmulAlgo_t& algorithm) {
  if (text.size() != std::size(algorithm.data) * 16) return false;
  for (std::size_t i = 0; i < std::size(algorithm.data); ++i) {
    algorithm.data[i] = std::stoull(text.substr(i * 16, 16), nullptr, 16);
  }
  return true;
}

std::size_t span_bytes(const GemmShape& s, std::int64_t stride, std::int64_t batch, DType t) {
  return static_cast<std::size_t>((s.batches - 1) * batch + s.m * stride) * size_of(t) + 4096;
}

}  // namespace

std::string GemmShape::str() const {
  return fmt::format("{}x{}x{}x{}.{}.{}.{}.{}.{}.{}.{}.{}.e{}.r{}.a{}", batches, m, n, k, name(in),
                     name(out), x_stride, x_batch, out_stride, out_batch, residual_stride,
                     residual_batch, static_cast<int>(epilogue), static_cast<int>(residual),
                     alignment);
}

Gemm::Gemm(GemmLibrary& library, const GemmShape& s) : library_(&library), shape_(s) {
  check(cublasLtMatmulDescCreate(description_.put(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "describing a product");
  set(description_.get(), CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (s.epilogue != GemmShape::Epilogue::none) {
    const cublasLtEpilogue_t epilogue = s.epilogue == GemmShape::Epilogue::bias
                                            ? CUBLASLT_EPILOGUE_BIAS
                                            : CUBLASLT_EPILOGUE_GELU_BIAS;
    set(description_.get(), CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(description_.get(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(s.out));
  }
  a_ = layout(s.in, s.k, s.n, s.k);
  b_ = layout(s.in, s.k, s.m, s.x_stride);
  d_ = layout(s.out, s.n, s.m, s.out_stride);
  const bool added = s.residual == GemmShape::Residual::added;
  c_ = layout(s.out, s.n, s.m, added ? s.residual_stride : s.out_stride);
  if (s.batches > 1) {
    set_batches(a_, s.batches, 0);
    set_batches(b_, s.batches, s.x_batch);
    set_batches(d_, s.batches, s.out_batch);
    set_batches(c_, s.batches, added ? s.residual_batch : s.out_batch);
  }
}

cublasStatus_t Gemm::launch(const GemmOperands& o, const cublasLtMatmulAlgo_t& algorithm,
                            cudaStream_t stream) const {
  const bool added = shape_.residual == GemmShape::Residual::added;
  const float one = 1.0f, beta = added ? 1.0f : 0.0f;
  if (shape_.epilogue != GemmShape::Epilogue::none) {
    const cublasStatus_t set = cublasLtMatmulDescSetAttribute(
        description_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &o.bias, sizeof o.bias);
    if (set != CUBLAS_STATUS_SUCCESS) return set;
  }
  return cublasLtMatmul(library_->handle_.get(), description_.get(), &one, o.weight, a_.get(), o.x,
                        b_.get(), &beta, added ? o.residual : o.out, c_.get(), o.out, d_.get(),
                        &algorithm, library_->workspace(stream), library_->workspace_.size(),
                        stream);
}

void* GemmLibrary::workspace(cudaStream_t stream) const {
  return stream == side_ ? side_workspace_.data() : workspace_.data();
}

void Gemm::run(const GemmOperands& operands, cudaStream_t stream) const {
  check(launch(operands, algorithm_, stream), "a product");
}

GemmLibrary::GemmLibrary(const Device& device, std::filesystem::path cache, cudaStream_t side)
    : device_(device), cache_(std::move(cache)), side_(side) {
  check(cublasLtCreate(handle_.put()), "opening the library");
  workspace_ = DeviceMemory(kWorkspace, "the products' workspace");
  side_workspace_ = DeviceMemory(kWorkspace, "the products' workspace");
  verdict_ = DeviceMemory(256, "a verdict");
  check(cudaStreamCreateWithFlags(stream_.put(), cudaStreamNonBlocking), "creating a stream");
  check(cudaEventCreate(start_.put()), "creating an event");
  check(cudaEventCreate(stop_.put()), "creating an event");
  if (cache_.empty() || !std::filesystem::exists(cache_)) return;
  std::istringstream text(read_file(cache_));
  std::string line, shape, algorithm;
  if (!std::getline(text, line) || line != header()) return;
  while (text >> shape >> algorithm) known_[shape] = algorithm;
}

std::string GemmLibrary::header() const {
  return fmt::format("tendon-choices {} cublasLt {} driver {} runtime {}", device_.properties.name,
                     cublasLtGetVersion(), device_.driver, device_.runtime);
}

const Gemm& GemmLibrary::get(const GemmShape& shape, const void* weight) {
  std::unique_ptr<Gemm>& slot = gemms_[shape.str()];
  if (!slot) {
    std::unique_ptr<Gemm> gemm(new Gemm(*this, shape));
    choose(*gemm, weight);
    slot = std::move(gemm);
  }
  return *slot;
}

std::vector<cublasLtMatmulHeuristicResult_t> GemmLibrary::candidates(const Gemm& gemm) const {
  MatmulPreference preference;
  check(cublasLtMatmulPreferenceCreate(preference.put()), "creating a preference");
  const std::size_t workspace = kWorkspace;
  check(
      cublasLtMatmulPreferenceSetAttribute(
          preference.get(), CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
      "setting a preference");
  const std::uint32_t alignment = static_cast<std::uint32_t>(gemm.shape_.alignment);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &alignment,
                                               sizeof alignment),
          "setting a preference");
  }
  std::vector<cublasLtMatmulHeuristicResult_t> found(kCandidates);
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle_.get(), gemm.description_.get(), gemm.a_.get(), gemm.b_.get(), gemm.c_.get(),
      gemm.d_.get(), preference.get(), kCandidates, found.data(), &count);
  require(status == CUBLAS_STATUS_SUCCESS && count > 0, "cublasLt: no algorithm for product {}: {}",
          gemm.shape_.str(), cublasLtGetStatusString(status));
  found.resize(static_cast<std::size_t>(count));
  return found;
}

void GemmLibrary::choose(Gemm& gemm, const void* weight) {
  const auto known = known_.find(gemm.shape_.str());
  cublasLtMatmulHeuristicResult_t result{};
  if (known != known_.end() && from_hex(known->second, gemm.algorithm_) &&
      cublasLtMatmulAlgoCheck(handle_.get(), gemm.description_.get(), gemm.a_.get(), gemm.b_.get(),
                              gemm.c_.get(), gemm.d_.get(), &gemm.algorithm_,
                              &result) == CUBLAS_STATUS_SUCCESS &&
      result.workspaceSize <= kWorkspace) {
    wanted_ = std::max(wanted_, result.workspaceSize);
    return;
  }
  measure(gemm, weight);
  known_[gemm.shape_.str()] = to_hex(gemm.algorithm_);
  fresh_ = true;
}

// Products meet weights that lie in memory, not in a cache that an earlier run has filled.
double GemmLibrary::seconds(const std::function<void(cudaStream_t, int)>& launch) {
  if (!flush_.size()) flush_ = DeviceMemory(kFlush, "measuring products");
  Handle<cudaGraph_t, cudaGraphDestroy> graph;
  GraphExec chain;
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "measuring");
  bool launched = true;
  try {
    for (int i = 0; i < kChain; ++i) launch(stream_.get(), i);
  } catch (const Error&) {
    launched = false;
  }
  const bool captured = cudaStreamEndCapture(stream_.get(), graph.put()) == cudaSuccess;
  if (!launched || !captured || cudaGraphInstantiate(chain.put(), graph.get(), 0) != cudaSuccess) {
    cudaGetLastError();
    return 1e30;
  }
  double best = 1e30;
  for (int i = 0; i < kWarm + kTimed; ++i) {
    check(cudaMemsetAsync(flush_.data(), i, kFlush, stream_.get()), "measuring");
    check(cudaEventRecord(start_.get(), stream_.get()), "measuring");
    check(cudaGraphLaunch(chain.get(), stream_.get()), "measuring");
    check(cudaEventRecord(stop_.get(), stream_.get()), "measuring");
    check(cudaEventSynchronize(stop_.get()), "measuring");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_.get(), stop_.get()), "measuring");
    if (i >= kWarm) best = std::min(best, static_cast<double>(milliseconds) * 1e-3 / kChain);
  }
  return best;
}

const std::string* GemmLibrary::recall(const std::string& key) const {
  const auto at = known_.find(key);
  return at == known_.end() ? nullptr : &at->second;
}

GemmLibrary::Operands GemmLibrary::operands(std::size_t bytes, std::size_t weight_bytes,
                                            DType dtype) {
  const auto padded = [](std::size_t n) { return (n + 1023) / 1024 * 1024; };
  Operands o;
  o.weight_bytes = padded(weight_bytes);
  o.count = static_cast<int>(std::clamp<std::size_t>(kMostWeights / o.weight_bytes, 1, kChain));
  const std::size_t all = padded(bytes) + static_cast<std::size_t>(o.count) * o.weight_bytes;
  if (scratch_.size() < all) {
    scratch_ = DeviceMemory();
    scratch_ = DeviceMemory(all, "measuring products");
  }
  o.data = scratch_.data(), o.weights = o.data + padded(bytes);
  fill_random(o.data, all, dtype, stream_.get());
  check(cudaStreamSynchronize(stream_.get()), "measuring");
  return o;
}

bool GemmLibrary::holds(const GemmShape& s, const void* x, const void* weight, const void* out) {
  GemmSample sample{x, weight, nullptr, nullptr, out};
  sample.m = s.m, sample.n = s.n, sample.k = s.k;
  sample.x_stride = s.x_stride, sample.out_stride = s.out_stride;
  sample.in = s.in, sample.out_dtype = s.out;
  return check_gemm(sample, verdict_.data(), stream_.get());
}

// Sampled elements of the product against plain sums: a wrong algorithm must not be chosen.
bool GemmLibrary::valid(const Gemm& gemm, const GemmOperands& o,
                        const cublasLtMatmulAlgo_t& algorithm) {
  const GemmShape& s = gemm.shape_;
  if (gemm.launch(o, algorithm, stream_.get()) != CUBLAS_STATUS_SUCCESS) return false;
  GemmSample sample{o.x, o.weight, o.bias, o.residual, o.out};
  sample.m = s.m, sample.n = s.n, sample.k = s.k, sample.batches = s.batches;
  sample.x_stride = s.x_stride, sample.x_batch = s.x_batch;
  sample.out_stride = s.out_stride, sample.out_batch = s.out_batch;
  sample.residual_stride = s.residual_stride, sample.residual_batch = s.residual_batch;
  sample.in = s.in, sample.out_dtype = s.out;
  sample.gelu = s.epilogue == GemmShape::Epilogue::gelu_bias;
  return check_gemm(sample, verdict_.data(), stream_.get());
}

void GemmLibrary::measure(Gemm& gemm, const void* weight) {
  const GemmShape& s = gemm.shape_;
  const std::size_t x = span_bytes(s, s.x_stride, s.x_batch, s.in);
  const std::size_t out = span_bytes(s, s.out_stride, s.out_batch, s.out);
  const std::size_t residual = span_bytes(s, s.residual_stride, s.residual_batch, s.out);
  const std::size_t bias = static_cast<std::size_t>(s.n) * 4 + 4096;
  auto pad = [](std::size_t n) { return (n + 255) / 256 * 256; };
  const std::size_t bytes = pad(x) + pad(out) + pad(residual) + pad(bias);
  const std::size_t n_by_k = static_cast<std::size_t>(s.n) * static_cast<std::size_t>(s.k);
  const Operands random = operands(bytes, n_by_k * size_of(s.in), s.in);
  std::byte* at = random.data;
  GemmOperands o{.x = at, .weight = weight, .out = at + pad(x)};
  if (s.residual == GemmShape::Residual::added) o.residual = at + pad(x) + pad(out);
  if (s.epilogue != GemmShape::Epilogue::none) o.bias = at + pad(x) + pad(out) + pad(residual);
  fill_random(at + pad(x) + pad(out), pad(residual) + pad(bias), s.out, stream_.get());
  double best = 1e30;
  std::size_t wanted = 0;
  bool found = false;
  for (const auto& candidate : candidates(gemm)) {
    if (candidate.state != CUBLAS_STATUS_SUCCESS) continue;
    const double taken = seconds([&](cudaStream_t stream, int i) {
      GemmOperands own = o;
      own.weight = random.weight(i);
      check(gemm.launch(own, candidate.algo, stream), "a product");
    });
    if (taken >= best || !valid(gemm, o, candidate.algo)) continue;
    best = taken;
    found = true;
    gemm.algorithm_ = candidate.algo;
    wanted = candidate.workspaceSize;
  }
  wanted_ = std::max(wanted_, wanted);
  require(found, "cublasLt: no correct algorithm for product {}", s.str());
}

void GemmLibrary::save() {
  scratch_ = DeviceMemory();
  flush_ = DeviceMemory();
  for (DeviceMemory* memory : {&workspace_, &side_workspace_}) {
    *memory = DeviceMemory();
    *memory = DeviceMemory(wanted_, "the products' workspace");
  }
  for (const Choice& choice : choices_.all()) {
    std::string& known = known_[choice.key];
    const std::string& made = choice.options[choice.selected];
    fresh_ = fresh_ || known != made;
    known = made;
  }
  if (cache_.empty() || !fresh_) return;
  std::string text = header() + "\n";
  for (const auto& [shape, algorithm] : known_) text += shape + " " + algorithm + "\n";
  try {
    if (cache_.has_parent_path()) std::filesystem::create_directories(cache_.parent_path());
    const std::filesystem::path fresh = cache_.string() + fmt::format(".{}", ::getpid());
    write_file(fresh, text);
    std::filesystem::rename(fresh, cache_);  // a reader sees the old file or the new one
  } catch (const std::exception&) {
    return;  // a cache that cannot be written costs time at the next start, nothing else
  }
}

}  // namespace tendon::cuda
