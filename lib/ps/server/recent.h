// Recent: the values of the last keys, as many as their costs together allow; the oldest is forgotten first.
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

  // A key that is known already keeps its value and its age. The last one is kept whatever it costs.
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

  // Null where it is not known, or no more. Good until the next remember().
  const Value* find(const Key& key) const {
    const auto at = values_.find(key);
    return at == values_.end() ? nullptr : &at->second;
  }

 private:
  std::size_t limit_;
  std::map<Key, Value> values_;
  std::deque<std::pair<Key, std::size_t>> order_;  // with their costs
  std::size_t total_ = 0;                          // of the costs
};

}  // namespace distmnist
