// Presets: flags that are good together for one aim, as defaults of a run (--preset).
#pragma once

#include <string>
#include <string_view>

#include "tools/flags.h"

namespace distmnist {

// The defaults of all flags under a preset, which they name:
//   seeds  those of Flags: the TensorFlow examples' training, and the tests'
//   fast   99.0 % of the test images soon
//   best   99.4 %
// Both aims are for the model mnist_cnn on MNIST and one worker. Error (kUsage) names the known presets.
Flags flags_of_preset(std::string_view name);

}  // namespace distmnist
