// Recent: a map of the most recent keys, as many as fit in a limit on their total cost. It drops the oldest first.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <utility>

namespace distmnist {

template <class Key, class Value>
class Recent {
 public:
  explicit Recent(std::size_t limit) : limit_(limit) {}

  // A known key keeps its value and its age. The newest key is kept whatever its cost.
  void remember(const Key& key, Value value, std::size_t cost = 1) {
    if (!values_.emplace(key, std::move(value)).second) return;
    order_.emplace_back(key, cost);
    total_ += cost;
    while (total_ > limit_ && order_.size() > 1) {
      values_.erase(order_.front().first);
      total_ -= order_.front().second;
      order_.pop_front();
    }
  }

  // Null if the key is unknown or was dropped. Valid until the next remember().
  const Value* find(const Key& key) const {
    const auto at = values_.find(key);
    return at == values_.end() ? nullptr : &at->second;
  }

 private:
  std::size_t limit_;
  std::map<Key, Value> values_;
  std::deque<std::pair<Key, std::size_t>> order_;  // with the cost of each
  std::size_t total_ = 0;                          // sum of the costs
};

}  // namespace distmnist
