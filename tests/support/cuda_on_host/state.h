// The internal state of the simulated GPUs, shared by the files that implement CUDA's calls. Enqueued work runs only
// when a call waits for it, and then in a random order that respects streams and events: work that is not ordered on a
// GPU is not ordered here.
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

// One bit per device.
using DeviceSet = std::uint32_t;
inline constexpr int kMaxDevices = 32;

struct Work {
  DeviceSet devices = 0;  // whose memory it may access
  std::function<void()> run;
  std::vector<std::shared_ptr<Work>> after = {};
  bool done = false;
};

// A graph's node: the numbers of the nodes before it.
struct Node {
  DeviceSet devices = 0;
  std::function<void()> run;
  std::set<std::size_t> after;
};

struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread = std::this_thread::get_id();  // the thread that began it
  std::vector<Node> nodes = {};
  std::vector<cudaStream_t> streams = {};
  bool invalid = false;
};

struct Range {
  std::byte* data = nullptr;
  std::size_t size = 0;
};

struct Device {
  std::byte* base = nullptr;  // its memory; inaccessible (PROT_NONE) while none of its work runs
  std::size_t size = 0, used = 0;
  bool open = false;
  bool ran = false;                                    // since its guards were last checked
  std::map<std::byte*, std::size_t> allocations = {};  // without their guards
  DeviceSet peers = 0;                                 // whose memory its kernels may access, as enabled
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
  std::vector<std::shared_ptr<Capture>> captures;  // in progress
  std::mt19937_64 random;
  std::set<std::uint64_t> loaded;  // kernels of the libraries, by hashes of what they were chosen for
  std::string fault;
  std::uint64_t work_done = 0;
};

// The lock that every call holds, and the state that it protects.
std::recursive_mutex& mutex();
State& state();

// The current device of this thread.
int current_device();
void set_current_device(int device);

// Stores the error for cudaGetLastError and returns it.
cudaError_t result(cudaError_t status);
// Device work failed: prints the sentence, and every following call fails, as after a fault on a GPU.
void record_fault(const std::string& sentence);

// Runs `call` under the lock; device faults take precedence, as on a GPU.
template <typename Call>
cudaError_t guarded(Call call) {
  const std::lock_guard lock(mutex());
  if (!state().fault.empty()) return result(cudaErrorLaunchFailure);
  return result(call());
}

// Streams. `devices`: whose memory the work may access.
cudaError_t enqueue(cudaStream_t stream, DeviceSet devices, std::function<void()> run);
cudaError_t run_until(const std::function<bool()>& reached);
cudaError_t run_everything();
cudaError_t run_stream(cudaStream_t stream);
void run_nodes(const std::vector<Node>& nodes);
// The stream for a handle: null is the current device's default stream. Returns null if it does not exist.
cudaStream_t resolve(cudaStream_t stream);
// The devices whose memory a kernel on `device` may access.
DeviceSet reachable_from(int device);
// Returns cudaErrorStreamCaptureUnsupported and ends the captures if one of them does not allow this call in this
// thread. A capture of another thread may allow it.
cudaError_t refuse_in_capture();
// Libraries load a kernel at its first use, which a capture does not allow: returns an error and ends the capture.
cudaError_t load_library_kernel(cudaStream_t stream, std::uint64_t kernel);

// Memory.
std::optional<int> device_of(const void* data);
// True if the range is inside one allocation of device memory.
bool is_device_range(const void* data, std::size_t size);
bool is_pinned_range(const void* data, std::size_t size);
// Makes these devices' memory accessible and all other device memory inaccessible.
void open_memory(DeviceSet devices);
// Records a fault if bytes beside an allocation have changed on the devices that ran since the last check. Leaves their
// memory accessible.
void check_guards();

}  // namespace cuda_on_host

struct CUstream_st {
  int device = 0;
  bool blocking = false;  // ordered with the default stream
  std::deque<std::shared_ptr<cuda_on_host::Work>> queue = {};
  std::shared_ptr<cuda_on_host::Work> last = nullptr;
  std::vector<std::shared_ptr<cuda_on_host::Work>> waits = {};  // for the next work
  std::shared_ptr<cuda_on_host::Capture> capture = nullptr;
  std::set<std::size_t> nodes = {};  // the nodes that the next captured node comes after
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
