#include "lib/ps/server/snapshot_hold.h"

#include "tests/support/catch.h"

namespace distmnist {
namespace {

WholePush push_of(std::uint32_t worker, std::uint64_t sequence) {
  WholePush push;
  push.header.worker = worker;
  push.header.incarnation = 10;
  push.header.sequence = sequence;
  return push;
}

std::vector<std::uint32_t> workers_of(const std::vector<WholePush>& pushes) {
  std::vector<std::uint32_t> out;
  for (const WholePush& push : pushes) out.push_back(push.header.worker);
  return out;
}

using Workers = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("no push is admitted until the target is known") {
  SnapshotHold hold(0);
  CHECK_FALSE(hold.admits(push_of(0, 1)));
  CHECK_FALSE(hold.take());
}

TEST_CASE("the target releases the pushes that belong to it in order of arrival and keeps the others") {
  SnapshotHold hold(0);
  for (const std::uint32_t worker : {2, 0, 3, 1}) hold.hold(push_of(worker, 5));
  Header request;
  request.sequence = 77;
  CHECK(workers_of(hold.set_target("chief", request, {{0, {10, 5}}, {1, {10, 4}}, {2, {9, 1}}},
                                   {{0, 10}, {1, 10}, {2, 9}})) == Workers{2, 0});
  REQUIRE(hold.take());
  CHECK(hold.take()->route == "chief");
  CHECK(hold.take()->request.sequence == 77);
  CHECK(hold.admits(push_of(0, 5)));
  CHECK_FALSE(hold.admits(push_of(0, 6)));
  CHECK_FALSE(hold.admits(push_of(3, 1)));
  CHECK(workers_of(hold.release()) == Workers{3, 1});
  CHECK(hold.release().empty());
}

TEST_CASE("released pushes and held pushes both keep their order, however they are mixed") {
  SnapshotHold hold(0);
  for (const std::uint32_t worker : {5, 0, 6, 1, 7, 2}) hold.hold(push_of(worker, 5));
  PushMarks target;
  for (const std::uint32_t worker : {0u, 1u, 2u}) target[worker] = {10, 5};
  CHECK(workers_of(hold.set_target("chief", Header(), target, {})) == Workers{0, 1, 2});
  CHECK(workers_of(hold.release()) == Workers{5, 6, 7});
}

TEST_CASE("a repeated push keeps its place and is held once") {
  SnapshotHold hold(0);
  hold.hold(push_of(1, 5));
  hold.hold(push_of(0, 3));
  hold.hold(push_of(1, 6));
  const std::vector<WholePush> held = hold.release();
  CHECK(workers_of(held) == Workers{1, 0});
  CHECK(held[0].header.sequence == 6);
}

TEST_CASE("a held push of a replaced process came before the pushes of its successor") {
  SnapshotHold hold(0);
  hold.hold(push_of(1, 5));
  CHECK(hold.set_target("chief", {}, {{1, {9, 1}}}, {{1, 10}}).empty());  // process 9 came before process 10
  CHECK_FALSE(hold.take_held_before(1, 10));
  CHECK_FALSE(hold.take_held_before(0, 11));
  CHECK(hold.take_held_before(1, 11));
  CHECK(hold.release().empty());
}

TEST_CASE("a hold is overdue at its limit") {
  SnapshotHold hold(1'000);
  CHECK_FALSE(hold.overdue(1'000 + kSnapshotHoldMs - 1));
  CHECK(hold.overdue(1'000 + kSnapshotHoldMs));
}

}  // namespace distmnist
