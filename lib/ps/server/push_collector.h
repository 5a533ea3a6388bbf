// PushCollector: the chunks of one worker's push until it is complete. Only a complete push may be applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ps/records/control.h"
#include "lib/ps/store/chunk_table.h"
#include "lib/wire/message.h"

namespace distmnist {

// A number in a gradient that must not be applied.
struct BadGradient {
  std::int64_t at = 0;  // offset in the block
  std::string text;     // as in BadNumber
};

// A push with all its chunks: gradients[i] belongs to chunk i of the shard's table.
struct WholePush {
  Header header;  // of its last chunk; all chunks have its dtype
  Route route;
  std::vector<Frame> gradients;
  std::optional<BadGradient> bad;  // the first one seen; a push with one is never applied
};

class PushCollector {
 public:
  // Takes a chunk. A chunk of a later push than the collected one, or of another process's push, starts a new
  // collection; a chunk of an earlier push is dropped. Only messages from the present process may be passed. Returns
  // true if the push of this chunk is now complete. Returns false also for a range that is not a chunk of the table,
  // and for a number type different from that of the chunks before.
  bool add(const ChunkTable& chunks, const Route& route, Message&& message);

  // A number of the collected push that must not be applied. Each chunk is checked when it arrives: it is in the cache
  // then, and the other chunks are still on their way.
  const std::optional<BadGradient>& bad() const { return push_.bad; }
  const WholePush& collected() const { return push_; }

  // Returns the complete push; the collector is empty afterwards.
  WholePush take();

 private:
  WholePush push_;
  std::vector<bool> present_;
  std::size_t missing_ = 0;
};

}  // namespace distmnist
