#include "lib/ps/client/newest_marks.h"

#include <algorithm>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

SnapshotRecord vector_of(const PushMarks& marks, const Processes& processes) {
  return {marks, {}, {}, processes};
}

// The newest marks, computed with the ps tasks in every order.
NewestMarks newest(std::vector<SnapshotRecord> vectors) {
  const NewestMarks out = newest_marks(vectors);
  std::ranges::reverse(vectors);
  const NewestMarks other = newest_marks(vectors);
  CHECK(out.certain == other.certain);
  if (out.certain) CHECK(out.marks == other.marks);
  return out;
}

}  // namespace

TEST_CASE("of one process the push with the larger sequence is the newest") {
  const NewestMarks out = newest({vector_of({{0, {10, 3}}, {1, {5, 9}}}, {{0, 10}, {1, 5}}),
                                  vector_of({{0, {10, 4}}, {1, {5, 8}}}, {{0, 10}, {1, 5}})});
  CHECK(out.certain);
  CHECK(out.marks == PushMarks{{0, {10, 4}}, {1, {5, 9}}});
}

TEST_CASE("a push that only one ps has is the newest of its worker") {
  const NewestMarks out = newest({vector_of({}, {{0, 10}}), vector_of({{0, {10, 1}}}, {{0, 10}})});
  CHECK(out.certain);
  CHECK(out.marks == PushMarks{{0, {10, 1}}});
}

TEST_CASE("if one process replaced another, its push is the newest, whatever their incarnations") {
  for (const std::uint64_t next : {3, 30}) {
    const NewestMarks out =
        newest({vector_of({{0, {10, 900}}}, {{0, next}}), vector_of({{0, {next, 1}}}, {{0, next}})});
    CHECK(out.certain);
    CHECK(out.marks == PushMarks{{0, {next, 1}}});
  }
}

TEST_CASE("a push of a replaced process is newer if the other ps names that process as its latest") {
  // Process 20 has pushed on one ps only, and process 30 has replaced it there.
  const NewestMarks out = newest({vector_of({{0, {10, 4}}}, {{0, 20}}), vector_of({{0, {20, 1}}}, {{0, 30}})});
  CHECK(out.certain);
  CHECK(out.marks == PushMarks{{0, {20, 1}}});
}

TEST_CASE("if no ps knows which of two processes came later, the result is not certain") {
  CHECK_FALSE(newest({vector_of({{0, {10, 4}}}, {{0, 30}}), vector_of({{0, {20, 1}}}, {{0, 30}})}).certain);
  CHECK_FALSE(newest({vector_of({{0, {10, 4}}}, {}), vector_of({{0, {20, 1}}}, {})}).certain);
}

TEST_CASE("three ps tasks are compared like two") {
  const NewestMarks out = newest(
      {vector_of({{0, {10, 7}}}, {{0, 4}}), vector_of({{0, {4, 2}}}, {{0, 4}}), vector_of({{0, {4, 1}}}, {{0, 4}})});
  CHECK(out.certain);
  CHECK(out.marks == PushMarks{{0, {4, 2}}});
}

}  // namespace distmnist
