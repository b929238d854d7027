// The encoder is far larger than the policy it serves: one layer of it at a time is in memory.
#include <gtest/gtest.h>

#include <algorithm>

#include "backends/reference/reference.h"
#include "models/umt5/umt5.h"
#include "tests/support/forwarding.h"
#include "weights/synthetic.h"

namespace tendon::umt5 {
namespace {

struct Account {
  int compiled = 0, alive = 0, most_alive = 0;
  std::int64_t most_weights = 0;  // elements of one program
};

class Counted final : public support::Forwarding {
 public:
  Counted(std::unique_ptr<Executable> inner, Account& account)
      : Forwarding(std::move(inner)), account_(account) {
    account_.most_alive = std::max(account_.most_alive, ++account_.alive);
  }
  ~Counted() override { --account_.alive; }

 private:
  Account& account_;
};

class Counting final : public Backend {
 public:
  explicit Counting(Account& account) : account_(account) {}
  std::string_view name() const override { return inner_->name(); }
  std::string description() const override { return inner_->description(); }
  std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                      const CompileOptions& options) override {
    std::int64_t elements = 0;
    for (const Weight& w : program->weights) elements += w.shape.numel();
    account_.most_weights = std::max(account_.most_weights, elements);
    ++account_.compiled;
    return std::make_unique<Counted>(inner_->compile(std::move(program), options), account_);
  }

 private:
  std::unique_ptr<Backend> inner_ = make_reference({});
  Account& account_;
};

TEST(Umt5, HoldsOneLayerAtATime) {
  const Config config{
      .vocab = 50, .width = 32, .attention = 32, .ffn = 48, .heads = 4, .layers = 5};
  const Checkpoint checkpoint = synthetic_checkpoint(tensors(config), {});
  const auto encoder = make_encoder(config, DType::f32, checkpoint);
  Account account;
  Counting backend(account);
  const std::vector<std::int32_t> ids = {7, 9, 3, 1};
  EXPECT_EQ(encoder->encode(ids, backend).size(), ids.size() * 32);
  EXPECT_EQ(account.compiled, config.layers);
  EXPECT_EQ(account.most_alive, 1);
  EXPECT_EQ(account.alive, 0);
  // q, k, v, o; gate, up, down; three norms at most, and no table.
  EXPECT_LE(account.most_weights, 4 * 32 * 32 + 3 * 48 * 32 + 3 * 32);
}

}  // namespace
}  // namespace tendon::umt5
