// DeviceSpec: the name of a device, as TensorFlow 1.x writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// What a device name says; what it leaves open is unset.
struct DeviceSpec {
  std::optional<std::string> job;
  std::optional<int> replica;
  std::optional<int> task;
  std::optional<std::string>
      type;                  // "CPU", "GPU" or "REFERENCE" (the plain loops that other devices are checked against)
  std::optional<int> index;  // among the process's devices of that type

  // The set parts in canonical form: "/job:worker/replica:0/task:0/device:CPU:0", "/device:GPU:1",
  // "/task:2/device:GPU:*".
  std::string to_string() const;

  // This spec, with what it leaves open taken from `defaults`. An index of another type of device is not taken.
  DeviceSpec completed_by(const DeviceSpec& defaults) const;

  bool operator==(const DeviceSpec&) const = default;
};

// Reads "/gpu:0", "/cpu", "gpu:1", "/device:GPU:0", "/job:worker/task:2/gpu:0",
// "/job:worker/replica:0/task:0/device:CPU:0". Parts come in any order, each at most once; types in either case; "*" is
// the same as leaving the number out. Error (kUsage) quotes the text, says what is wrong and gives an example.
DeviceSpec parse_device(std::string_view text);

// "/cpu:0,/gpu:1" -> two. Error (kUsage) as of parse_device(); an empty piece is one.
std::vector<DeviceSpec> parse_device_list(std::string_view text);

}  // namespace distmnist
