// SharedVariables: the scalars of one container that live on the ps between clients. (What the pushes of a run update
// is in its VariableStore.)
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace distmnist {

inline constexpr std::size_t kMaxSharedVariables = 1024;  // of a container

class SharedVariables {
 public:
  // Creates the variable with this value, or leaves it as it is; its value then. Nothing where there is no room for
  // another one.
  std::optional<double> init(const std::string& name, double value);
  // Nothing where it is not there.
  std::optional<double> get(const std::string& name) const;
  // The value after the addition; nothing where it is not there.
  std::optional<double> add(const std::string& name, double value);

  const std::map<std::string, double>& values() const { return values_; }

 private:
  std::map<std::string, double> values_;
};

}  // namespace distmnist
