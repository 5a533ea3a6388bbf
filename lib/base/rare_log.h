// RareLog: what many peers can bring about any number of times is said in the log now and then: about one peer a line
// at once, then at most one a minute, which says how many were left out.
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

inline constexpr std::size_t kMaxShownBytes = 200;  // of what a peer has a part in, in a line of the log

// The text, cut at kMaxShownBytes, but not within a character of UTF-8. (Control characters are the log's to replace.)
std::string shown(std::string_view text);

class RareLog {
 public:
  // Beyond max_keys peers within one period all others share one line.
  explicit RareLog(TimeMs every_ms = 60'000, std::size_t max_keys = 64) : every_ms_(every_ms), max_keys_(max_keys) {}

  // What to write now about `key` (a peer's address): the line; nothing where one was written too short a while ago.
  std::optional<std::string> line(const std::string& key, const std::string& text, TimeMs now);
  // Lines that were left out and are due by now: of each peer the last one, "TEXT (and 3 more like it)".
  std::vector<std::string> due(TimeMs now);

 private:
  struct Peer {
    TimeMs said_ms = 0;
    std::uint64_t left_out = 0;
    std::string last;  // of those left out
  };
  // The key itself, or that of all others.
  std::string key_for(const std::string& key, TimeMs now);

  TimeMs every_ms_;
  std::size_t max_keys_;
  std::map<std::string, Peer> peers_;
};

}  // namespace distmnist
