#include "lib/ps/client/admin_client.h"

#include <atomic>
#include <thread>

#include "lib/cluster/address.h"
#include "lib/ps/records/control.h"
#include "lib/wire/network_server.h"
#include "lib/wire/transport.h"
#include "tests/support/catch.h"
#include "tests/support/loopback.h"
#include "tests/support/test_ps.h"

namespace distmnist {
namespace {

AdminConfig config_for(const std::vector<std::uint16_t>& ports) {
  static std::uint64_t clients = 0;
  AdminConfig config;
  for (const std::uint16_t port : ports) config.ps.push_back({"127.0.0.1", port});
  config.incarnation = ++clients;
  config.wait_ms = 60'000;
  return config;
}

std::vector<Frame> questions(VariableAction action, std::uint32_t num_ps = 1) {
  std::vector<Frame> out;
  for (std::uint32_t k = 0; k < num_ps; ++k) out.push_back(encode(VariableRecord{action, num_ps, k, "", "x", 1}));
  return out;
}

std::vector<AdminOutcome> ask(const AdminConfig& config, const std::vector<Frame>& records) {
  return ask_ps_tasks(config, MessageType::kVariable, MessageType::kVariableAnswer, records);
}

double value_of(const AdminOutcome& outcome) {
  REQUIRE(outcome.code == ExitCode::kOk);
  const auto answer = decode<VariableAnswerRecord>(outcome.answer.bytes());
  REQUIRE(answer);
  return answer->value;
}

// Receives questions on a port and answers from the `deaf`-th one on.
class HardOfHearing {
 public:
  explicit HardOfHearing(int deaf) : deaf_(deaf), thread_([this] { serve(); }) {}
  ~HardOfHearing() { stop(); }
  std::uint16_t port() const { return port_; }
  // The senders of the questions so far, as incarnation and sequence. Stops receiving.
  const std::vector<std::pair<std::uint64_t, std::uint64_t>>& heard() {
    stop();
    return heard_;
  }

 private:
  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void serve() {
    WireContext context;
    NetworkServer socket({.endpoints = {tcp_endpoint("127.0.0.1", port_)}});
    Sender from;
    while (!stopping_) {
      socket.poll(10);
      while (const auto received = socket.receive(from)) {
        const Header& header = received->message.header;
        heard_.emplace_back(header.incarnation, header.sequence);
        if (static_cast<int>(heard_.size()) < deaf_) continue;
        Header answer = answer_to(header, MessageType::kVariableAnswer, 1);
        answer.dtype = WireDtype::kRecord;
        socket.send(from.route, Message{answer, encode(VariableAnswerRecord{3, true, {}, {}})});
      }
    }
  }

  std::uint16_t port_ = free_port();
  int deaf_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> heard_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace

TEST_CASE("clients that connect one after another find the same variable on a ps") {
  const std::uint16_t port = free_port();
  RunningPs ps(port, {0, 1, 0, 1, true});
  CHECK(value_of(ask(config_for({port}), questions(VariableAction::kInit))[0]) == 1);
  CHECK(value_of(ask(config_for({port}), questions(VariableAction::kAdd))[0]) == 2);
  CHECK(value_of(ask(config_for({port}), questions(VariableAction::kAdd))[0]) == 3);
  ps.signal(ExitCode::kTerminated);
  CHECK(ps.wait() == ExitCode::kTerminated);
}

TEST_CASE("each ps gets a separate question, and a refusal is the outcome of that ps only") {
  const std::vector<std::uint16_t> ports = {free_port(), free_port()};
  RunningPs staying(ports[0], {0, 2, 0, 1, true}), leaving(ports[1], {1, 2, 1, 1, false});
  const auto outcomes = ask(config_for(ports), questions(VariableAction::kInit, 2));
  REQUIRE(outcomes.size() == 2);
  CHECK(value_of(outcomes[0]) == 1);
  CHECK(outcomes[1].code == ExitCode::kUsage);
  CHECK(outcomes[1].error.starts_with("ps:1 ends with its run"));
}

TEST_CASE("a ps that cannot be reached in time is lost, and the others answer") {
  const std::vector<std::uint16_t> ports = {free_port(), free_port()};
  RunningPs ps(ports[0], {0, 2, 0, 1, true});
  AdminConfig config = config_for(ports);
  config.wait_ms = 1'000;
  const auto outcomes = ask(config, questions(VariableAction::kInit, 2));
  CHECK(value_of(outcomes[0]) == 1);
  CHECK(outcomes[1].code == ExitCode::kLostPeer);
  CHECK(outcomes[1].error.starts_with("cannot be reached (connection refused); gave up after "));
}

TEST_CASE("a ps that accepts the connection and never answers is lost, too") {
  SilentListener silent;
  AdminConfig config = config_for({silent.port()});
  config.wait_ms = 500;
  const auto outcomes = ask(config, questions(VariableAction::kGet));
  CHECK(outcomes[0].code == ExitCode::kLostPeer);
  CHECK(outcomes[0].error.find("does not answer like a ps") != std::string::npos);
}

TEST_CASE("the client waits for a ps that starts later") {
  const std::uint16_t port = free_port();
  std::optional<RunningPs> ps;
  std::thread starter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ps.emplace(port, PsIdentity{0, 1, 0, 1, true});
  });
  const auto outcomes = ask(config_for({port}), questions(VariableAction::kInit));
  starter.join();
  CHECK(value_of(outcomes[0]) == 1);
}

TEST_CASE("a question without an answer is repeated with the same sequence") {
  HardOfHearing ps(2);
  const AdminConfig config = config_for({ps.port()});
  CHECK(value_of(ask(config, questions(VariableAction::kAdd))[0]) == 3);
  const auto heard = ps.heard();
  REQUIRE(heard.size() == 2);
  CHECK(heard[0] == heard[1]);
  CHECK(heard[0].first == config.incarnation);
}

TEST_CASE("a stop ends the wait") {
  AdminConfig config = config_for({free_port()});
  config.stop_requested = [] { return true; };
  try {
    ask(config, questions(VariableAction::kGet));
    FAIL("it waited until the deadline");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kInterrupted);
  }
}

}  // namespace distmnist
