// aligned: columns of text for a terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace distmnist {

// One line for each row. Every cell except a row's last one is padded to the width of its column's widest cell, plus
// two spaces. Rows may have different numbers of cells. Widths count bytes.
inline std::vector<std::string> aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    // The last cell of a short row may extend over the columns that the row does not have.
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace distmnist
