#include "lib/base/rare_log.h"

#include <fmt/core.h>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Lines = std::vector<std::string>;
constexpr TimeMs kMinuteMs = 60'000;

}  // namespace

TEST_CASE("the first line about a peer is written at once, later ones only when they are due") {
  RareLog log;
  CHECK(log.line("a", "first", 0) == "first");
  CHECK_FALSE(log.line("a", "second", 1));
  CHECK(log.line("b", "another's", 2) == "another's");
  CHECK(log.due(kMinuteMs - 1).empty());
  CHECK(log.due(kMinuteMs) == Lines{"second"});
  CHECK(log.due(3 * kMinuteMs).empty());
  CHECK(log.line("a", "much later", 3 * kMinuteMs) == "much later");
}

TEST_CASE("omitted lines are counted") {
  RareLog log;
  for (int i = 0; i < 50'000; ++i) log.line("a", fmt::format("text {}", i), i / 1000);
  CHECK(log.due(kMinuteMs) == Lines{"text 49999 (and 49998 more like it)"});
  CHECK_FALSE(log.line("a", "soon again", kMinuteMs + 1));
  CHECK(log.due(2 * kMinuteMs) == Lines{"soon again"});
}

TEST_CASE("peers beyond the limit share one line") {
  RareLog log(kMinuteMs, 2);
  CHECK(log.line("a", "a", 0));
  CHECK(log.line("b", "b", 0));
  CHECK(log.line("c", "c", 0));
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(log.line(fmt::format("x{}", i), "x", 1));
  CHECK(log.due(kMinuteMs) == Lines{"x (and 999 more like it)"});
  CHECK(log.line("d", "d", 2 * kMinuteMs));  // no line about a and b for a long time
  CHECK(log.line("e", "e", 2 * kMinuteMs));
}

TEST_CASE("a text is shortened to a length without splitting a character") {
  CHECK(shown("short") == "short");
  CHECK(shown(std::string(kMaxShownBytes, 'x')) == std::string(kMaxShownBytes, 'x'));
  CHECK(shown(std::string(kMaxShownBytes + 1, 'x')) == std::string(kMaxShownBytes, 'x') + "...");
  std::string umlauts = "x";
  while (umlauts.size() < 2 * kMaxShownBytes) umlauts += "\u00fc";
  CHECK(shown(umlauts) == umlauts.substr(0, kMaxShownBytes - 1) + "...");
}

}  // namespace distmnist
