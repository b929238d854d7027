// Values of a tensor that lies in a mapped file.
#pragma once

#include <memory>

#include "weights/checkpoint.h"

namespace tendon {

// `files` and `tensor`, one of its tensors, outlive the source. Every type is read, fp64 and
// integers rounded to fp32 (statistics are stored so); it is a Binder that refuses them as weights.
std::unique_ptr<TensorSource> make_file_source(const Safetensors& files,
                                               const StoredTensor& tensor);

}  // namespace tendon
