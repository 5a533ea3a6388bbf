// Presets: sets of flag defaults for one goal (--preset).
#pragma once

#include <string>
#include <string_view>

#include "tools/flags.h"

namespace distmnist {

// The defaults of all flags under a preset:
//   seeds  those of Flags: the training of the TensorFlow examples, also used by the tests
//   fast   99.0 % of the test images in a short time
//   best   99.4 %
// The figures are for the model mnist_cnn on MNIST with one worker. Error (kUsage) lists the known presets.
Flags flags_of_preset(std::string_view name);

}  // namespace distmnist
