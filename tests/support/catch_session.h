// Catch2's session, for a test with its own main(). Include it in only one file of a program, because Catch2 2.x is
// defined here.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif
