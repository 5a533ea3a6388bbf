// Streams, events, and the order in which enqueued work runs.
#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "tests/support/cuda_on_host/fibers.h"
#include "tests/support/cuda_on_host/include/cuda_on_host/launch.h"
#include "tests/support/cuda_on_host/state.h"

namespace cuda_on_host {
namespace {

bool is_ready(const Work& work) {
  return std::all_of(work.after.begin(), work.after.end(), [](const auto& before) { return before->done; });
}

bool coin() {
  return (state().random() >> 32 & 1) != 0;
}

// Runs the code; an exception is a fault of the device.
void run_on(DeviceSet devices, const std::function<void()>& code) {
  // work that accesses no device memory skips this, because changing access is slow
  if (devices != 0) open_memory(devices);
  try {
    code();
    ++state().work_done;
  } catch (const std::exception& error) {
    record_fault(error.what());
  }
}

// Runs the first work of a random stream that can continue; returns false if none can.
bool run_some_work() {
  std::vector<cudaStream_t> ready;
  for (cudaStream_t stream : state().streams) {
    if (!stream->queue.empty() && is_ready(*stream->queue.front())) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  cudaStream_t stream = ready[state().random() % ready.size()];
  const std::shared_ptr<Work> work = std::move(stream->queue.front());
  stream->queue.pop_front();
  run_on(work->devices, work->run);
  work->done = true;
  work->run = nullptr;
  work->after.clear();
  return true;
}

void capture_node(CUstream_st& stream, DeviceSet devices, std::function<void()> run) {
  std::vector<Node>& nodes = stream.capture->nodes;
  nodes.push_back({devices, std::move(run), stream.nodes});
  stream.nodes = {nodes.size() - 1};
}

// The default stream waits for all blocking streams of its device, and they wait for it.
void order_with_default_stream(CUstream_st& stream, Work& work) {
  const Device& device = state().devices[static_cast<std::size_t>(stream.device)];
  const auto wait_for = [&](const CUstream_st& other) {
    if (other.last && !other.last->done) work.after.push_back(other.last);
  };
  if (&stream != device.legacy) {
    if (stream.blocking) wait_for(*device.legacy);
    return;
  }
  for (cudaStream_t other : state().streams) {
    if (other != &stream && other->blocking && other->device == stream.device) wait_for(*other);
  }
}

bool is_default_stream(cudaStream_t stream) {
  return stream == state().devices[static_cast<std::size_t>(stream->device)].legacy;
}

}  // namespace

cudaStream_t resolve(cudaStream_t stream) {
  const auto device = static_cast<std::size_t>(current_device());
  if (stream == nullptr || stream == cudaStreamLegacy) {
    return device < state().devices.size() ? state().devices[device].legacy : nullptr;
  }
  return state().streams.contains(stream) ? stream : nullptr;
}

DeviceSet reachable_from(int device) {
  return state().devices[static_cast<std::size_t>(device)].peers;
}

cudaError_t refuse_in_capture() {
  bool refused = false;
  for (const auto& capture : state().captures) {
    const bool everywhere = capture->mode == cudaStreamCaptureModeGlobal;
    const bool here =
        capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id();
    if (everywhere || here) capture->invalid = refused = true;
  }
  return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t load_library_kernel(cudaStream_t stream, std::uint64_t kernel) {
  if (state().loaded.contains(kernel)) return cudaSuccess;
  if (stream->capture) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  state().loaded.insert(kernel);
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, DeviceSet devices, std::function<void()> run) {
  if (stream->capture) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    capture_node(*stream, devices, std::move(run));
    return cudaSuccess;
  }
  if (is_default_stream(stream)) {
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return cudaErrorStreamCaptureImplicit;
  }
  auto work = std::make_shared<Work>(Work{.devices = devices, .run = std::move(run)});
  work->after = std::exchange(stream->waits, {});
  order_with_default_stream(*stream, *work);
  stream->queue.push_back(work);
  stream->last = work;
  return cudaSuccess;
}

cudaError_t run_until(const std::function<bool()>& reached) {
  while (!reached() && state().fault.empty()) {
    if (!run_some_work()) {
      record_fault("work is waited for that can never run");
      break;
    }
  }
  check_guards();
  open_memory(0);
  return state().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t run_everything() {
  return run_until([] {
    return std::all_of(state().streams.begin(), state().streams.end(),
                       [](cudaStream_t stream) { return stream->queue.empty(); });
  });
}

cudaError_t run_stream(cudaStream_t stream) {
  return run_until([&] { return stream->queue.empty(); });
}

void run_nodes(const std::vector<Node>& nodes) {
  std::vector<bool> done(nodes.size());
  for (std::size_t count = 0; count < nodes.size() && state().fault.empty(); ++count) {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto& after = nodes[i].after;
      if (!done[i] && std::all_of(after.begin(), after.end(), [&](std::size_t j) { return done[j]; })) {
        ready.push_back(i);
      }
    }
    const std::size_t chosen = ready[state().random() % ready.size()];
    run_on(nodes[chosen].devices, nodes[chosen].run);
    done[chosen] = true;
  }
}

cudaError_t enqueue_kernel(cudaStream_t given, dim3 grid, dim3 block, std::function<void()> thread) {
  return guarded([&] {
    cudaStream_t stream = resolve(given);
    if (stream == nullptr || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    const auto threads = std::uint64_t{block.x} * block.y * block.z;
    const auto blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    if (threads == 0 || threads > 1024 || block.z > 64 || blocks == 0 || grid.x > 0x7fffffffU || grid.y > 65535 ||
        grid.z > 65535) {
      return cudaErrorInvalidConfiguration;
    }
    return enqueue(stream, reachable_from(stream->device), [grid, block, thread = std::move(thread)] {
      run_grid(grid, block, {.last_block_first = coin(), .last_thread_first = coin()}, thread);
    });
  });
}

}  // namespace cuda_on_host

using namespace cuda_on_host;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return guarded([&] {
    if (stream == nullptr || (flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) != 0) return cudaErrorInvalidValue;
    (void)priority;  // the priority is out of range or only a hint
    if (resolve(nullptr) == nullptr) return cudaErrorNoDevice;
    *stream = new CUstream_st{.device = current_device(), .blocking = flags == cudaStreamDefault};
    state().streams.insert(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return guarded([&] {
    if (stream == nullptr || !state().streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    if (stream->capture) return cudaErrorStreamCaptureUnsupported;
    const cudaError_t status = run_stream(stream);
    state().streams.erase(stream);
    delete stream;
    return status;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t given) {
  return guarded([&] {
    cudaStream_t stream = resolve(given);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture) {
      stream->capture->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return run_stream(stream);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t given) {
  return guarded([&] {
    cudaStream_t stream = resolve(given);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture) {
      stream->capture->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    // A caller that polls must eventually see the end.
    run_some_work();
    open_memory(0);
    return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return guarded([] {
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    return run_everything();
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return guarded([&] {
    if (resolve(nullptr) == nullptr) return cudaErrorNoDevice;
    *event = new CUevent_st{.device = current_device(), .timed = (flags & cudaEventDisableTiming) == 0};
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return guarded([&] {
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t given) {
  return guarded([&] {
    cudaStream_t stream = resolve(given);
    if (stream == nullptr || event == nullptr || stream->device != event->device) return cudaErrorInvalidResourceHandle;
    if (stream->capture) {
      event->capture = stream->capture;
      event->nodes = stream->nodes;
      return cudaSuccess;
    }
    event->capture = nullptr;
    event->time_ms = std::make_shared<double>();
    const cudaError_t status = enqueue(stream, 0, [time = event->time_ms] {
      const auto now = std::chrono::steady_clock::now().time_since_epoch();
      *time = std::chrono::duration<double, std::milli>(now).count();
    });
    if (status == cudaSuccess) event->recorded = stream->last;
    return status;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t given, cudaEvent_t event, unsigned) {
  return guarded([&] {
    cudaStream_t stream = resolve(given);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (!event->capture) {
      // Only work from the same capture can come before captured work.
      if (stream->capture && event->recorded) return cudaErrorStreamCaptureIsolation;
      if (!event->recorded || event->recorded->done) return cudaSuccess;
      stream->waits.push_back(event->recorded);
      return enqueue(stream, 0, [] {});
    }
    if (stream->capture && stream->capture != event->capture) return cudaErrorStreamCaptureMerge;
    if (std::find(state().captures.begin(), state().captures.end(), event->capture) == state().captures.end()) {
      return cudaErrorCapturedEvent;
    }
    if (!stream->capture) {
      stream->capture = event->capture;
      stream->capture->streams.push_back(stream);
      stream->nodes.clear();
    }
    stream->nodes.insert(event->nodes.begin(), event->nodes.end());
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return guarded([&] {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->capture) return cudaErrorCapturedEvent;
    return run_until([work = event->recorded] { return !work || work->done; });
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return guarded([&] {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->capture) return cudaErrorCapturedEvent;
    run_some_work();
    open_memory(0);
    return !event->recorded || event->recorded->done ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return guarded([&] {
    if (start == nullptr || end == nullptr || !start->timed || !end->timed || !start->recorded || !end->recorded) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!start->recorded->done || !end->recorded->done) return cudaErrorNotReady;
    *ms = static_cast<float>(*end->time_ms - *start->time_ms);
    return cudaSuccess;
  });
}
