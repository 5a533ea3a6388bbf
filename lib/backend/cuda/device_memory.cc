#include "lib/backend/cuda/device_memory.h"

#include <algorithm>
#include <cmath>

#include <cuda_runtime.h>

#include "lib/backend/cuda/check.h"
#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Small requests share a block of this size.
constexpr std::uint64_t kBlockBytes = 16 * kMiB;

double in_mib(std::uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kMiB);
}

struct CardMemory {
  std::size_t free = 0, total = 0;
};

CardMemory ask_card(int device) {
  CardMemory card;
  check(cudaSetDevice(device), "choose a device");
  check(cudaMemGetInfo(&card.free, &card.total), "get the memory size of a device");
  return card;
}

}  // namespace

DeviceMemory::DeviceMemory(int device, const MemoryShare& share) : device_(device), share_(share) {
  if (share.fraction && !(*share.fraction > 0 && *share.fraction <= 1)) {
    fail(ExitCode::kUsage, "--per_process_gpu_memory_fraction={}: give a share above 0 and at most 1", *share.fraction);
  }
  const CardMemory card = ask_card(device);
  total_bytes_ = card.total;
  limit_bytes_ = static_cast<std::uint64_t>(share.fraction.value_or(1.0) * static_cast<double>(card.total));
  limit_bytes_ -= limit_bytes_ % kPieceAlignment;
  if (!share.fraction || share.allow_growth) return;
  if (!grow(limit_bytes_)) {
    fail(ExitCode::kResources,
         "/gpu:{}: its share of {:.0f} MiB ({} of {:.0f} MiB) is not free, only {:.0f} MiB are; lower "
         "--per_process_gpu_memory_fraction, or take memory as it is needed with --allow_growth",
         device, in_mib(limit_bytes_), *share.fraction, in_mib(card.total), in_mib(card.free));
  }
}

DeviceMemory::~DeviceMemory() {
  for (void* block : blocks_) cudaFree(block);  // At process exit the driver may be gone: not checked.
}

void* DeviceMemory::allocate(std::uint64_t size_bytes, const std::string& purpose) {
  const std::scoped_lock lock(mutex_);
  std::optional<Piece> piece = pool_.take(size_bytes);
  if (!piece && grow(size_bytes)) piece = pool_.take(size_bytes);
  if (!piece) fail(ExitCode::kResources, "{}", shortage(size_bytes, purpose));
  void* address = static_cast<char*>(blocks_[piece->block]) + piece->offset;
  pieces_.emplace(address, *piece);
  return address;
}

void DeviceMemory::release(void* address) {
  const std::scoped_lock lock(mutex_);
  const auto found = pieces_.find(address);
  pool_.give_back(found->second);
  pieces_.erase(found);
}

std::uint64_t DeviceMemory::used_bytes() const {
  const std::scoped_lock lock(mutex_);
  return pool_.used_bytes();
}

// Adds a block that can hold `size_bytes`; false if the share or the card has no room for it.
bool DeviceMemory::grow(std::uint64_t size_bytes) {
  const std::uint64_t room = limit_bytes_ - std::min(limit_bytes_, pool_.total_bytes());
  const std::uint64_t needed = (size_bytes + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment;
  if (size_bytes > room || needed > room) return false;
  check(cudaSetDevice(device_), "choose a device");
  for (const std::uint64_t wanted : {std::min(std::max(needed, kBlockBytes), room), needed}) {
    void* block = nullptr;
    const cudaError_t status = cudaMalloc(&block, wanted);
    if (status == cudaSuccess) {
      blocks_.push_back(block);
      pool_.add_block(wanted);
      return true;
    }
    if (status != cudaErrorMemoryAllocation) check(status, "allocate memory on a device");
    cudaGetLastError();  // Clears the error, which the next launch would report.
  }
  return false;
}

std::string DeviceMemory::shortage(std::uint64_t size_bytes, const std::string& purpose) const {
  std::string text = fmt::format("/gpu:{}: out of memory: {} take {:.1f} MiB", device_, purpose, in_mib(size_bytes));
  const std::uint64_t needed = pool_.used_bytes() + size_bytes;
  if (needed > limit_bytes_ && share_.fraction) {
    return text + fmt::format(
                      ", and {:.1f} MiB of this process's share of {:.1f} MiB are in use; choose a smaller batch, or "
                      "--per_process_gpu_memory_fraction={:.2f} or more",
                      in_mib(pool_.used_bytes()), in_mib(limit_bytes_),
                      std::ceil(100.0 * static_cast<double>(needed) / static_cast<double>(total_bytes_)) / 100.0);
  }
  const CardMemory card = ask_card(device_);
  return text + fmt::format(
                    ", this process has {:.1f} MiB in use (largest free piece: {:.1f} MiB), and the card has {:.1f} of "
                    "{:.1f} MiB left; choose a smaller batch, or end other programs on this GPU",
                    in_mib(pool_.used_bytes()), in_mib(pool_.largest_free_bytes()), in_mib(card.free),
                    in_mib(card.total));
}

}  // namespace distmnist::cuda
