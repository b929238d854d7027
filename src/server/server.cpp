#include "server/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <thread>

#include "base/error.h"
#include "server/connection.h"
#include "server/hub.h"

namespace tendon::server {
namespace {

// As many files as the system lets this process have: every connection is one.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// What stands in an address as it is.
constexpr const char* kNameLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, std::vector<Offer> offers);
  ~Impl();
  void start();
  void stop();
  void wait();
  bool loading() const;
  std::uint16_t port() const { return port_; }
  std::string failure() const;

 private:
  void open();
  net::awaitable<void> accept();
  net::awaitable<void> serve(Tcp::socket socket);
  net::awaitable<void> cut_later();
  void changed();

  Hub hub_;
  std::unique_ptr<TlsContext> tls_;
  std::mutex mutex_;
  std::condition_variable state_changed_;
  net::io_context io_;
  net::executor_work_guard<net::io_context::executor_type> work_{io_.get_executor()};
  net::strand<net::io_context::executor_type> door_{io_.get_executor()};
  Tcp::acceptor acceptor_{door_};
  net::steady_timer stop_timer_{door_};
  bool finished_ = false;  // on door_
  std::uint16_t port_ = 0;
  std::vector<std::thread> threads_;
};

Server::Impl::Impl(ServerOptions options, std::vector<Offer> offers) {
  require(!offers.empty(), "serve: no policy was given");
  hub_.options = std::move(options);
  if (!hub_.options.certificate.empty()) {
    tls_ = std::make_unique<TlsContext>(hub_.options.certificate, hub_.options.private_key);
  }
  for (Offer& offer : offers) {
    require(!offer.name.empty() && offer.name.find_first_not_of(kNameLetters) == std::string::npos,
            "policy name \"{}\": letters, digits, '.', '_' and '-' are wanted; give it another: "
            "NAME=MODEL",
            offer.name);
    require(std::find(hub_.names.begin(), hub_.names.end(), offer.name) == hub_.names.end(),
            "two policies are named {}; give one another name: NAME=MODEL", offer.name);
    hub_.names.push_back(offer.name);
    hub_.services.push_back(std::make_unique<Service>(offer.name, std::move(offer.make),
                                                      hub_.options.queue,
                                                      [this](Worker::State) { changed(); }));
  }
}

Server::Impl::~Impl() {
  stop();
  wait();
}

void Server::Impl::changed() {
  const std::lock_guard lock(mutex_);
  state_changed_.notify_all();
}

std::string Server::Impl::failure() const {
  for (const auto& service : hub_.services) {
    if (std::string reason = service->worker.reason(); !reason.empty()) {
      return service->name + ": " + reason;
    }
  }
  return {};
}

bool Server::Impl::loading() const {
  return std::any_of(hub_.services.begin(), hub_.services.end(), [](const auto& service) {
    return service->worker.state() == Worker::State::loading;
  });
}

void Server::Impl::open() {
  const ServerOptions& o = hub_.options;
  ErrorCode error;
  Tcp::resolver resolver(io_);
  const auto found =
      resolver.resolve(o.host, std::to_string(o.port), Tcp::resolver::passive, error);
  require(!error && !found.empty(), "host {}: {}", o.host, error.message());
  const Tcp::endpoint where = found.begin()->endpoint();
  acceptor_.open(where.protocol(), error);
  if (!error) acceptor_.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(where, error);
  if (!error) acceptor_.listen(1024, error);
  require(!error, "cannot listen on {} port {}: {}; choose another with --port", o.host, o.port,
          error.message());
  port_ = acceptor_.local_endpoint().port();
  net::co_spawn(door_, accept(), net::detached);
}

void Server::Impl::start() {
  raise_file_limit();
  if (hub_.options.listen == ServerOptions::Listen::at_once) open();
  for (auto& service : hub_.services) service->worker.start();
  if (hub_.options.listen == ServerOptions::Listen::when_ready) {
    std::unique_lock lock(mutex_);
    state_changed_.wait(lock, [this] { return !loading(); });
    open();
  }
  for (int i = 0; i < std::max(1, hub_.options.io_threads); ++i) {
    threads_.emplace_back([this] { io_.run(); });
  }
}

net::awaitable<void> Server::Impl::accept() {
  net::steady_timer pause(door_);
  while (!hub_.stopping) {
    ErrorCode error;
    Tcp::socket socket = co_await acceptor_.async_accept(net::make_strand(io_), into(error));
    if (error && hub_.stopping) co_return;
    if (error) {  // out of files, or a client that is gone already
      pause.expires_after(std::chrono::milliseconds(20));
      co_await pause.async_wait(into(error));
      continue;
    }
    // Who came first and has said nothing makes room.
    constexpr std::size_t kMostWaiting = 512;
    if (hub_.waiting.size() >= kMostWaiting) hub_.waiting.cut_oldest();
    const auto executor = socket.get_executor();
    net::co_spawn(executor, serve(std::move(socket)), net::detached);
  }
}

net::awaitable<void> Server::Impl::serve(Tcp::socket socket) {
  ++hub_.counters.connections;
  ++hub_.counters.connections_now;
  ErrorCode ignored;
  constexpr int kBuffer = 1 << 18;
  socket.set_option(Tcp::no_delay(true), ignored);
  socket.set_option(net::socket_base::keep_alive(true), ignored);
  socket.set_option(net::socket_base::receive_buffer_size(kBuffer), ignored);
  socket.set_option(net::socket_base::send_buffer_size(kBuffer), ignored);
  try {
    if (tls_) {
      co_await serve_tls(std::move(socket), hub_, *tls_);
    } else {
      co_await serve_plain(std::move(socket), hub_);
    }
  } catch (const std::exception&) {
    // This connection is over; its frame gave everything back.
  }
  --hub_.counters.connections_now;
}

net::awaitable<void> Server::Impl::cut_later() {
  if (finished_) co_return;
  ErrorCode error;
  stop_timer_.expires_after(seconds(hub_.options.stop_timeout));
  co_await stop_timer_.async_wait(into(error));
  if (!error) hub_.sessions.cut_all();
}

void Server::Impl::stop() {
  if (hub_.stopping.exchange(true)) return;
  changed();
  for (auto& service : hub_.services) service->worker.stop();
  net::post(door_, [this] {
    ErrorCode ignored;
    acceptor_.close(ignored);
    net::co_spawn(door_, cut_later(), net::detached);
  });
  hub_.waiting.cut_all();
  hub_.sessions.leave_all();
}

void Server::Impl::wait() {
  {
    std::unique_lock lock(mutex_);
    state_changed_.wait(lock, [this] { return hub_.stopping.load(); });
  }
  for (auto& service : hub_.services) service->worker.join();
  while (hub_.counters.connections_now > 0 && !threads_.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  net::post(door_, [this] {
    finished_ = true;
    stop_timer_.cancel();
  });
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Server::Server(ServerOptions options, std::vector<Offer> offers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(offers))) {}
Server::~Server() = default;
void Server::start() { impl_->start(); }
std::uint16_t Server::port() const { return impl_->port(); }
void Server::stop() { impl_->stop(); }
void Server::wait() { impl_->wait(); }
bool Server::loading() const { return impl_->loading(); }
std::string Server::failure() const { return impl_->failure(); }

}  // namespace tendon::server
