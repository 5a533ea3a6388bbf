// Recent: the values of the last `limit` keys; the oldest is forgotten first.
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

  // A key that is known already keeps its value and its age.
  void remember(const Key& key, Value value) {
    if (!values_.emplace(key, std::move(value)).second) return;
    order_.push_back(key);
    if (order_.size() <= limit_) return;
    values_.erase(order_.front());
    order_.pop_front();
  }

  // Null where it is not known, or no more. Good until the next remember().
  const Value* find(const Key& key) const {
    const auto at = values_.find(key);
    return at == values_.end() ? nullptr : &at->second;
  }

 private:
  std::size_t limit_;
  std::map<Key, Value> values_;
  std::deque<Key> order_;
};

}  // namespace distmnist
