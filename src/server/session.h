// A client's websocket: one coroutine reads, one writes, one pings, one watches the clock. All run
// on the stream's executor; only the policy runs elsewhere.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>

#include "base/clock.h"
#include "server/desk.h"
#include "server/net.h"

namespace tendon::server {

using HttpRequest = beast::http::request<beast::http::string_body>;

template <class Stream>
class Session final : public JobOwner, public Guest {
 public:
  Session(Stream&& stream, Hub& hub, Service& service);

  // Until the client or the server leaves, and every job is back.
  net::awaitable<void> run(HttpRequest upgrade);

  void done(std::unique_ptr<Job> job) noexcept override;
  void leave() noexcept override;
  void cut() noexcept override;

 private:
  net::awaitable<void> child(net::awaitable<void> work);
  void spawn(net::awaitable<void> work);
  net::awaitable<void> greet();
  net::awaitable<void> read_requests();
  net::awaitable<bool> read_message(std::vector<std::byte>& bytes);
  net::awaitable<void> handle(std::unique_ptr<Job> job);
  net::awaitable<void> write_messages();
  net::awaitable<void> close(Outgoing::After after);
  net::awaitable<void> ping();
  net::awaitable<void> watch();
  net::awaitable<void> finish();
  void configure();
  void returned(std::unique_ptr<Job> job);
  void push(Outgoing message);
  bool overdue(std::int64_t now) const;

  static constexpr std::size_t kMostAnswers = 16;  // that wait to be written

  beast::websocket::stream<Stream> ws_;
  Hub& hub_;
  Service& service_;
  Desk desk_;
  Bell bell_;
  net::steady_timer ping_timer_, watch_timer_;
  std::deque<Outgoing> outbox_;
  std::vector<std::unique_ptr<Job>> free_;
  std::size_t jobs_ = 0, jobs_out_ = 0;
  int children_ = 0;
  bool greeted_ = false, refused_ = false, leaving_ = false, over_ = false, closing_ = false;
  // Nanoseconds; 0: not under way.
  std::int64_t message_began_ = 0, write_began_ = 0, ping_sent_ = 0;
};

template <class Stream>
Session<Stream>::Session(Stream&& stream, Hub& hub, Service& service)
    : ws_(std::move(stream)),
      hub_(hub),
      service_(service),
      desk_(hub, service),
      bell_(ws_.get_executor()),
      ping_timer_(ws_.get_executor()),
      watch_timer_(ws_.get_executor()) {
  // One runs, one is being read; and for the newest of a client that does not wait for its answers,
  // one that waits. In the other modes such a client is no longer read.
  const std::size_t count = hub.options.queue.mode == QueueMode::latest ? 3 : 2;
  for (; jobs_ < count; ++jobs_) {
    free_.push_back(std::make_unique<Job>());
    free_.back()->owner = this;
  }
}

template <class Stream>
void Session<Stream>::configure() {
  namespace websocket = beast::websocket;
  beast::get_lowest_layer(ws_).expires_never();
  ws_.set_option(websocket::stream_base::timeout{
      .handshake_timeout =
          std::chrono::duration_cast<std::chrono::seconds>(seconds(hub_.options.request_timeout)),
      .idle_timeout = websocket::stream_base::none(),
      .keep_alive_pings = false});
  ws_.set_option(websocket::stream_base::decorator([](websocket::response_type& response) {
    response.set(beast::http::field::server, "tendon");
  }));
  ws_.read_message_max(hub_.options.max_message);
  ws_.auto_fragment(false);
  constexpr std::size_t kWriteBuffer = 65536;
  ws_.write_buffer_bytes(kWriteBuffer);
  ws_.control_callback([this](websocket::frame_type, beast::string_view) { ping_sent_ = 0; });
}

template <class Stream>
net::awaitable<void> Session<Stream>::run(HttpRequest upgrade) {
  configure();
  ErrorCode error;
  co_await ws_.async_accept(upgrade, into(error));
  if (error) co_return;
  const auto executor = ws_.get_executor();
  const std::uint64_t id = hub_.sessions.sign_in(
      *this, [executor](std::function<void()> call) { net::post(executor, std::move(call)); });
  if (hub_.stopping) leave();
  try {
    spawn(greet());
    spawn(write_messages());
    spawn(ping());
    spawn(watch());
    co_await read_requests();
  } catch (const std::exception&) {
    cut();  // out of memory: this client goes, the others stay
  }
  co_await finish();
  hub_.sessions.sign_out(id);
}

template <class Stream>
void Session<Stream>::spawn(net::awaitable<void> work) {
  net::co_spawn(ws_.get_executor(), child(std::move(work)), net::detached);
  ++children_;
}

template <class Stream>
net::awaitable<void> Session<Stream>::child(net::awaitable<void> work) {
  try {
    co_await std::move(work);
  } catch (const std::exception&) {
    cut();
  }
  --children_;
  bell_.ring();
}

// What is under way ends before the memory it uses does.
template <class Stream>
net::awaitable<void> Session<Stream>::finish() {
  while (closing_ && !over_) co_await bell_.wait();  // the close handshake, bounded by its timeout
  cut();
  for (auto& job : service_.worker.withdraw(this)) {
    --jobs_out_;
    service_.board.count(Outcome::dropped);
    free_.push_back(std::move(job));
  }
  ping_timer_.cancel();
  watch_timer_.cancel();
  while (children_ > 0 || jobs_out_ > 0) co_await bell_.wait();
}

template <class Stream>
void Session<Stream>::done(std::unique_ptr<Job> job) noexcept {
  net::post(ws_.get_executor(),
            [this, raw = job.release()] { returned(std::unique_ptr<Job>(raw)); });
}

template <class Stream>
void Session<Stream>::returned(std::unique_ptr<Job> job) {
  --jobs_out_;
  try {
    if (!over_) push(desk_.reply(*job));
  } catch (const std::exception&) {
    cut();
  }
  free_.push_back(std::move(job));
  bell_.ring();
}

template <class Stream>
void Session<Stream>::leave() noexcept {
  leaving_ = true;
  bell_.ring();
}

template <class Stream>
void Session<Stream>::cut() noexcept {
  over_ = true;
  beast::get_lowest_layer(ws_).close();
  bell_.ring();
}

template <class Stream>
void Session<Stream>::push(Outgoing message) {
  outbox_.push_back(std::move(message));
  bell_.ring();
}

// The first message says what the policy is, as soon as there is one.
template <class Stream>
net::awaitable<void> Session<Stream>::greet() {
  net::steady_timer timer(ws_.get_executor());
  while (!over_ && !leaving_ && service_.worker.state() == Worker::State::loading) {
    ErrorCode ignored;
    timer.expires_after(std::chrono::milliseconds(20));
    co_await timer.async_wait(into(ignored));
  }
  if (over_ || leaving_) co_return;
  if (service_.worker.state() == Worker::State::ready) {
    push({.bytes = metadata(service_)});
  } else {
    push({.form = Outgoing::Form::text,
          .after = Outgoing::After::close_error,
          .bytes = wire::error_text({"engine_failed", service_.worker.reason()})});
    refused_ = true;
  }
  greeted_ = true;
  bell_.ring();
}

template <class Stream>
net::awaitable<bool> Session<Stream>::read_message(std::vector<std::byte>& bytes) {
  constexpr std::size_t kFirst = 65536, kKept = std::size_t{8} << 20;
  std::size_t size = 0;
  do {
    // Memory follows what has come, not what was announced.
    if (size == bytes.size()) {
      bytes.resize(std::min(std::max(2 * size, kFirst), hub_.options.max_message + 1));
    }
    ErrorCode error;
    size += co_await ws_.async_read_some(net::buffer(bytes.data() + size, bytes.size() - size),
                                         into(error));
    if (error) co_return false;
    ping_sent_ = 0;
    if (message_began_ == 0) message_began_ = now_ns();
  } while (!ws_.is_message_done());
  message_began_ = 0;
  bytes.resize(size);
  if (bytes.capacity() > kKept && size < kKept / 8) bytes.shrink_to_fit();
  co_return true;
}

template <class Stream>
net::awaitable<void> Session<Stream>::read_requests() {
  for (;;) {
    // A client that does not read its answers is not read either.
    while ((free_.empty() || outbox_.size() >= kMostAnswers) && !over_) co_await bell_.wait();
    if (free_.empty()) co_return;
    std::unique_ptr<Job> job = std::move(free_.back());
    free_.pop_back();
    const bool came = co_await read_message(job->bytes);
    if (!came) {
      free_.push_back(std::move(job));
      co_return;
    }
    job->times.received = now_ns();
    while (!greeted_ && !leaving_ && !over_) co_await bell_.wait();
    if (refused_ || leaving_ || over_) {
      free_.push_back(std::move(job));
    } else {
      co_await handle(std::move(job));
    }
  }
}

template <class Stream>
net::awaitable<void> Session<Stream>::handle(std::unique_ptr<Job> job) {
  const auto frame = ws_.got_text() ? Desk::Frame::text : Desk::Frame::binary;
  Desk::Next next = desk_.receive(job, frame);
  std::optional<Outgoing> answer = std::move(next.message);
  if (next.run) {
    job = std::move(next.run);
    answer = desk_.submit(job);
    if (!job) ++jobs_out_;  // otherwise it, or the one that it replaced, is free
  } else {
    while (jobs_out_ > 0) co_await bell_.wait();  // answers keep the order of the requests
  }
  if (answer) {
    refused_ = answer->after != Outgoing::After::stay;
    push(std::move(*answer));
  }
  if (job) free_.push_back(std::move(job));
}

template <class Stream>
net::awaitable<void> Session<Stream>::write_messages() {
  while (!over_) {
    if (outbox_.empty()) {
      if (leaving_ && jobs_out_ == 0) co_return co_await close(Outgoing::After::close_away);
      co_await bell_.wait();
      continue;
    }
    const Outgoing message = std::move(outbox_.front());
    outbox_.pop_front();
    if (outbox_.size() + 1 == kMostAnswers) bell_.ring();
    message.form == Outgoing::Form::text ? ws_.text(true) : ws_.binary(true);
    write_began_ = now_ns();
    const std::int64_t first_byte = write_began_;
    ErrorCode error;
    co_await ws_.async_write(net::buffer(message.bytes), into(error));
    write_began_ = 0;
    if (error) {
      cut();
      co_return;
    }
    desk_.sent(message, first_byte, now_ns());
    if (message.after != Outgoing::After::stay) co_return co_await close(message.after);
  }
}

template <class Stream>
net::awaitable<void> Session<Stream>::close(Outgoing::After after) {
  namespace websocket = beast::websocket;
  const websocket::close_reason reason =
      after == Outgoing::After::close_away
          ? websocket::close_reason(websocket::close_code::going_away, "the server stops")
          : websocket::close_reason(websocket::close_code::internal_error,
                                    "refused; the reason is in the previous frame");
  closing_ = true;
  ErrorCode ignored;
  co_await ws_.async_close(reason, into(ignored));
  over_ = true;
  bell_.ring();
}

template <class Stream>
net::awaitable<void> Session<Stream>::ping() {
  const double interval = hub_.options.ping_interval;
  while (!over_ && interval > 0) {
    ErrorCode error;
    ping_timer_.expires_after(seconds(interval));
    co_await ping_timer_.async_wait(into(error));
    if (over_ || closing_) co_return;
    if (ping_sent_ == 0) ping_sent_ = now_ns();
    co_await ws_.async_ping({}, into(error));
    if (error) co_return;
  }
}

template <class Stream>
bool Session<Stream>::overdue(std::int64_t now) const {
  const ServerOptions& o = hub_.options;
  const auto beyond = [&](std::int64_t began, double limit) {
    return began != 0 && limit > 0 && static_cast<double>(now - began) * 1e-9 > limit;
  };
  return beyond(message_began_, o.message_timeout) || beyond(write_began_, o.message_timeout) ||
         beyond(ping_sent_, o.pong_timeout);
}

template <class Stream>
net::awaitable<void> Session<Stream>::watch() {
  while (!over_) {
    ErrorCode ignored;
    watch_timer_.expires_after(std::chrono::milliseconds(100));
    co_await watch_timer_.async_wait(into(ignored));
    if (over_ || !overdue(now_ns())) continue;
    ++hub_.counters.cut;
    cut();
    co_return;
  }
}

}  // namespace tendon::server
