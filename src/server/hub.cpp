#include "server/hub.h"

namespace tendon::server {

std::uint64_t GuestBook::sign_in(Guest& guest, Post post) {
  const std::lock_guard lock(mutex_);
  guests_.emplace(next_, Entry{&guest, std::move(post)});
  return next_++;
}

void GuestBook::sign_out(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  guests_.erase(id);
}

std::size_t GuestBook::size() const {
  const std::lock_guard lock(mutex_);
  return guests_.size();
}

// On the guest's executor, where it cannot sign out meanwhile.
void GuestBook::call(std::uint64_t id, Call call) {
  Guest* guest = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto at = guests_.find(id);
    if (at != guests_.end()) guest = at->second.guest;
  }
  if (guest != nullptr) (guest->*call)();
}

void GuestBook::call_all(Call what) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, entry] : guests_) {
    entry.post([this, id = id, what] { call(id, what); });
  }
}

void GuestBook::leave_all() { call_all(&Guest::leave); }
void GuestBook::cut_all() { call_all(&Guest::cut); }

void GuestBook::cut_oldest() {
  const std::lock_guard lock(mutex_);
  if (guests_.empty()) return;
  const std::uint64_t id = guests_.begin()->first;
  guests_.begin()->second.post([this, id] { call(id, &Guest::cut); });
}

Service* Hub::find(const std::string& name) {
  for (auto& service : services) {
    if (name.empty() || service->name == name) return service.get();
  }
  return nullptr;
}

}  // namespace tendon::server
