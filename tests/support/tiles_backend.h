// The cpu backend as on a processor with AMX, on every processor.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

// Tiles are emulated with loops (cpu::emulated_amx_kernels()), which give the same bits as the instructions. Everything
// else is the cpu backend's code.
std::unique_ptr<Backend> make_tiles_backend();

}  // namespace distmnist
