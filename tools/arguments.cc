#include "tools/arguments.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "lib/base/error.h"

namespace distmnist {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string with_underscores(std::string name) {
  if (name.size() > 2) std::replace(name.begin() + 2, name.end(), '-', '_');
  return name;
}

// The name without the dashes that users often get wrong.
std::string bare(std::string_view name) {
  name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
  std::string out;
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// The number of insertions, deletions, substitutions and swaps of adjacent letters that turn `a` into `b` (optimal
// string alignment distance).
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::vector<std::string> normalised(const std::vector<std::string>& words,
                                    const std::function<FlagKind(const std::string&)>& kind_of) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {  // The words after it are never flags.
      out.insert(out.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      break;
    }
    if (!word.starts_with("--")) {
      out.push_back(word);
      continue;
    }
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string name = with_underscores(word.substr(0, equals));
    const std::string rest = word.substr(equals);
    const FlagKind kind = kind_of(name);
    if (rest == "=" && kind == FlagKind::kSwitch)
      fail(ExitCode::kUsage, "{}: the value is empty; give true or false", word);
    const bool empty_word = rest.empty() && i + 1 < words.size() && words[i + 1].empty();
    if (kind == FlagKind::kNumber && (rest == "=" || empty_word)) {
      fail(ExitCode::kUsage, "{}=: the value is empty; give a number", name);
    }
    if (rest == "=" && kind == FlagKind::kValue) {
      out.insert(out.end(), {name, ""});
      continue;
    }
    out.push_back(name + rest);
    const bool takes_value = kind == FlagKind::kValue || kind == FlagKind::kNumber;
    if (!rest.empty() || !takes_value || i + 1 == words.size()) continue;
    if (words[i + 1].starts_with("--")) {
      fail(ExitCode::kUsage, "{} takes a value, but {} follows; for an empty value write {}=", name, words[i + 1],
           name);
    }
    out.push_back(words[++i]);
  }
  return out;
}

std::optional<std::string> nearest_name(std::string_view text, const std::vector<std::string>& names) {
  const std::string wanted = bare(text);
  std::optional<std::string> nearest;
  std::size_t least = wanted.size() / 3 + 1;
  for (const std::string& name : names) {
    const std::size_t difference = distance(wanted, bare(name));
    if (difference >= least) continue;
    least = difference;
    nearest = name;
  }
  return nearest;
}

std::string expand_home(const std::string& path, const std::string& home) {
  const bool begins = path == "~" || path.starts_with("~/");
  return begins && !home.empty() ? home + path.substr(1) : path;
}

std::string plain_config_text(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    fail(ExitCode::kUsage, "--config: the file is UTF-16; save it as UTF-8");
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool before_line_feed = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (!before_line_feed) out += text[i];
  }
  return out;
}

}  // namespace distmnist
