// Mixed load on `tendon serve` for a while, after which every answer was right and memory is flat.
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "tests/support/policy_client.h"

namespace {

using namespace tendon::testing_support;
using tendon::wire::Encoder;

struct Options {
  std::string tendon, work;
  double seconds = 600;
  double allowed_mib = 16;  // between middle and end; connections under way are 8 of them
};

// The server as a process of its own.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> command) {
    int out[2];
    tendon::require(pipe(out) == 0, "pipe failed");
    child_ = fork();
    if (child_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      close(out[0]);
      std::vector<char*> argv;
      for (std::string& word : command) argv.push_back(word.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(out[1]);
    out_ = fdopen(out[0], "r");
    char line[512];
    while (port_ == 0 && std::fgets(line, sizeof line, out_) != nullptr) {
      const std::string text = line;
      if (text.starts_with("robots")) port_ = std::stoi(text.substr(text.rfind(':') + 1));
    }
    tendon::require(port_ != 0, "the server did not start");
  }
  ~ServerProcess() { std::fclose(out_); }

  std::uint16_t port() const { return static_cast<std::uint16_t>(port_); }
  double resident_mib() const {
    std::ifstream file(fmt::format("/proc/{}/statm", child_));
    double pages = 0, resident = 0;
    file >> pages >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1048576.0;
  }
  // Exit code after SIGINT.
  int stop() {
    kill(child_, SIGINT);
    int status = 0;
    waitpid(child_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t child_ = -1;
  std::FILE* out_ = nullptr;
  int port_ = 0;
};

std::string observation(int side) {
  const std::string pixels(static_cast<std::size_t>(side) * static_cast<std::size_t>(side) * 3,
                           'x');
  const std::int64_t size[] = {side, side, 3}, eight[] = {8};
  const double state[8] = {0.1, 0.2, 0.3};
  Encoder out;
  out.map(4).text("observation/image").ndarray("|u1", size, pixels);
  out.text("observation/wrist_image").ndarray("|u1", size, pixels);
  out.text("observation/state").ndarray(tendon::ArrayType::f64, eight, state);
  return out.text("prompt").text("put the bowl on the plate").str();
}

struct Load {
  std::uint16_t port;
  std::atomic<bool> over{false};
  std::atomic<int> answered{0}, wrong{0}, refused{0}, died{0}, http{0};
};

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// Asks and waits; stays for a hundred requests, then comes back.
void robot(Load& load, int side) {
  const std::string request = observation(side);
  while (!load.over) {
    PolicyClient client(load.port);
    client.receive();
    for (int i = 0; i < 100 && !load.over; ++i) {
      client.ask(request);
      ++(client.text() ? load.wrong : load.answered);
      pause_ms(20);
    }
    client.close();
  }
}

void send_garbage(Load& load) {
  for (int i = 0; !load.over; ++i) {
    PolicyClient client(load.port);
    client.receive();
    client.ask(i % 2 ? std::string("\x81\xa1x") : Encoder().map(1).text("prompt").text("x").str());
    ++(client.text() ? load.refused : load.wrong);
    pause_ms(30);
  }
}

void die_under_way(Load& load) {
  const std::string request = observation(224);
  while (!load.over) {
    auto client = std::make_unique<PolicyClient>(load.port);
    client->receive();
    client->send(request);
    client->stream().next_layer().set_option(net::socket_base::linger(true, 0));
    client.reset();
    ++load.died;
    pause_ms(50);
  }
}

void look(Load& load) {
  while (!load.over) {
    for (const char* page : {"/live.json", "/live/picture/soak/0", "/metrics", "/", "/nowhere"}) {
      http(load.port, page);
      ++load.http;
    }
    pause_ms(100);
  }
}

void crowd(Load& load) {
  while (!load.over) {
    net::io_context io;
    std::vector<net::ip::tcp::socket> idle;
    for (int i = 0; i < 50; ++i) idle.push_back(connect(io, load.port));
    pause_ms(200);
  }
}

// A client that breaks here is a finding: the server was to serve it.
template <class Work>
std::thread keep(Load& load, const char* who, Work work) {
  return std::thread([&load, who, work] {
    try {
      work();
    } catch (const std::exception& e) {
      fmt::print("{}: {}\n", who, e.what());
      ++load.wrong;
    }
  });
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

int run(const Options& o) {
  std::filesystem::create_directories(o.work);
  const std::string model = o.work + "/pi05_mini";
  if (!std::filesystem::exists(model)) {
    const std::string synth =
        fmt::format("'{}' synth pi05 --size mini --contract pi05_libero --out '{}' >/dev/null",
                    o.tendon, model);
    tendon::require(std::system(synth.c_str()) == 0, "synth failed");
  }
  ServerProcess server({o.tendon, "serve", "soak=" + model, "--port", "0", "--threads", "1",
                        "--max-connections", "16"});
  Load load{.port = server.port()};
  std::vector<std::thread> clients;
  for (const int side : {224, 96, 480}) {
    clients.push_back(keep(load, "robot", [&load, side] { robot(load, side); }));
  }
  clients.push_back(keep(load, "garbage", [&load] { send_garbage(load); }));
  clients.push_back(keep(load, "dying", [&load] { die_under_way(load); }));
  clients.push_back(keep(load, "page", [&load] { look(load); }));
  clients.push_back(keep(load, "crowd", [&load] { crowd(load); }));
  std::vector<double> memory;
  int before = 0, least = std::numeric_limits<int>::max();  // answers in ten seconds
  const tendon::Stopwatch watch;
  while (watch.seconds() < o.seconds) {
    pause_ms(250);
    memory.push_back(server.resident_mib());
    if (memory.size() % 40 != 0) continue;
    const int now = load.answered;
    least = std::min(least, now - before);
    fmt::print("{:6.1f} s {:8.2f} MiB {:6} answered\n", watch.seconds(), memory.back(),
               now - before);
    std::fflush(stdout);
    before = now;
  }
  load.over = true;
  for (std::thread& client : clients) client.join();
  const int code = server.stop();
  const auto part = [&](double from, double to) {
    const auto n = static_cast<double>(memory.size());
    return median({memory.begin() + static_cast<std::ptrdiff_t>(n * from),
                   memory.begin() + static_cast<std::ptrdiff_t>(n * to)});
  };
  const double middle = part(0.4, 0.6), end = part(0.8, 1.0);
  fmt::print("answered {}, refused {}, died {}, http {}, wrong {}; exit code {}\n",
             load.answered.load(), load.refused.load(), load.died.load(), load.http.load(),
             load.wrong.load(), code);
  fmt::print("memory: {:.2f} MiB in the middle, {:.2f} MiB at the end\n", middle, end);
  fmt::print("at least {} answers in any ten seconds\n", least);
  const bool flat = end - middle <= o.allowed_mib;
  const bool busy = load.answered > 10 && load.refused > 10 && load.died > 10 && load.http > 10;
  if (!flat) fmt::print("FAILED: memory grew\n");
  if (least == 0) fmt::print("FAILED: for ten seconds nobody was answered\n");
  if (!busy) fmt::print("FAILED: there was hardly any load\n");
  return flat && busy && least > 0 && load.wrong == 0 && code == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("mixed load on tendon serve; memory must stay flat");
  Options o;
  app.add_option("--tendon", o.tendon, "the command")->required();
  app.add_option("--work", o.work, "folder for the model")->required();
  app.add_option("--seconds", o.seconds, "how long");
  app.add_option("--allowed-mib", o.allowed_mib, "growth from the middle to the end");
  CLI11_PARSE(app, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  return run(o);
}
