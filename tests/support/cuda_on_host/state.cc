#include "tests/support/cuda_on_host/state.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <fmt/core.h>
#include <sys/mman.h>

namespace cuda_on_host {
namespace {

thread_local int device_of_thread = 0;
thread_local cudaError_t last_error = cudaSuccess;

std::unique_ptr<State>& owner() {
  static std::unique_ptr<State> instance;
  return instance;
}

// Calls `entry` with each text between commas.
void split(std::string_view text, const std::function<void(std::string_view)>& entry) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    entry(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void apply(std::string_view entry, Settings& settings) {
  const std::size_t equals = std::min(entry.find('='), entry.size());
  const std::string_view key = entry.substr(0, equals);
  const std::string value(entry.substr(std::min(equals + 1, entry.size())));
  if (key == "devices") {
    settings.devices = std::stoi(value);
  } else if (key == "memory_mib") {
    settings.memory_bytes = std::stoull(value) << 20;
  } else if (key == "peers") {
    settings.peers = value != "0";
  } else if (key == "seed") {
    settings.seed = std::stoull(value);
  } else if (key == "fused") {
    settings.fused_epilogues = value != "0";
  } else if (key == "repeatable_advice") {
    settings.repeatable_advice = value != "0";
  } else if (key == "nccl") {
    settings.nccl = value != "0";
  } else if (key == "capability") {
    settings.major = std::stoi(value);
    settings.minor = std::stoi(value.substr(value.find('.') + 1));
  } else {
    throw std::invalid_argument(fmt::format("CUDA_ON_HOST knows no \"{}\"", entry));
  }
}

Settings settings_of_environment() {
  Settings settings;
  const char* text = std::getenv("CUDA_ON_HOST");
  split(text == nullptr ? "" : text, [&](std::string_view entry) { apply(entry, settings); });
  return settings;
}

// Reads CUDA_VISIBLE_DEVICES like the driver: up to the first number that is not a device.
std::vector<int> visible_devices(int count) {
  std::vector<int> visible;
  const char* text = std::getenv("CUDA_VISIBLE_DEVICES");
  if (text == nullptr) {
    for (int i = 0; i < count; ++i) visible.push_back(i);
    return visible;
  }
  bool known = true;
  split(text, [&](std::string_view entry) {
    int number = -1;
    const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
    known = known && error == std::errc{} && end == entry.data() + entry.size() && number >= 0 && number < count;
    if (known) visible.push_back(number);
  });
  return visible;
}

}  // namespace

State::State(const Settings& wanted)
    : settings(wanted), visible(visible_devices(wanted.devices)), devices(visible.size()), random(wanted.seed) {
  if (wanted.devices < 0 || wanted.devices > kMaxDevices) throw std::invalid_argument("too many devices");
  for (std::size_t i = 0; i < devices.size(); ++i) {
    Device& device = devices[i];
    device.size = settings.memory_bytes;
    void* memory = mmap(nullptr, device.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    device.base = static_cast<std::byte*>(memory);
    device.peers = DeviceSet{1} << i;
    device.legacy = new CUstream_st{.device = static_cast<int>(i), .blocking = true};
    streams.insert(device.legacy);
  }
}

State::~State() {
  for (cudaStream_t stream : streams) delete stream;
  for (const auto& [data, size] : pinned) std::free(data);
  for (const Device& device : devices) munmap(device.base, device.size);
  if (!fault.empty()) std::abort();  // it was printed when it happened
}

std::recursive_mutex& mutex() {
  static std::recursive_mutex instance;
  return instance;
}

State& state() {
  if (!owner()) owner() = std::make_unique<State>(settings_of_environment());
  return *owner();
}

int current_device() {
  return device_of_thread;
}

void set_current_device(int device) {
  device_of_thread = device;
}

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

void record_fault(const std::string& sentence) {
  std::fprintf(stderr, "CUDA on the host: %s\n", sentence.c_str());
  if (state().fault.empty()) state().fault = sentence;
}

void reset(const Settings& settings) {
  const std::lock_guard lock(mutex());
  owner().reset();
  owner() = std::make_unique<State>(settings);
  device_of_thread = 0;
  last_error = cudaSuccess;
}

std::string take_fault() {
  const std::lock_guard lock(mutex());
  last_error = cudaSuccess;
  return std::exchange(state().fault, {});
}

std::uint64_t work_done() {
  const std::lock_guard lock(mutex());
  return state().work_done;
}

std::uint64_t work_waiting() {
  const std::lock_guard lock(mutex());
  std::uint64_t waiting = 0;
  for (cudaStream_t stream : state().streams) waiting += stream->queue.size();
  return waiting;
}

std::size_t live_allocations() {
  const std::lock_guard lock(mutex());
  std::size_t live = state().pinned.size();
  for (const Device& device : state().devices) live += device.allocations.size();
  return live;
}

}  // namespace cuda_on_host

using namespace cuda_on_host;

cudaError_t cudaGetLastError() {
  const std::lock_guard lock(mutex());
  if (!state().fault.empty()) return cudaErrorLaunchFailure;
  return std::exchange(last_error, cudaSuccess);
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(mutex());
  return state().fault.empty() ? last_error : cudaErrorLaunchFailure;
}
