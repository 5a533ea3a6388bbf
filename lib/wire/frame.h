// Frame: bytes with an owner, passed from the socket to the code that uses them and back without a copy.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lib/wire/header.h"

namespace distmnist {

// Move-only. The bytes are writable: a reply may overwrite the request that it answers. Aligned for floats.
class Frame {
 public:
  using Owner = std::unique_ptr<void, void (*)(void*)>;

  Frame() = default;
  Frame(std::span<std::byte> bytes, Owner owner) : bytes_(bytes), owner_(std::move(owner)) {}

  static Frame allocate(std::size_t size) {
    auto* memory = new std::byte[size];
    return Frame({memory, size}, Owner(memory, [](void* p) { delete[] static_cast<std::byte*>(p); }));
  }
  // Bytes with a different owner, which must keep them until the message has been sent and answered.
  static Frame borrow(std::span<const std::byte> bytes) {
    return Frame({const_cast<std::byte*>(bytes.data()), bytes.size()}, Owner(nullptr, [](void*) {}));
  }

  // The bytes of a frame that several messages share; they must not be written any more.
  static Frame share(const std::shared_ptr<Frame>& frame) {
    auto* holder = new std::shared_ptr<Frame>(frame);
    return Frame(frame->bytes(), Owner(holder, [](void* p) { delete static_cast<std::shared_ptr<Frame>*>(p); }));
  }

  std::span<std::byte> bytes() { return bytes_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::span<float> floats() { return {reinterpret_cast<float*>(bytes_.data()), bytes_.size() / sizeof(float)}; }
  std::span<const float> floats() const {
    return {reinterpret_cast<const float*>(bytes_.data()), bytes_.size() / sizeof(float)};
  }
  std::size_t size() const { return bytes_.size(); }

  // Releases the memory to the caller; the frame is empty afterwards.
  Owner release() {
    bytes_ = {};
    return std::move(owner_);
  }

 private:
  std::span<std::byte> bytes_;
  Owner owner_{nullptr, [](void*) {}};
};

}  // namespace distmnist
