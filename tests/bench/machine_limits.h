// Measured limits of the processor, with which benchmarks compare the times of kernels.
#pragma once

#include <cstdint>

#include "lib/math/instruction_set.h"

namespace distmnist {

// Floating-point operations per second of all threads together: multiply-adds (two operations) of float32 vectors in
// registers. Each thread is measured in its own CPU time, so that other processes do not count. AMX counts as AVX-512.
double peak_flops_per_s(InstructionSet set, int threads);

// Bytes per second of all threads together when they read one block of `size_bytes` repeatedly, each thread a part of
// it. The best of a few passes in wall time.
double read_bytes_per_s(std::int64_t size_bytes, int threads);

// The CPU time of the calling thread, in seconds.
double thread_cpu_s();

}  // namespace distmnist
