// NewestMarks: of what several ps tasks have applied, what is the newest of each worker.
#pragma once

#include <vector>

#include "lib/ps/records/control.h"

namespace distmnist {

struct NewestMarks {
  PushMarks marks;
  bool certain = true;  // false: of two processes of a worker nobody can say which came later
};

// `vectors`: one of each ps task. Where the marks of a worker are of two processes, the later one is the process that
// is the current one at the ps whose mark is of the other: a process pushes only after every ps has welcomed it.
NewestMarks newest_marks(const std::vector<SnapshotRecord>& vectors);

}  // namespace distmnist
