#include "lib/ps/store/variable_store.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <new>

#include "lib/base/thread_pool.h"
#include "lib/math/mean.h"
#include "lib/math/simd.h"

namespace distmnist {
namespace {

constexpr std::size_t kBlockFloats = 1024;        // 4 KiB: with parameters and slots, half of a small L1 cache
constexpr std::size_t kSharedFloats = 16 * 1024;  // Fewer are updated before another thread wakes up.

}  // namespace

ZeroedFloats::ZeroedFloats(std::size_t size) : memory_(nullptr, {size * sizeof(float)}), size_(size) {
  if (size == 0) return;
  // From the system itself: an allocator may write to the memory it returns (as with MALLOC_PERTURB_).
  void* const pages = mmap(nullptr, size * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  memory_.reset(static_cast<float*>(pages));
}

void ZeroedFloats::Unmap::operator()(float* memory) const {
  munmap(memory, bytes);
}

VariableStore::VariableStore(const std::vector<Range>& pieces, const OptimizerSpec& optimizer, std::int64_t global_step)
    : chunks_(pieces), optimizer_(optimizer), global_step_(global_step) {
  const auto size = static_cast<std::size_t>(chunks_.num_floats());
  for (std::size_t slot = 0; slot <= slot_names(optimizer.kind).size(); ++slot) values_.emplace_back(size);
}

std::span<float> VariableStore::values(std::size_t slot, std::size_t chunk) {
  assert(slot < values_.size());
  return slice(values_[slot].all(), chunks_.local(chunk));
}

std::span<const float> VariableStore::values(std::size_t slot, std::size_t chunk) const {
  return const_cast<VariableStore*>(this)->values(slot, chunk);
}

void VariableStore::begin_update(float rate_factor) {
  ++global_step_;
  ++commit_;
  rate_ = update_rate(optimizer_, global_step_, rate_factor);
}

void VariableStore::apply(std::size_t chunk, std::span<const float> gradient, std::span<float> updated) {
  const Numbers only{WireDtype::kF32, std::as_bytes(gradient)};
  apply(chunk, {&only, 1}, std::as_writable_bytes(updated), nullptr);
}

void VariableStore::apply(std::size_t chunk, std::span<const Numbers> gradients, std::span<std::byte> updated,
                          ThreadPool* pool) {
  const auto size = static_cast<std::size_t>(chunks_.range(chunk).size);
  if (pool == nullptr || size < kSharedFloats) return apply_part({chunk, 0, size}, gradients, updated);
  pool->run([&](int part) {
    const Share share = share_of(static_cast<std::int64_t>(size), part, pool->size(), kBlockFloats);
    apply_part({chunk, static_cast<std::size_t>(share.begin), static_cast<std::size_t>(share.size())}, gradients,
               updated);
  });
}

void VariableStore::apply_part(const Part& part, std::span<const Numbers> gradients, std::span<std::byte> updated) {
  const ScopedFlushDenormals flush_denormals;
  const UpdateRule rule = update_rule(optimizer_);
  const Numbers& first = gradients.front();
  if (gradients.size() == 1 && first.dtype == WireDtype::kF32) {
    UpdateArrays arrays = arrays_of(part);
    arrays.gradient = reinterpret_cast<const float*>(first.bytes.data()) + part.begin;
    arrays.updated = reinterpret_cast<float*>(updated.data()) + part.begin;
    return rule(arrays, optimizer_, rate_);
  }
  // Block by block: what is converted and summed stays in the fastest cache until it is applied, and what is applied
  // stays there until it is converted back. So memory is read once and written once, in the wire type.
  alignas(64) std::array<float, kBlockFloats> memory;
  const std::size_t width = bytes_per_number(first.dtype);
  const std::size_t end = part.begin + part.size;
  for (std::size_t begin = part.begin; begin < end; begin += kBlockFloats) {
    const std::span<float> block = std::span(memory).first(std::min(kBlockFloats, end - begin));
    read_numbers(first.slice(begin, block.size()), block);
    for (const Numbers& other : gradients.subspan(1)) add_numbers(other.slice(begin, block.size()), block);
    if (gradients.size() > 1) divide(block, static_cast<float>(gradients.size()));
    UpdateArrays arrays = arrays_of({part.chunk, begin, block.size()});
    arrays.gradient = arrays.updated = block.data();
    rule(arrays, optimizer_, rate_);
    write_numbers(block, first.dtype, updated.subspan(begin * width, block.size() * width));
  }
}

UpdateArrays VariableStore::arrays_of(const Part& part) {
  const auto from = [&](std::size_t slot) { return values(slot, part.chunk).data() + part.begin; };
  UpdateArrays arrays = {};
  arrays.parameters = from(0);
  arrays.first_slot = num_slots() > 0 ? from(1) : nullptr;
  arrays.second_slot = num_slots() > 1 ? from(2) : nullptr;
  arrays.size = part.size;
  return arrays;
}

}  // namespace distmnist
