// Whether this build has the cpu backend's built-in kernels.
#pragma once

#include "lib/backend/backend.h"
#include "lib/graph/slim.h"
#include "models/models.h"

namespace distmnist {

// Without oneDNN, "cpu" uses the plain loops, which are slow and have no bfloat16.
inline bool has_cpu_kernels() {
  return make_backend("cpu")->can_compute(softmax().layers.front(), Precision::kBf16);
}

}  // namespace distmnist
