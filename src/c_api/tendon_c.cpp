// The functions of tendon_c.h: exceptions become statuses here.
#include "tendon/tendon_c.h"

#include <algorithm>
#include <memory>
#include <new>

#include "base/error.h"
#include "c_api/error_text.h"
#include "c_api/session.h"
#include "c_api/sized.h"

struct tendon_policy {
  tendon_policy(const char* path, const tendon_load_options& options) : session(path, options) {}
  mutable tendon::c_api::Session session;
};

namespace {

using namespace tendon;
using c_api::Session;

template <class F>
tendon_status guarded(F&& work) noexcept {
  try {
    work();
    return TENDON_OK;
  } catch (const std::bad_alloc&) {
    c_api::set_error("there is not enough memory");
  } catch (const std::exception& e) {
    c_api::set_error(e.what());
  } catch (...) {
    c_api::set_error("something was thrown that is no exception");
  }
  return TENDON_REFUSED;
}

// `work` on the policy's session while nobody else is at it.
template <class F>
tendon_status in_turn(tendon_policy* policy, F&& work) noexcept {
  if (policy == nullptr) return guarded([] { fail("the policy is NULL: load one"); });
  const c_api::Turn turn(policy->session);
  if (!turn) {
    c_api::set_error("another thread is inside of a call on this policy: wait for it");
    return TENDON_BUSY;
  }
  return guarded([&] { work(policy->session); });
}

const Session& session_of(const tendon_policy* policy) {
  require(policy != nullptr, "the policy is NULL: load one");
  return policy->session;
}

}  // namespace

tendon_status tendon_load(const char* path, const tendon_load_options* options,
                          tendon_policy** policy) {
  return guarded([&] {
    require(policy != nullptr, "tendon_load: there is no place for the policy");
    *policy = nullptr;
    require(path != nullptr, "tendon_load: the path of the checkpoint is NULL");
    const auto all = c_api::sized_input(options, "tendon_load_options");
    *policy = std::make_unique<tendon_policy>(path, all).release();
  });
}

tendon_status tendon_warm_up(tendon_policy* policy, const char* prompt) {
  return in_turn(policy, [&](Session& session) { session.warm_up(prompt); });
}

tendon_status tendon_infer(tendon_policy* policy, const tendon_observation* observation,
                           const tendon_infer_options* options, tendon_chunk* chunk) {
  return in_turn(policy, [&](Session& session) {
    require(observation != nullptr, "tendon_infer: the observation is NULL");
    if (chunk != nullptr) c_api::check_size(*chunk, "tendon_chunk");
    session.infer(observation, options);
    if (chunk != nullptr) c_api::sized_output(session.chunk(), chunk, "tendon_chunk");
  });
}

int32_t tendon_actions_left(const tendon_policy* policy) {
  return policy == nullptr ? 0 : policy->session.actions_left();
}

tendon_status tendon_next_action(tendon_policy* policy, const tendon_observation* observation,
                                 const tendon_infer_options* options, double* action,
                                 size_t width) {
  return in_turn(policy, [&](Session& session) {
    const auto wanted = static_cast<std::size_t>(session.info().width);
    require(action != nullptr && width == wanted,
            "tendon_next_action: room for {} numbers came, an action has {}", width, wanted);
    const auto row = session.next_action(observation, options);
    std::copy(row.begin(), row.end(), action);
  });
}

tendon_status tendon_reset(tendon_policy* policy) {
  return in_turn(policy, [](Session& session) { session.reset(); });
}

tendon_status tendon_get_info(const tendon_policy* policy, tendon_info* info) {
  return guarded([&] {
    require(info != nullptr, "tendon_get_info: there is no place for the answer");
    c_api::sized_output(session_of(policy).info(), info, "tendon_info");
  });
}

tendon_status tendon_get_input(const tendon_policy* policy, int32_t index, tendon_input* input) {
  return guarded([&] {
    require(input != nullptr, "tendon_get_input: there is no place for the answer");
    c_api::sized_output(session_of(policy).input(index), input, "tendon_input");
  });
}

void tendon_free(tendon_policy* policy) { delete policy; }

const char* tendon_last_error(void) { return c_api::error_text(); }

const char* tendon_version(void) { return version().data(); }

int32_t tendon_abi_version(void) { return TENDON_ABI_VERSION; }
