// PushCollector: the chunks of one worker's push, until it is whole. Only then may it be applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ps/records/control.h"
#include "lib/ps/store/chunk_table.h"
#include "lib/wire/message.h"

namespace distmnist {

// A number of a gradient that may not be applied.
struct BadGradient {
  std::int64_t at = 0;  // in the block
  std::string text;     // as of BadNumber
};

// A push with all its chunks: gradients[i] belongs to chunk i of the shard's table.
struct WholePush {
  Header header;  // of its last chunk; all chunks are of its dtype
  Route route;
  std::vector<Frame> gradients;
  std::optional<BadGradient> bad;  // the first that was seen; such a push is never applied
};

class PushCollector {
 public:
  // Takes a chunk; a chunk of a later push than the one being collected, or of another process's, starts that one
  // afresh, a chunk of an earlier one is dropped. Only what the present process says may come here. True when the push
  // of this chunk is now whole. False also for a range that is no chunk of the table, and for numbers of another type
  // than the chunks before.
  bool add(const ChunkTable& chunks, const Route& route, Message&& message);

  // Of the push that is being collected: a number that may not be applied. Each chunk is looked at when it comes: it is
  // in the cache then, and others are still on their way.
  const std::optional<BadGradient>& bad() const { return push_.bad; }
  const WholePush& collected() const { return push_; }

  // The whole push; the collector is empty afterwards.
  WholePush take();

 private:
  WholePush push_;
  std::vector<bool> present_;
  std::size_t missing_ = 0;
};

}  // namespace distmnist
