#include "base/hash.h"

#include <algorithm>
#include <array>

#include <openssl/evp.h>

#include "base/error.h"
#include "base/mmap.h"

namespace tendon {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() = default;
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require(context_->md && EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1,
          "sha256: OpenSSL offers no SHA-256 here");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1,
          "sha256: OpenSSL failed");
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text.data(), text.size())));
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(context_->md, digest.data(), &size) == 1, "sha256: OpenSSL failed");
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_hex(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text.data(), text.size())));
}

std::string sha256_file(const std::filesystem::path& path) {
  constexpr std::size_t kStep = 16u << 20;
  const MappedFile file(path);
  Sha256 hash;
  for (std::size_t at = 0; at < file.bytes().size(); at += kStep) {
    const auto part = file.bytes().subspan(at, std::min(kStep, file.bytes().size() - at));
    file.will_read(part);
    hash.update(part);
    file.drop(part);
  }
  return hash.hex();
}

}  // namespace tendon
