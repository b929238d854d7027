// What all connections of a server share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/options.h"
#include "server/service.h"

namespace tendon::server {

// A connection as the server sees it. Its functions run on the connection's own executor.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual void leave() noexcept = 0;  // soon: after the reply under way
  virtual void cut() noexcept = 0;    // now
};

// The connections there are. Thread-safe.
class GuestBook {
 public:
  // Runs a function on the guest's executor.
  using Post = std::function<void(std::function<void()>)>;

  // On the guest's executor; until sign_out the guest may be called there.
  std::uint64_t sign_in(Guest& guest, Post post);
  void sign_out(std::uint64_t id);
  void leave_all();
  void cut_all();
  void cut_oldest();
  std::size_t size() const;

 private:
  using Call = void (Guest::*)() noexcept;
  struct Entry {
    Guest* guest;
    Post post;
  };
  void call(std::uint64_t id, Call call);
  void call_all(Call call);

  mutable std::mutex mutex_;
  std::map<std::uint64_t, Entry> guests_;
  std::uint64_t next_ = 1;
};

struct HubCounters {
  std::atomic<std::uint64_t> connections{0}, sessions{0}, http{0};  // ever
  std::atomic<std::uint64_t> refused_full{0}, refused_key{0}, cut{0};
  std::atomic<std::size_t> sessions_now{0}, connections_now{0};
};

struct Hub {
  ServerOptions options;
  std::vector<std::unique_ptr<Service>> services;
  std::vector<std::string> names;
  GuestBook waiting;  // connections that are no session (yet)
  GuestBook sessions;
  HubCounters counters;
  std::atomic<bool> stopping{false};

  Service* find(const std::string& name);  // empty: the default; null: none
};

}  // namespace tendon::server
