// Catch2, 2.x (Debian) or 3.x (elsewhere): tests include this header only, and see one spelling.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
