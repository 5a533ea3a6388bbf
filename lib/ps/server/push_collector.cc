#include "lib/ps/server/push_collector.h"

#include <utility>

#include "lib/wire/numbers.h"

namespace distmnist {

bool PushCollector::add(const ChunkTable& chunks, const Route& route, Message&& message) {
  const auto chunk = chunks.find(message.header.range());
  if (!chunk || !is_number(message.header.dtype)) return false;
  const PushMark mark = mark_of(message.header);
  const PushMark collecting = mark_of(push_.header);
  if (mark.before(collecting)) return false;
  if (mark != collecting || present_.empty()) {
    push_ = WholePush{message.header, route, std::vector<Frame>(chunks.size()), std::nullopt};
    present_.assign(chunks.size(), false);
    missing_ = chunks.size();
  }
  if (missing_ == 0 || message.header.dtype != push_.header.dtype) return false;
  push_.header = message.header;
  push_.route = route;
  const Numbers gradient{message.header.dtype, message.payload.bytes()};
  if (!push_.bad && !(message.may_be_applied ? *message.may_be_applied : may_be_applied(gradient))) {
    const auto number = first_bad_number(gradient).value();
    push_.bad = BadGradient{message.header.range_offset + static_cast<std::int64_t>(number.index), number.text};
  }
  push_.gradients[*chunk] = std::move(message.payload);
  if (!present_[*chunk]) --missing_;
  present_[*chunk] = true;
  return missing_ == 0;
}

WholePush PushCollector::take() {
  present_.clear();
  missing_ = 0;
  return std::exchange(push_, {});
}

}  // namespace distmnist
