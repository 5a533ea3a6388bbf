// Names: rules for the names of containers and shared variables, and the names used in messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace distmnist {

inline constexpr std::size_t kMaxNameBytes = 255;

// 1 to kMaxNameBytes ASCII letters, digits and . _ - /, so that the name is safe in a list, a log line and a path.
bool is_name(std::string_view text);

// A container's name is a name, or empty: the default container.
bool is_container_name(std::string_view text);

// The rule of is_name(), for messages.
std::string name_rule();

// "container 'a'", or "the default container".
std::string container_title(std::string_view name);

// "worker:1".
std::string task_name(std::uint32_t worker);

}  // namespace distmnist
