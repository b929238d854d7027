// Values of a tensor that lies in a mapped file.
#pragma once

#include <memory>

#include "weights/checkpoint.h"

namespace tendon {

// `files` and `tensor`, one of its tensors, outlive the source. F32, BF16 and F16 are read; reading
// another type throws.
std::unique_ptr<TensorSource> make_file_source(const Safetensors& files,
                                               const StoredTensor& tensor);

}  // namespace tendon
