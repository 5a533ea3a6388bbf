// Catch2's session, for a test with a main() of its own. In one file of a program only: Catch2 2.x comes with it.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif
