#include "lib/wire/mailbox.h"

#include <chrono>
#include <future>
#include <thread>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

constexpr std::size_t kSize = 1'000;
constexpr Mailbox::Limits kLimits{
    .waiting_messages = 4, .waiting_bytes = 1u << 20, .unsent_messages = 2, .newcomers_bytes = 20 * kSize};

Received letter() {
  return {{{}, Frame::allocate(kSize)}, HeaderFault::kNone};
}

}  // namespace

TEST_CASE(
    "the bytes from all newcomers, including disconnected ones, are limited together; those of kept peers are not") {
  Mailbox mailbox(kLimits);
  mailbox.add_peer("kept");
  mailbox.order({Mailbox::Action::kKeep, "kept"});
  std::size_t taken_in = 0;
  for (int number = 0; number < 100; ++number) {
    const Sender from{std::to_string(number)};
    mailbox.add_peer(from.route);
    taken_in += mailbox.put(from, letter()) == Mailbox::Put::kReadOn;
    mailbox.drop_peer(from.route);
  }
  CHECK(taken_in < kLimits.newcomers_bytes / kSize);
  CHECK(taken_in > kLimits.newcomers_bytes / kSize / 2);
  CHECK(mailbox.put({"kept"}, letter()) == Mailbox::Put::kReadOn);
  Sender from;
  std::size_t taken_out = 0;
  while (mailbox.take(from)) ++taken_out;
  CHECK(taken_out == taken_in + 1);
  mailbox.add_peer("late");
  CHECK(mailbox.put({"late"}, letter()) == Mailbox::Put::kReadOn);
}

TEST_CASE("the owner is woken by the first message, and sleeps once all are taken") {
  Mailbox mailbox(kLimits);
  mailbox.add_peer("a");
  CHECK_FALSE(mailbox.poll(0));
  auto woken = std::async(std::launch::async, [&] { return mailbox.poll(60'000); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // gives it time to fall asleep
  mailbox.put({"a"}, letter());
  CHECK(woken.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  CHECK(woken.get());
  mailbox.put({"a"}, letter());
  Sender from;
  while (mailbox.take(from)) {
  }
  CHECK_FALSE(mailbox.poll(0));
}

TEST_CASE("reading from a peer with many waiting messages pauses until half of them have been taken") {
  Mailbox mailbox(kLimits);
  mailbox.add_peer("a");
  for (int i = 0; i < 3; ++i) CHECK(mailbox.put({"a"}, letter()) == Mailbox::Put::kReadOn);
  CHECK(mailbox.put({"a"}, letter()) == Mailbox::Put::kPause);
  Sender from;
  mailbox.take(from);
  CHECK(mailbox.take_orders().empty());
  mailbox.take(from);
  const auto orders = mailbox.take_orders();
  REQUIRE(orders.size() == 1);
  CHECK(orders[0].action == Mailbox::Action::kReadOn);
}

TEST_CASE("the number of messages queued for a peer is limited, and zero for a disconnected peer") {
  Mailbox mailbox(kLimits);
  mailbox.add_peer("a");
  const auto send = [&] { return mailbox.order({Mailbox::Action::kSend, "a", {}}); };
  CHECK(send());
  CHECK(send());
  CHECK_FALSE(send());
  mailbox.note_sent("a");
  CHECK(send());
  mailbox.drop_peer("a");
  CHECK_FALSE(send());
}

}  // namespace distmnist
