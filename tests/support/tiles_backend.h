// The cpu backend as it is on a processor with AMX, on every processor.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

// Tiles are loops (cpu::emulated_amx_kernels()), which give the bits of the instructions; whatever is not in tiles is
// the cpu backend's.
std::unique_ptr<Backend> make_tiles_backend();

}  // namespace distmnist
