#include "lib/base/rare_log.h"

#include <fmt/core.h>

namespace distmnist {

std::string shown(std::string_view text) {
  if (text.size() <= kMaxShownBytes) return std::string(text);
  std::size_t end = kMaxShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string RareLog::key_for(const std::string& key, TimeMs now) {
  if (peers_.contains(key) || peers_.size() < max_keys_) return key;
  // Forgets peers without a recent line and without omitted lines.
  std::erase_if(
      peers_, [&](const auto& entry) { return entry.second.left_out == 0 && now - entry.second.said_ms >= every_ms_; });
  return peers_.size() < max_keys_ ? key : std::string();
}

std::optional<std::string> RareLog::line(const std::string& key, const std::string& text, TimeMs now) {
  const auto [at, is_new] = peers_.try_emplace(key_for(key, now));
  Peer& peer = at->second;
  if (is_new || (peer.left_out == 0 && now - peer.said_ms >= every_ms_)) {
    peer.said_ms = now;
    return text;
  }
  ++peer.left_out;
  peer.last = text;
  return std::nullopt;
}

std::vector<std::string> RareLog::due(TimeMs now) {
  std::vector<std::string> lines;
  for (auto& [key, peer] : peers_) {
    if (peer.left_out == 0 || now - peer.said_ms < every_ms_) continue;
    const std::uint64_t more = peer.left_out - 1;
    lines.push_back(more == 0 ? peer.last : fmt::format("{} (and {} more like it)", peer.last, more));
    peer = {now, 0, {}};
  }
  return lines;
}

}  // namespace distmnist
