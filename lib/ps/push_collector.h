// PushCollector: the chunks of one worker's push, until it is whole. Only then may it be applied.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/ps/chunk_table.h"
#include "lib/ps/control.h"
#include "lib/wire/transport.h"

namespace distmnist {

// A push with all its chunks: gradients[i] belongs to chunk i of the shard's table.
struct WholePush {
  Header header;  // of its last chunk; all chunks are of its dtype
  Route route;
  std::vector<Frame> gradients;
};

// What is remembered of a push once it has been applied.
inline PushMark mark_of(const Header& header) {
  return {header.incarnation, header.sequence};
}

class PushCollector {
 public:
  // Takes a chunk; a chunk of a later push than the one being collected, or of another process's, starts that one
  // afresh, a chunk of an earlier one is dropped. Only what the present process says may come here. True when the push
  // of this chunk is now whole. False also for a range that is no chunk of the table, and for numbers of another type
  // than the chunks before.
  bool add(const ChunkTable& chunks, const Route& route, Message&& message);

  // The whole push; the collector is empty afterwards.
  WholePush take();

 private:
  WholePush push_;
  std::vector<bool> present_;
  std::size_t missing_ = 0;
};

}  // namespace distmnist
