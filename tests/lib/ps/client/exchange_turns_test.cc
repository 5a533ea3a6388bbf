// A worker's conversation with ps 0 in runs where ps 0 decides: tokens, notices and repeated messages.
#include "lib/ps/client/exchange.h"

#include "tests/support/catch.h"
#include "tests/support/exchange_script.h"

namespace distmnist::trace {
namespace {

// A worker that waits for its turn, with sequence 2.
struct Waiting : Script {
  Waiting() {
    start();
    exchange.begin({MessageType::kToken, 2, kRun, 5, 50}, now);
    exchange.add({MessageType::kPush, WireDtype::kF32, 0, {0, 2}, std::as_bytes(std::span(values))});
    exchange.add(commit);
    exchange.end(now);
    take();
  }
  Lines token(std::int64_t commit_count, bool accepted = true) {
    Message message = ps.record(MessageType::kToken, encode(TokenRecord{accepted, 0, 0, 100, {}}));
    message.header.sequence = 2;
    message.header.commit = message.header.step = commit_count;
    return says(std::move(message));
  }
  Lines says_why(const std::string& text, std::uint64_t sequence = 2) {
    Message message = ps.record(MessageType::kNotice, encode(NoticeRecord{text}));
    message.header.sequence = sequence;
    return says(std::move(message));
  }

  std::vector<float> values = {1, 2};
  RequestPart commit{MessageType::kCommit, WireDtype::kNone, 0, {}, {}, 7};
};

}  // namespace

TEST_CASE(
    "a push and its commit name the step and the samples, and the commit names the updates of the other ps tasks") {
  Waiting worker;
  const Header& push = worker.sent[worker.sent.size() - 2];
  const Header& commit = worker.sent.back();
  CHECK(push.type == MessageType::kPush);
  CHECK(commit.type == MessageType::kCommit);
  for (const Header& header : {push, commit}) {
    CHECK(header.step == 5);
    CHECK(header.samples == 50);
  }
  CHECK(commit.commit == 7);
}

TEST_CASE("a turn is complete with its token and all parameters, in any order") {
  for (const bool token_first : {true, false}) {
    Waiting worker;
    if (token_first) worker.token(1);
    worker.parameters(2, 0, {1, 2});
    CHECK_FALSE(worker.exchange.answered());
    CHECK(worker.parameters(2, 2, {3}) == Lines{"values 0 [2,3) 3"});
    if (!token_first) {
      CHECK_FALSE(worker.exchange.answered());
      worker.token(1);
    }
    CHECK(worker.exchange.answered());
    CHECK(worker.exchange.token().consumed_samples == 100);
    CHECK(worker.exchange.step() == 1);
    CHECK(worker.exchange.commit() == 1);
  }
}

TEST_CASE("if two answers arrive, only the newer one is used, with its token") {
  Waiting worker;
  worker.token(1, false);
  worker.parameters(2, 0, {1, 2}, 1);
  worker.parameters(2, 2, {4}, 2);
  worker.parameters(2, 0, {5, 6}, 2);
  CHECK_FALSE(worker.exchange.answered());  // the token belongs to the older answer
  CHECK(worker.token(1, false).empty());
  CHECK_FALSE(worker.exchange.answered());
  worker.token(2);
  CHECK(worker.exchange.answered());
  CHECK(worker.exchange.token().accepted);
}

TEST_CASE("a token for a different request or with an invalid record is dropped") {
  Waiting worker;
  worker.parameters(2, 0, {1, 2});
  worker.parameters(2, 2, {3});
  Message other = worker.ps.record(MessageType::kToken, encode(TokenRecord{}));
  other.header.sequence = 1;
  other.header.commit = 1;
  worker.says(std::move(other));
  Message broken = worker.ps.record(MessageType::kToken, frame_of(std::vector<float>{1}));
  broken.header.sequence = 2;
  broken.header.commit = 1;
  worker.says(std::move(broken));
  CHECK_FALSE(worker.exchange.answered());
}

TEST_CASE("a notice is passed on, and delays the repetition of the question") {
  Waiting worker;
  worker.now = kAnswerMs - 1;
  CHECK(worker.says_why("waiting for worker:2") == Lines{"notice ps:0 localhost:2222: waiting for worker:2"});
  CHECK(worker.says_why("of another question", 1).empty());
  CHECK(worker.tick(kAnswerMs) == Lines{});
  CHECK(worker.tick(2 * kAnswerMs - 2) == Lines{"send ping seq 2"});
  worker.says(MessageType::kPong, 2);
  const Lines lines = worker.tick(2 * kAnswerMs - 1);
  REQUIRE(lines.size() == 3);
  CHECK(holds(lines[0], "has not answered a request for 15.0 s"));
  CHECK(lines[1] == "send push seq 2 [0,2) 1 2");
  CHECK(lines[2] == "send commit seq 2");
}

TEST_CASE("a staged push is answered") {
  Script worker;
  worker.start();
  worker.exchange.begin({MessageType::kStaged, 2, kRun, 0, 50}, worker.now);
  worker.exchange.add({MessageType::kPush, WireDtype::kF32, 0, {2, 1}, {}});
  worker.says(MessageType::kStaged, 1);  // answers an earlier push
  CHECK_FALSE(worker.exchange.answered());
  Message staged{worker.ps.header_of(MessageType::kStaged, 2), {}};
  staged.header.commit = 9;
  worker.says(std::move(staged));
  CHECK(worker.exchange.answered());
  CHECK(worker.exchange.commit() == 9);
}

TEST_CASE("an answer that arrives before the push is complete leaves nothing to send") {
  Script worker;
  worker.start();
  worker.exchange.begin({MessageType::kToken, 2, kRun, 0, 50}, worker.now);
  worker.exchange.add({MessageType::kPush, WireDtype::kF32, 0, {0, 2}, {}});
  worker.parameters(2, 0, {1, 2});
  worker.parameters(2, 2, {3});
  Message token = worker.ps.record(MessageType::kToken, encode(TokenRecord{}));
  token.header.sequence = 2;
  token.header.commit = 1;
  worker.says(std::move(token));
  REQUIRE(worker.exchange.answered());
  worker.take();
  worker.exchange.add({MessageType::kPush, WireDtype::kF32, 0, {2, 1}, {}});
  worker.exchange.add({MessageType::kCommit, WireDtype::kNone, 0, {}, {}});
  worker.exchange.end(worker.now);
  CHECK(worker.take().empty());
  CHECK(worker.exchange.answered());
}

}  // namespace distmnist::trace
