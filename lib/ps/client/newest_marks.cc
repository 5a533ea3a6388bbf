#include "lib/ps/client/newest_marks.h"

namespace distmnist {
namespace {

// Whether the process of `mark` is known to have come after the process whose mark is in `vector`.
bool came_later(const PushMark& mark, std::uint32_t worker, const SnapshotRecord& vector) {
  const auto current = vector.processes.find(worker);
  return current != vector.processes.end() && current->second == mark.incarnation;
}

}  // namespace

NewestMarks newest_marks(const std::vector<SnapshotRecord>& vectors) {
  NewestMarks newest;
  std::map<std::uint32_t, const SnapshotRecord*> from;  // the vector that a mark comes from, by worker
  for (const SnapshotRecord& vector : vectors) {
    for (const auto& [worker, mark] : vector.marks) {
      const auto [at, is_first] = newest.marks.emplace(worker, mark);
      const PushMark& known = at->second;
      const bool newer =
          is_first || known.before(mark) || (!known.same_process(mark) && came_later(mark, worker, *from[worker]));
      if (!newer && !known.same_process(mark) && !came_later(known, worker, vector)) newest.certain = false;
      if (!newer) continue;
      at->second = mark;
      from[worker] = &vector;
    }
  }
  return newest;
}

}  // namespace distmnist
