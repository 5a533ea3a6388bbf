// Numbers that nobody can guess: names of processes, leases and models that a stranger must not hit by chance or trial.
#pragma once

#include <cstdint>
#include <functional>

namespace distmnist {

// 64 bits from the kernel's random numbers, never 0. Error (kInternal) where the kernel has none to give.
std::uint64_t unguessable_number();

// Where such numbers come from: unguessable_number(), or a sequence of a test's own.
using NumberSource = std::function<std::uint64_t()>;

}  // namespace distmnist
