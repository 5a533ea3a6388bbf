#include "lib/ps/server/roles.h"

#include <vector>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

Header header_of(MessageType type, std::uint32_t worker = 0) {
  Header header;
  header.type = type;
  header.worker = worker;
  return header;
}

Sender owner(KeyOwner::Role role, std::uint32_t index = 0) {
  return {"a", "10.0.0.2", false, KeyOwner{role, index}};
}

const std::vector<MessageType> kOfWorkers = {
    MessageType::kHello,        MessageType::kCreate,        MessageType::kLoad, MessageType::kCreateEnd,
    MessageType::kPull,         MessageType::kPush,          MessageType::kPing, MessageType::kDone,
    MessageType::kSnapshotTake, MessageType::kAwaitOthers,   MessageType::kJoin, MessageType::kCommit,
    MessageType::kAdvance,      MessageType::kSnapshotBegin, MessageType::kLeave};

}  // namespace

TEST_CASE("without keys any peer may send any message") {
  for (const MessageType type : kOfWorkers) CHECK(fault_of_key({"a"}, header_of(type)).empty());
  CHECK(fault_of_key({"a"}, header_of(MessageType::kReset)).empty());
  CHECK(fault_of_key({"a"}, header_of(MessageType::kVariable)).empty());
}

TEST_CASE("a worker's key acts for its own task and can ask for variables") {
  const Sender worker = owner(KeyOwner::Role::kWorker, 1);
  for (const MessageType type : kOfWorkers) {
    CHECK(fault_of_key(worker, header_of(type, 1)).empty());
    CHECK(fault_of_key(worker, header_of(type, 0)) ==
          "the key of worker:1 is not valid for worker:0; give each task its own key");
  }
  CHECK(fault_of_key(worker, header_of(MessageType::kVariable)).empty());
  CHECK(fault_of_key(worker, header_of(MessageType::kReset, 1)) ==
        "a reset needs the admin key, but this is the key of worker:1");
}

TEST_CASE("the admin key can reset and ask for variables, and cannot act as a worker") {
  const Sender admin = owner(KeyOwner::Role::kAdmin);
  CHECK(fault_of_key(admin, header_of(MessageType::kReset)).empty());
  CHECK(fault_of_key(admin, header_of(MessageType::kVariable)).empty());
  for (const MessageType type : kOfWorkers) {
    CHECK(fault_of_key(admin, header_of(type)).find("a worker needs its own key") != std::string::npos);
  }
}

TEST_CASE("a ps key cannot send anything to another ps") {
  const Sender ps = owner(KeyOwner::Role::kPs, 1);
  for (const MessageType type : kOfWorkers) CHECK_FALSE(fault_of_key(ps, header_of(type, 1)).empty());
  CHECK_FALSE(fault_of_key(ps, header_of(MessageType::kReset)).empty());
  CHECK(fault_of_key(ps, header_of(MessageType::kVariable)) ==
        "the key of ps:1 is for serving requests, not for sending them to another ps");
}

TEST_CASE("without keys a reset must come from the ps's own host unless the ps stays") {
  const Sender near{"a", "this host", true, {}}, far{"a", "10.0.0.2", false, {}};
  CHECK(fault_of_reset(near, false).empty());
  CHECK(fault_of_reset(near, true).empty());
  CHECK(fault_of_reset(far, true).empty());
  CHECK(fault_of_reset(far, false) ==
        "without keys, this ps can be reset only from its own host; run the reset there, or start the ps tasks with "
        "--ps_stay");
  CHECK(fault_of_reset(owner(KeyOwner::Role::kAdmin), false).empty());
}

}  // namespace distmnist
