// Text rows for a policy: from a file, from the disk cache, or from the family's text encoder.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "ops/backend.h"
#include "policy/context_cache.h"
#include "policy/policy_core.h"

namespace tendon {

struct TextRowsParts {
  std::unique_ptr<TextEncoder> encoder;  // null: only the file
  std::unique_ptr<Backend> backend;      // that the encoder runs on
  std::string encoder_name;              // tells encoders apart
  std::filesystem::path file;            // rows for every prompt; empty: none
  std::filesystem::path cache;           // folder; empty: rows are not kept
  int width = 0;
};

// Throws Error on a bad file, or where there is neither a file nor an encoder.
std::unique_ptr<TextRows> make_text_rows(TextRowsParts parts);

}  // namespace tendon
