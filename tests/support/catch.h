// Catch2 2.x (Debian) or 3.x (elsewhere): tests include this header only, with the same names for both versions.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#include <string>

namespace distmnist {

// Records that the current test case does not run to its end, and why; tests/run.sh counts and lists it.
void note_skipped_case(const std::string& reason);

}  // namespace distmnist

// Ends a test case that cannot run here. A plain `return` would count as passed. (Catch2 2.x has no SKIP.)
#define SKIP_CASE(reason)                   \
  do {                                      \
    ::distmnist::note_skipped_case(reason); \
    return;                                 \
  } while (false)
