// DeviceSpec: the name of a device in TensorFlow 1.x notation.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// The parts of a device name; parts that it omits are unset.
struct DeviceSpec {
  std::optional<std::string> job;
  std::optional<int> replica;
  std::optional<int> task;
  std::optional<std::string> type;  // "CPU", "GPU" or "REFERENCE" (plain loops to check other devices against)
  std::optional<int> index;         // among the process's devices of that type

  // The set parts in canonical form: "/job:worker/replica:0/task:0/device:CPU:0", "/device:GPU:1",
  // "/task:2/device:GPU:*".
  std::string to_string() const;

  // This spec, completed with the parts of `defaults` that it omits. The index of a different device type is not used.
  DeviceSpec completed_by(const DeviceSpec& defaults) const;

  bool operator==(const DeviceSpec&) const = default;
};

// Parses "/gpu:0", "/cpu", "gpu:1", "/device:GPU:0", "/job:worker/task:2/gpu:0",
// "/job:worker/replica:0/task:0/device:CPU:0". Parts may come in any order, each at most once. Types may be in either
// case. "*" is the same as omitting the number. Throws Error (kUsage), which quotes the text, says what is wrong and
// gives an example.
DeviceSpec parse_device(std::string_view text);

// "/cpu:0,/gpu:1" -> two. Throws Error (kUsage) as parse_device() does, also for an empty piece.
std::vector<DeviceSpec> parse_device_list(std::string_view text);

}  // namespace distmnist
