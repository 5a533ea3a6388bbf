#include "lib/supervisor/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/error.h"

namespace distmnist {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMetadataName = "__metadata__";

// Iterates over the text and records the position, because the parser itself reports positions only for syntax errors.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** farthest) : at_(at), farthest_(farthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *farthest_ = ++at_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** farthest_;
};

// Receives the parser's events and accepts only the structure of a header. It builds no tree, so neither deep nesting
// nor a million empty objects use memory: parsing stops at the first event that does not fit.
class HeaderBuilder {
 public:
  HeaderBuilder(std::string_view text, std::string_view file_name) : text_(text), at_(text.data()), file_(file_name) {}

  SafetensorsHeader build() {
    const char* end = text_.data() + text_.size();
    Json::sax_parse(CountingIterator(text_.data(), &at_), CountingIterator(end, &at_), this);
    return std::move(header_);
  }

  // The events, with the names that the parser calls.
  bool null() { refuse("null"); }
  bool boolean(bool) { refuse("true or false"); }
  bool number_integer(Json::number_integer_t) { refuse("a negative number"); }
  bool number_float(Json::number_float_t, const std::string&) { refuse("a number that is not an integer"); }
  bool binary(Json::binary_t&) { refuse("binary data"); }
  bool number_unsigned(std::uint64_t value) {
    if (state_ == State::kShape) {
      if (value > static_cast<std::uint64_t>(INT64_MAX)) refuse("a dimension beyond 2^63");
      if (tensor_.shape.size() == kMaxTensorRank) refuse(fmt::format("more than {} dimensions", kMaxTensorRank));
      tensor_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (state_ == State::kOffsets) {
      if (num_offsets_ == 2) refuse("more than two data_offsets");
      (num_offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
    } else {
      refuse("a number");
    }
    return true;
  }
  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      header_.metadata[key_] = std::move(value);
    } else if (state_ == State::kTensor && key_ == "dtype") {
      tensor_.dtype = std::move(value);
    } else {
      refuse("a string");
    }
    return true;
  }
  bool start_object(std::size_t) {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTop && key_ == kMetadataName) {
      state_ = State::kMetadata;
    } else if (state_ == State::kTop) {
      if (header_.tensors.size() == kMaxTensors) refuse(fmt::format("more than {} tensors", kMaxTensors));
      tensor_ = TensorInfo{.name = key_, .dtype = {}, .shape = {}};
      fields_seen_.clear();
      num_offsets_ = 0;
      state_ = State::kTensor;
    } else {
      refuse("an object");
    }
    return true;
  }
  bool key(std::string& name) {
    const bool is_new = state_ == State::kTop        ? names_seen_.insert(name).second
                        : state_ == State::kMetadata ? !header_.metadata.contains(name)
                                                     : fields_seen_.insert(name).second;
    if (!is_new) refuse(fmt::format("the key \"{}\" a second time", printable(name)));
    if (state_ == State::kTensor && name != "dtype" && name != "shape" && name != "data_offsets") {
      refuse(fmt::format("the unknown key \"{}\"", printable(name)));
    }
    key_ = std::move(name);
    return true;
  }
  bool end_object() {
    if (state_ == State::kTensor) {
      if (fields_seen_.size() != 3) refuse("a tensor without a dtype, shape or data_offsets");
      header_.tensors.push_back(std::move(tensor_));
    }
    state_ = State::kTop;  // the parser accepts nothing after the outermost object
    return true;
  }
  bool start_array(std::size_t) {
    if (state_ == State::kTensor && key_ == "shape") {
      state_ = State::kShape;
    } else if (state_ == State::kTensor && key_ == "data_offsets") {
      state_ = State::kOffsets;
    } else {
      refuse("an array");
    }
    return true;
  }
  bool end_array() {
    if (state_ == State::kOffsets && num_offsets_ != 2) refuse("data_offsets without two numbers");
    state_ = State::kTensor;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    fail(ExitCode::kData, "{}: the header is not JSON at offset {}", file_, kLengthWordBytes + position);
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] void refuse(std::string_view what) const {
    const bool in_tensor = state_ == State::kTensor || state_ == State::kShape || state_ == State::kOffsets;
    fail(ExitCode::kData, "{}: the header has {} near offset {}, {}", file_, what,
         kLengthWordBytes + static_cast<std::uint64_t>(at_ - text_.data()) - 1,
         in_tensor ? fmt::format("in tensor \"{}\"", printable(tensor_.name)) : "outside any tensor");
  }

  std::string_view text_;
  const char* at_;
  std::string_view file_;
  State state_ = State::kStart;
  SafetensorsHeader header_;
  TensorInfo tensor_;
  std::string key_;
  int num_offsets_ = 0;
  std::set<std::string> names_seen_;
  std::set<std::string> fields_seen_;
};

// The size implied by a tensor's dtype and shape must match its offsets.
void check_size(const TensorInfo& tensor, std::string_view file_name) {
  const std::uint64_t element = element_size_bytes(tensor.dtype);
  if (element == 0) {
    fail(ExitCode::kData, "{}: tensor \"{}\" has the unknown dtype \"{}\"", file_name, printable(tensor.name),
         printable(tensor.dtype));
  }
  std::uint64_t size = element;
  bool overflow = false;
  for (const std::int64_t dimension : tensor.shape) {
    overflow = __builtin_mul_overflow(size, static_cast<std::uint64_t>(dimension), &size) || overflow;
  }
  if (overflow || tensor.end < tensor.begin || tensor.end - tensor.begin != size) {
    fail(ExitCode::kData, "{}: tensor \"{}\" of {} {} does not fill its data_offsets [{}, {}]", file_name,
         printable(tensor.name), tensor.dtype, shape_text(tensor.shape), tensor.begin, tensor.end);
  }
}

// Sorted tensors must be contiguous and cover the data from the first byte to the last.
void check_order(const std::vector<TensorInfo>& tensors, std::uint64_t data_begin, std::uint64_t data_size_bytes,
                 std::string_view file_name) {
  std::uint64_t expected = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin != expected) {
      fail(ExitCode::kData, "{}: {} before tensor \"{}\", between offsets {} and {} of the data at offset {}",
           file_name, tensor.begin > expected ? "a hole" : "an overlap", printable(tensor.name),
           std::min(tensor.begin, expected), std::max(tensor.begin, expected), data_begin);
    }
    if (tensor.end > data_size_bytes) {
      fail(ExitCode::kData, "{}: truncated: tensor \"{}\" needs {} bytes of data at offset {}, but there are only {}",
           file_name, printable(tensor.name), tensor.end, data_begin, data_size_bytes);
    }
    expected = tensor.end;
  }
  if (expected != data_size_bytes) {
    fail(ExitCode::kData, "{}: {} bytes after the last tensor, at offset {}", file_name, data_size_bytes - expected,
         data_begin + expected);
  }
}

}  // namespace

std::uint64_t element_size_bytes(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 16> kSizes = {{{"F32", 4},
                                                                                         {"F64", 8},
                                                                                         {"F16", 2},
                                                                                         {"BF16", 2},
                                                                                         {"F8_E4M3", 1},
                                                                                         {"F8_E5M2", 1},
                                                                                         {"I64", 8},
                                                                                         {"I32", 4},
                                                                                         {"I16", 2},
                                                                                         {"I8", 1},
                                                                                         {"U64", 8},
                                                                                         {"U32", 4},
                                                                                         {"U16", 2},
                                                                                         {"U8", 1},
                                                                                         {"BOOL", 1},
                                                                                         {"C64", 8}}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_size_bytes,
                                           std::string_view file_name) {
  if (text.empty() || text.front() != '{') {
    fail(ExitCode::kData, "{}: the header at offset {} does not begin with '{{'", file_name, kLengthWordBytes);
  }
  // The parser treats a zero byte as the end of the text and would ignore the rest.
  if (const auto zero = text.find('\0'); zero != text.npos) {
    fail(ExitCode::kData, "{}: the header has a zero byte at offset {}", file_name, kLengthWordBytes + zero);
  }
  SafetensorsHeader header = HeaderBuilder(text, file_name).build();
  for (const TensorInfo& tensor : header.tensors) check_size(tensor, file_name);
  std::ranges::sort(header.tensors, {}, [](const TensorInfo& t) { return std::tie(t.begin, t.end, t.name); });
  check_order(header.tensors, kLengthWordBytes + text.size(), data_size_bytes, file_name);
  return header;
}

std::string format_safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json json;
  json[std::string(kMetadataName)] = header.metadata;
  for (const TensorInfo& tensor : header.tensors) {
    nlohmann::ordered_json entry;
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {tensor.begin, tensor.end};
    json[tensor.name] = std::move(entry);
  }
  // Paths and host names need not be UTF-8, but JSON must be.
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

std::string printable(std::string_view text, std::size_t max_length) {
  std::string shown(text.substr(0, max_length));
  std::ranges::replace_if(
      shown, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
  if (text.size() > max_length) shown += "...";
  return shown;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t dimension : shape) text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  return fmt::format("[{}]", text);
}

}  // namespace distmnist
