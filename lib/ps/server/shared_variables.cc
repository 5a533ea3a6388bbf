#include "lib/ps/server/shared_variables.h"

namespace distmnist {

std::optional<double> SharedVariables::init(const std::string& name, double value) {
  if (const auto there = get(name)) return there;
  if (values_.size() >= kMaxSharedVariables) return std::nullopt;
  values_[name] = value;
  return value;
}

std::optional<double> SharedVariables::get(const std::string& name) const {
  const auto at = values_.find(name);
  if (at == values_.end()) return std::nullopt;
  return at->second;
}

std::optional<double> SharedVariables::add(const std::string& name, double value) {
  const auto at = values_.find(name);
  if (at == values_.end()) return std::nullopt;
  return at->second += value;
}

}  // namespace distmnist
