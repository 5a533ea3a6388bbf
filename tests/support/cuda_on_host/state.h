// The simulated GPUs' insides, shared by the files that implement CUDA's calls. Work that is enqueued runs only when
// something waits for it, and then in an order by chance, as far as streams and events leave one: what is not ordered
// on a GPU is not ordered here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime.h>

#include "tests/support/cuda_on_host/control.h"

namespace cuda_on_host {

// Devices by a bit each.
using DeviceSet = std::uint32_t;
inline constexpr int kMaxDevices = 32;

struct Work {
  DeviceSet devices = 0;  // whose memory it may touch
  std::function<void()> run;
  std::vector<std::shared_ptr<Work>> after = {};
  bool done = false;
};

// A graph's node: the numbers of those that come before it.
struct Node {
  DeviceSet devices = 0;
  std::function<void()> run;
  std::set<std::size_t> after;
};

struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread = std::this_thread::get_id();  // that began it
  std::vector<Node> nodes = {};
  std::vector<cudaStream_t> streams = {};
  bool invalid = false;
};

struct Range {
  std::byte* data = nullptr;
  std::size_t size = 0;
};

struct Device {
  std::byte* base = nullptr;  // its memory; out of reach (PROT_NONE) while no work of its own runs
  std::size_t size = 0, used = 0;
  bool open = false;
  bool ran = false;                                    // since its guards were checked
  std::map<std::byte*, std::size_t> allocations = {};  // without their guards
  DeviceSet peers = 0;                                 // whose memory its kernels may touch, as enabled
  cudaStream_t legacy = nullptr;                       // the default stream
};

class State {
 public:
  explicit State(const Settings& settings);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Settings settings;
  std::vector<int> visible;  // physical numbers of the devices, in logical order
  std::vector<Device> devices;
  std::set<cudaStream_t> streams;
  std::map<std::byte*, std::size_t> pinned;
  std::vector<std::shared_ptr<Capture>> captures;  // under way
  std::mt19937_64 random;
  std::set<std::uint64_t> loaded;  // kernels of the libraries, by hashes of what they were chosen for
  std::string fault;
  std::uint64_t work_done = 0;
};

// The lock that every call holds, and the state that it guards.
std::recursive_mutex& mutex();
State& state();

// Of this thread.
int current_device();
void set_current_device(int device);

// Remembers the error for cudaGetLastError and hands it on.
cudaError_t result(cudaError_t status);
// Device work went wrong: prints the sentence; every call that follows fails, as after a fault on a GPU.
void record_fault(const std::string& sentence);

// Runs `call` under the lock; device faults come first, as on a GPU.
template <typename Call>
cudaError_t guarded(Call call) {
  const std::lock_guard lock(mutex());
  if (!state().fault.empty()) return result(cudaErrorLaunchFailure);
  return result(call());
}

// Streams. `devices`: whose memory the work may touch.
cudaError_t enqueue(cudaStream_t stream, DeviceSet devices, std::function<void()> run);
cudaError_t run_until(const std::function<bool()>& reached);
cudaError_t run_everything();
cudaError_t run_stream(cudaStream_t stream);
void run_nodes(const std::vector<Node>& nodes);
// The stream that is meant: null is the current device's default stream. Null where it does not exist.
cudaStream_t resolve(cudaStream_t stream);
// What a kernel on `device` may touch.
DeviceSet reachable_from(int device);
// cudaErrorStreamCaptureUnsupported, and the end of the captures, if this thread makes a call that one of them does not
// allow: another thread's may allow it.
cudaError_t refuse_in_capture();
// Libraries load a kernel when it is first used, which a capture does not allow: an error, and the end of the capture.
cudaError_t load_library_kernel(cudaStream_t stream, std::uint64_t kernel);

// Memory.
std::optional<int> device_of(const void* data);
// The range lies in one allocation of device memory.
bool is_device_range(const void* data, std::size_t size);
bool is_pinned_range(const void* data, std::size_t size);
// Opens these devices' memory and closes the others'.
void open_memory(DeviceSet devices);
// Records a fault where bytes next to an allocation have changed, on the devices that ran since it was last asked.
// Leaves their memory open.
void check_guards();

}  // namespace cuda_on_host

struct CUstream_st {
  int device = 0;
  bool blocking = false;  // ordered with the default stream
  std::deque<std::shared_ptr<cuda_on_host::Work>> queue = {};
  std::shared_ptr<cuda_on_host::Work> last = nullptr;
  std::vector<std::shared_ptr<cuda_on_host::Work>> waits = {};  // of the work that comes next
  std::shared_ptr<cuda_on_host::Capture> capture = nullptr;
  std::set<std::size_t> nodes = {};  // that the next captured node comes after
};

struct CUevent_st {
  int device = 0;
  bool timed = true;
  std::shared_ptr<cuda_on_host::Work> recorded = nullptr;
  std::shared_ptr<double> time_ms = nullptr;
  std::shared_ptr<cuda_on_host::Capture> capture = nullptr;
  std::set<std::size_t> nodes = {};
};

struct CUgraph_st {
  std::vector<cuda_on_host::Node> nodes = {};
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<cuda_on_host::Node>> nodes = nullptr;
  int device = 0;
};
