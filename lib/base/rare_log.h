// RareLog: limits log lines that many peers can cause any number of times. For each peer, the first line is logged at
// once, then at most one line a minute, which says how many were omitted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/time_ms.h"

namespace distmnist {

inline constexpr std::size_t kMaxShownBytes = 200;  // of text from a peer, in a log line

// The text, cut at kMaxShownBytes but not within a UTF-8 character. (The log replaces control characters.)
std::string shown(std::string_view text);

class RareLog {
 public:
  // If one period has more than max_keys peers, the remaining ones share one line.
  explicit RareLog(TimeMs every_ms = 60'000, std::size_t max_keys = 64) : every_ms_(every_ms), max_keys_(max_keys) {}

  // The line to write now about `key` (a peer's address); empty if the previous one was written too recently.
  std::optional<std::string> line(const std::string& key, const std::string& text, TimeMs now);
  // Omitted lines that are due by now: for each peer the last one, "TEXT (and 3 more like it)".
  std::vector<std::string> due(TimeMs now);

 private:
  struct Peer {
    TimeMs said_ms = 0;
    std::uint64_t left_out = 0;
    std::string last;  // the last omitted one
  };
  // The key itself, or the shared key of all others.
  std::string key_for(const std::string& key, TimeMs now);

  TimeMs every_ms_;
  std::size_t max_keys_;
  std::map<std::string, Peer> peers_;
};

}  // namespace distmnist
