// SharedVariables: the scalars of one container that stay on the ps between clients. (The values that the pushes of a
// run update are in its VariableStore.)
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace distmnist {

inline constexpr std::size_t kMaxSharedVariables = 1024;  // of a container

class SharedVariables {
 public:
  // Creates the variable with this value unless it exists. Returns its value; empty if there is no room for another
  // variable.
  std::optional<double> init(const std::string& name, double value);
  // Empty if there is no such variable.
  std::optional<double> get(const std::string& name) const;
  // Returns the value after the addition; empty if there is no such variable.
  std::optional<double> add(const std::string& name, double value);

  const std::map<std::string, double>& values() const { return values_; }

 private:
  std::map<std::string, double> values_;
};

}  // namespace distmnist
