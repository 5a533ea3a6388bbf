// NewestMarks: the newest mark of each worker among what several ps tasks have applied.
#pragma once

#include <vector>

#include "lib/ps/records/control.h"

namespace distmnist {

struct NewestMarks {
  PushMarks marks;
  bool certain = true;  // false: a worker has marks from two processes and it is unknown which process came later
};

// `vectors`: one for each ps task. If the marks of a worker come from two processes, the later process is the one that
// is current at the ps that holds the other's mark: a process pushes only after every ps has welcomed it.
NewestMarks newest_marks(const std::vector<SnapshotRecord>& vectors);

}  // namespace distmnist
