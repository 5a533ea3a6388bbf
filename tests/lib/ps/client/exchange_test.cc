#include "lib/ps/client/exchange.h"

#include "tests/support/catch.h"
#include "tests/support/exchange_script.h"

namespace distmnist::trace {

// ---- Greeting ----

TEST_CASE("an exchange sends a greeting when it is connected, and is open when the ps has a model") {
  Script worker;
  CHECK_FALSE(worker.exchange.wants_connection());
  CHECK(worker.open().empty());
  CHECK(worker.exchange.wants_connection());
  CHECK(worker.connect() == Lines{"send hello seq 1"});
  CHECK_FALSE(worker.exchange.opened());
  worker.welcome(ModelState::kReady, 12);
  CHECK(worker.exchange.opened());
  CHECK(worker.exchange.step() == 12);
  CHECK(worker.exchange.run() == kRun);
  CHECK(worker.exchange.lease() == 3);
  CHECK(worker.exchange.ps_epoch() == kEpoch);
}

TEST_CASE("an answer with an impossible number of steps or updates is ignored") {
  Script worker;
  worker.start();
  worker.push(2);
  const auto says = [&](std::int64_t step, std::int64_t commit) {
    Message message = worker.ps.values_of(MessageType::kParameters, 2, 0, {1, 2}, 0, commit);
    message.header.step = step;
    return worker.says(std::move(message));
  };
  CHECK(says(-1, 1).empty());
  CHECK(says(kMaxCount + 1, 1).empty());
  CHECK(says(1, kMaxCount + 1).empty());
  CHECK(says(kMaxCount, kMaxCount) == Lines{"values 0 [0,2) 1 2"});
}

TEST_CASE("parameters are accepted in the requested type only, and are returned as float32") {
  Script worker;
  worker.start();
  worker.exchange.begin({MessageType::kParameters, 2, kRun, 0, 50, WireDtype::kBf16}, worker.now);
  worker.exchange.add({MessageType::kPull, WireDtype::kNone, 0, {}, {}});
  CHECK(worker.sent.back().wants == WireDtype::kBf16);
  worker.take();
  const auto says = [&](std::int64_t offset, const std::vector<float>& values, WireDtype dtype) {
    Message message = worker.ps.values_of(MessageType::kParameters, 2, offset, values, 0, 1);
    message.payload = frame_of(values, dtype);
    message.header.dtype = dtype;
    return worker.says(std::move(message));
  };
  CHECK(says(0, {1, 2}, WireDtype::kF32).empty());
  CHECK(says(0, {1, 2}, WireDtype::kBf16) == Lines{"values 0 [0,2) 1 2"});
  CHECK_FALSE(worker.exchange.answered());
  CHECK(says(2, {3}, WireDtype::kBf16) == Lines{"values 0 [2,3) 3"});
  CHECK(worker.exchange.answered());
}

TEST_CASE("a hello contains the container's number and no session") {
  Script worker;
  worker.open();
  worker.connect();
  const Header& hello = worker.sent.back();
  CHECK(hello.container == container_id(""));
  CHECK(hello.worker == 1);
  CHECK(hello.incarnation == kIncarnation);
  CHECK(hello.run == 0);
  CHECK(hello.lease == 0);
  CHECK(hello.ps_epoch == 0);
}

TEST_CASE("a worker waits for the model, and the chief is open without one") {
  Script worker, chief(true);
  for (Script* script : {&worker, &chief}) {
    script->open();
    script->connect();
    script->ps.run = 0;
    script->welcome(ModelState::kAwaitingModel);
  }
  CHECK_FALSE(worker.exchange.opened());
  CHECK(chief.exchange.opened());
  worker.ps.run = kRun;
  worker.welcome();  // reported without another question
  CHECK(worker.exchange.opened());
}

TEST_CASE("a worker that learns of a model but missed the welcome sends its greeting again") {
  Script worker;
  worker.open();
  worker.connect();
  worker.ps.run = 0;
  worker.welcome(ModelState::kAwaitingModel);
  CHECK(any_holds(worker.tick(kPingAfterMs), "send ping"));
  CHECK(worker.says(MessageType::kPong).empty());
  CHECK(any_holds(worker.tick(2 * kPingAfterMs), "send ping"));
  worker.ps.run = kRun;  // the model has arrived, and the connection broke at that moment
  CHECK(worker.says(MessageType::kPong) == Lines{"send hello seq 1"});
  worker.welcome();
  CHECK(worker.exchange.opened());
}

TEST_CASE("a worker that waits for the model gives up at the deadline and names the chief") {
  Script worker;
  worker.open();
  worker.connect();
  worker.ps.run = 0;
  worker.welcome(ModelState::kAwaitingModel);
  Lines reports;
  for (TimeMs time = 1000; time <= kWaitMs && !worker.exchange.failure(); time += 1000) {
    for (const std::string& line : worker.tick(time)) {
      if (holds(line, "report")) reports.push_back(line);
      if (holds(line, "ping")) worker.says(MessageType::kPong);
    }
  }
  CHECK(reports.size() >= 3);
  CHECK(any_holds(reports, "ps:0 localhost:2222 has no model yet: worker:0 (the chief) has not initialised it"));
  CHECK(failed_with(worker, ExitCode::kLostPeer, "worker:0 (the chief)"));
  CHECK(failed_with(worker, ExitCode::kLostPeer, "gave up after 60 s"));
}

TEST_CASE("a refusal is a failure with its code and reason") {
  Script worker;
  worker.open();
  worker.connect();
  worker.refuse(5, "--batch_size is 100 here but 50 at the chief");
  CHECK(failed_with(worker, ExitCode::kVersion, "refused by ps:0 localhost:2222: --batch_size is 100 here but 50"));
}

TEST_CASE("a refusal's code is limited to valid exit codes, and never 0") {
  for (const auto& [code, expected] : {std::pair{0, 1}, {-7, 1}, {1'000'000, 255}}) {
    Script worker;
    worker.start();
    worker.refuse(code, "x");
    REQUIRE(worker.exchange.failure());
    CHECK(static_cast<int>(worker.exchange.failure()->code) == expected);
  }
  Script worker;
  worker.start();
  worker.says(MessageType::kRefuse);  // without a record
  CHECK(failed_with(worker, ExitCode::kInternal, "no reason given"));
}

TEST_CASE("a ps of another protocol version is a failure that names both") {
  Script worker;
  worker.open();
  worker.connect();
  Received other;
  other.fault = HeaderFault::kVersion;
  other.message.header.version = 9;
  worker.exchange.on_message(std::move(other), 0);
  CHECK(failed_with(worker, ExitCode::kVersion, "speaks protocol version 9, but this program speaks 5"));
}

TEST_CASE("broken messages and messages for other processes are ignored") {
  Script worker;
  worker.open();
  worker.connect();
  Message welcome = worker.ps.record(MessageType::kWelcome, encode(WelcomeRecord{ModelState::kReady, 0, {}}));
  const auto ignored = [&](auto change) {
    Received received = trace::received(copy_of(welcome));
    change(received);
    worker.exchange.on_message(std::move(received), 0);
    return !worker.exchange.opened();
  };
  CHECK(ignored([](Received& r) { r.message.header.worker = 0; }));
  CHECK(ignored([](Received& r) { r.message.header.incarnation = 9; }));
  CHECK(ignored([](Received& r) { r.fault = HeaderFault::kChecksum; }));
  CHECK(ignored([](Received& r) { r.message.payload = {}; }));
  CHECK_FALSE(ignored([](Received&) {}));
}

// ---- Reaching a ps ----

TEST_CASE("a refused connection is reported and tried again until the deadline") {
  Script worker;
  worker.open();
  worker.exchange.on_unreachable("cannot be reached (connection refused)", 0);
  CHECK(worker.tick(kFirstReportMs - 1).empty());
  CHECK(worker.tick(kFirstReportMs) ==
        Lines{"report ps:0 localhost:2222 cannot be reached (connection refused); trying for another 59 s"});
  CHECK(worker.tick(kFirstReportMs + kReportEveryMs - 1).empty());
  CHECK(worker.tick(kFirstReportMs + kReportEveryMs).size() == 1);
  CHECK(worker.exchange.wants_connection());
  worker.tick(kWaitMs - 1);
  CHECK_FALSE(worker.exchange.failure());
  worker.tick(kWaitMs);
  CHECK(failed_with(worker, ExitCode::kLostPeer,
                    "ps:0 localhost:2222 cannot be reached (connection refused); gave up after 60 s"));
}

TEST_CASE("a ps that accepts connections and never answers is given up at the same deadline") {
  Script worker;
  worker.open();
  worker.connect();
  Lines out;
  for (TimeMs time = 1000; time <= kWaitMs && !worker.exchange.failure(); time += 1000) {
    out = out + worker.tick(time);
    if (worker.exchange.wants_connection()) out = out + worker.connect();
  }
  CHECK(any_holds(out, "report ps:0 localhost:2222 silent for 15.0 s"));
  CHECK(failed_with(worker, ExitCode::kLostPeer, "gave up after 60 s"));
  CHECK_FALSE(any_holds(out, "ping"));  // a ping without a session would only be answered with `stale`
}

TEST_CASE("any message from the ps ends the trouble, and the next trouble has a new deadline") {
  Script worker;
  worker.open();
  worker.tick(50'000);
  worker.connect();
  worker.welcome();
  worker.push(2);
  worker.tick(65'000);
  CHECK(worker.exchange.wants_connection());
  worker.tick(80'000);
  CHECK_FALSE(worker.exchange.failure());
  worker.tick(65'000 + kWaitMs);
  CHECK(failed_with(worker, ExitCode::kLostPeer, "silent for 15.0 s"));
}

// ---- Requests ----

TEST_CASE("a push is sent part by part, and ends when its answer has every chunk") {
  Script worker;
  worker.start();
  CHECK(worker.push(2) == kPushLines);
  CHECK_FALSE(worker.exchange.answered());
  CHECK(worker.parameters(2, 2, {-3}) == Lines{"values 0 [2,3) -3"});
  CHECK_FALSE(worker.exchange.answered());
  CHECK(worker.parameters(2, 0, {-1, -2}) == Lines{"values 0 [0,2) -1 -2"});
  CHECK(worker.exchange.answered());
  CHECK(worker.exchange.step() == 1);
}

TEST_CASE("a repeated chunk of an answer counts once") {
  Script worker;
  worker.start();
  worker.push(2);
  CHECK(worker.parameters(2, 2, {-3}).size() == 1);
  CHECK(worker.parameters(2, 2, {-3}).empty());
  CHECK_FALSE(worker.exchange.answered());
}

TEST_CASE("an answer belongs to one commit: a later chunk starts it again, and an earlier chunk is dropped") {
  Script worker;
  worker.start();
  worker.push(2);
  worker.parameters(2, 0, {-1, -2}, 5);  // then the connection broke, and the push was sent and answered again
  CHECK(worker.parameters(2, 2, {-8}, 7) == Lines{"values 0 [2,3) -8"});
  CHECK_FALSE(worker.exchange.answered());
  CHECK(worker.parameters(2, 0, {-1, -2}, 5).empty());
  CHECK_FALSE(worker.exchange.answered());
  CHECK(worker.parameters(2, 0, {-6, -7}, 7) == Lines{"values 0 [0,2) -6 -7"});
  CHECK(worker.exchange.answered());
  CHECK(worker.exchange.step() == 7);
}

TEST_CASE("late answers to earlier requests and from other runs are ignored") {
  Script worker;
  worker.start();
  worker.push(2);
  worker.parameters(2, 0, {-1, -2});
  worker.parameters(2, 2, {-3});
  worker.push(3);
  CHECK(worker.parameters(2, 0, {9, 9}).empty());
  CHECK(worker.parameters(4, 0, {9, 9}).empty());
  Message other_run = worker.ps.values_of(MessageType::kParameters, 3, 0, {9, 9}, 0, 1);
  other_run.header.run = kRun + 1;
  CHECK(worker.says(std::move(other_run)).empty());
  CHECK(worker.says(MessageType::kDoneAck, 3).empty());
  CHECK_FALSE(worker.exchange.answered());
  CHECK(worker.parameters(3, 0, {-1, -2}).size() == 1);
  CHECK(worker.parameters(3, 2, {-3}).size() == 1);
  CHECK(worker.exchange.answered());
}

TEST_CASE("invalid ranges and values that are not parameters are ignored") {
  Script worker;
  worker.start();
  worker.push(2);
  CHECK(worker.parameters(2, 0, {1, 2, 3}).empty());
  CHECK(worker.parameters(2, 1, {1, 2}).empty());
  CHECK(worker.parameters(2, 3, {1}).empty());
  CHECK(worker.says(worker.ps.values_of(MessageType::kParameters, 2, 0, {1, 2}, 1, 1)).empty());  // a slot
  CHECK(worker.snapshot_data(2, 0, 0, {1, 2}).empty());
  CHECK_FALSE(worker.exchange.answered());
}

TEST_CASE("parts added while the connection is being made are sent when it is ready") {
  Script worker;
  worker.start();
  worker.exchange.on_broken("cannot be reached", worker.now);
  worker.take();
  CHECK(worker.push(2).empty());
  CHECK(worker.connect() == Lines{"send hello seq 1"});
  CHECK(worker.welcome() == kPushLines);
}

TEST_CASE("a request that a running ps does not answer is sent again with the same sequence") {
  Script worker;
  worker.start();
  worker.push(2);
  CHECK(worker.tick(kPingAfterMs) == Lines{"send ping seq 2"});
  worker.says(MessageType::kPong);
  CHECK(worker.tick(2 * kPingAfterMs) == Lines{"send ping seq 2"});
  worker.says(MessageType::kPong);
  CHECK(worker.tick(kAnswerMs - 1).empty());
  CHECK(
      worker.tick(kAnswerMs) ==
      Lines{"send ping seq 2",
            "report ps:0 localhost:2222 is alive but has not answered a request for 15.0 s, last step 0: asking again",
            "send push seq 2 [0,2) 1 2", "send push seq 2 [2,3) 3"});
}

// Until `end`, the ps answers pings and greetings but no request.
Lines ignored_until(Script& worker, TimeMs end) {
  Lines out;
  for (TimeMs time = worker.now + 1000; time <= end && !worker.exchange.failure(); time += 1000) {
    for (const std::string& line : worker.tick(time)) {
      out.push_back(line);
      if (holds(line, "ping")) worker.says(MessageType::kPong);
    }
  }
  return out;
}

TEST_CASE("a request that a running ps does not answer twice ends the session, and in the end the task") {
  Script worker;
  worker.start();
  worker.push(2);
  ignored_until(worker, 2 * kAnswerMs - 1);
  CHECK(worker.exchange.stale().empty());
  ignored_until(worker, 2 * kAnswerMs);
  CHECK(holds(worker.exchange.stale(), "ps:0 localhost:2222 is alive but has not answered a request for 30.0 s"));
  // The session is opened again, but that is no answer to a request.
  CHECK(worker.open(3) == Lines{"send hello seq 3"});
  worker.welcome();
  worker.push(4);
  CHECK(
      any_holds(ignored_until(worker, 2 * kWaitMs), "is alive but does not answer requests, last step 0; trying for"));
  CHECK(
      failed_with(worker, ExitCode::kLostPeer, "is alive but does not answer requests, last step 0; gave up after 60"));
}

TEST_CASE("an answer ends the count of the time without one") {
  Script worker;
  worker.start();
  worker.push(2);
  ignored_until(worker, 2 * kAnswerMs);
  worker.open(3);
  worker.welcome();
  worker.push(4);
  worker.parameters(4, 0, {1, 2});
  worker.parameters(4, 2, {3});
  REQUIRE(worker.exchange.answered());
  ignored_until(worker, 4 * kWaitMs);
  CHECK_FALSE(worker.exchange.failure());
}

TEST_CASE("a request whose last part waits for other ps tasks is not expected to be answered") {
  Script worker;
  worker.start();
  worker.exchange.begin({MessageType::kToken, 2, kRun}, worker.now);
  worker.exchange.pause(worker.now);
  ignored_until(worker, 4 * kAnswerMs);
  CHECK(worker.exchange.stale().empty());
  CHECK_FALSE(worker.exchange.failure());
}

TEST_CASE("a greeting without an answer is sent again, at growing intervals") {
  Script worker;
  worker.open();
  worker.connect();
  Lines hellos;
  for (TimeMs time = 100; time < kSilenceMs; time += 100) {
    for (const std::string& line : worker.tick(time)) {
      if (holds(line, "hello")) hellos.push_back(fmt::format("{} s", time / 1000));
    }
  }
  CHECK(hellos == Lines{"1 s", "3 s", "7 s"});
  CHECK(any_holds(worker.tick(kSilenceMs), "reconnect"));
}

TEST_CASE(
    "a message sent again over the same connection is a copy, because the first answer may arrive before it is sent") {
  Script worker;
  worker.start();
  const auto lifetimes_of = [&](const Lines& lines) {
    CHECK(lines == kPushLines);
    return std::vector(worker.lifetimes.end() - 2, worker.lifetimes.end());
  };
  const std::vector borrowed(2, Lifetime::kUntilAnswered), copied(2, Lifetime::kCall);
  CHECK(lifetimes_of(worker.push(2)) == borrowed);
  worker.exchange.on_message(received({worker.ps.header_of(MessageType::kPong, 2), {}}), kAnswerMs - 1);
  Lines again = worker.tick(kAnswerMs);
  again.erase(again.begin());  // the report
  CHECK(lifetimes_of(again) == copied);
  worker.says(MessageType::kStale);  // greeted again over the same connection
  worker.take();
  CHECK(lifetimes_of(worker.welcome()) == copied);
  worker.exchange.on_broken("closed the connection", worker.now);
  worker.take();
  worker.connect();
  CHECK(lifetimes_of(worker.welcome()) == borrowed);
}

TEST_CASE("a connection that transfers bytes is not silent, and a request in transit is not sent again") {
  Script worker;
  worker.start();
  worker.exchange.on_progress(1);  // progress of an unrelated message
  worker.push(2);
  for (TimeMs time = 4'000; time <= 4 * kSilenceMs; time += 4'000) {
    worker.exchange.on_progress(time);
    CHECK(worker.tick(time + kPingAfterMs - 1).empty());
  }
  const TimeMs last = worker.now;
  CHECK(any_holds(worker.tick(last + kSilenceMs), "reconnect"));
}

TEST_CASE("silence ends the connection; a new connection sends a greeting and repeats the request") {
  Script worker;
  worker.start();
  worker.push(2);
  CHECK_FALSE(any_holds(worker.tick(kSilenceMs - 1), "reconnect"));
  CHECK(worker.tick(kSilenceMs) ==
        Lines{"reconnect", "report ps:0 localhost:2222 silent for 15.0 s, last step 0; trying for another 60 s"});
  CHECK(worker.exchange.wants_connection());
  CHECK(worker.connect() == Lines{"send hello seq 1"});
  worker.ps.lease = 4;
  CHECK(worker.welcome() == kPushLines);
  CHECK(worker.sent.back().lease == 4);
  CHECK(worker.exchange.stale().empty());
}

TEST_CASE("a worker that computes for long is not waiting, and the silence limit starts at its next question") {
  Script worker;
  worker.start();
  CHECK(worker.tick(100'000).empty());
  CHECK(worker.push(2) == kPushLines);
  CHECK(worker.tick(100'001).empty());
}

TEST_CASE("a connection that the caller reports as broken is replaced at once, and this is logged once") {
  Script worker;
  worker.start();
  worker.push(2);
  worker.exchange.on_broken("cannot be reached (connection refused)", 2000);
  CHECK(worker.take() == Lines{"reconnect"});
  worker.exchange.on_broken("cannot be reached (connection refused)", 2000);
  CHECK(worker.take().empty());
  CHECK(worker.tick(2000) ==
        Lines{"report ps:0 localhost:2222 cannot be reached (connection refused); trying for another 60 s"});
}

}  // namespace distmnist::trace
