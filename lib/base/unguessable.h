// Unguessable numbers: identifiers of processes, leases and models that a stranger must not find by chance or by
// trying.
#pragma once

#include <cstdint>
#include <functional>

namespace distmnist {

// 64 bits from the kernel's random numbers, never 0. Throws Error (kInternal) if the kernel cannot provide any.
std::uint64_t unguessable_number();

// The source of such numbers: unguessable_number(), or a fixed sequence in a test.
using NumberSource = std::function<std::uint64_t()>;

}  // namespace distmnist
