// A plan: a graph compiled for one batch size, with the memory between its layers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cuda/layer_kernel.h"
#include "lib/backend/cuda/tensors.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// Whether there is a kernel for `layer`, of its sizes.
bool has_kernel(const Layer& layer);

// How `precision` computes; kAuto must have been resolved.
Arithmetic arithmetic_of(Precision precision);

class Plan {
 public:
  // Context and graph outlive it. Error (kResources) where the device has not enough memory.
  Plan(std::uint64_t id, const Graph& graph, std::int64_t batch, const LayerContext& context);

  // Of this plan only. Callers that keep addresses of a plan compare it to find out whether they are stale.
  std::uint64_t id() const { return id_; }
  std::int64_t batch() const { return batch_; }
  const TensorView& input() const { return input_.value; }                         // the samples; written by the caller
  std::uint8_t* labels() const { return labels_.data(); }                          // [batch], likewise, before loss()
  const float* logits() const { return static_cast<const float*>(logits_.data); }  // [batch, classes]
  const float* losses() const { return losses_.data(); }                           // [batch], of the last loss()
  const std::uint8_t* correct() const { return correct_.data(); }

  // Each enqueues work. loss(): from the logits to their gradient, divided by `divisor` samples; counts `cursor` up.
  void forward(const Step& step);
  void loss(cudaStream_t stream, std::int64_t divisor, std::uint32_t* cursor);
  // At its end main waits for side.
  void backward(const Step& step);

  // By layer; see Executor::kernels().
  const std::vector<std::string>& names() const { return names_; }
  // Of the last forward() in training; nothing is under way.
  std::vector<LayerChoices> choices() const;

 private:
  struct PlacedKernel {
    std::size_t layer;  // the last one of the graph that it computes
    std::unique_ptr<LayerKernel> kernel;
    bool forward_only = false;
  };
  class Builder;

  std::uint64_t id_;
  std::int64_t batch_;
  Buffers buffers_;
  Tensor input_, output_;
  TensorView logits_;
  DeviceArray<std::uint8_t> labels_, correct_;
  DeviceArray<float> losses_;
  std::vector<PlacedKernel> kernels_;
  std::vector<std::string> names_;
  std::size_t first_trained_layer_ = 0;
};

}  // namespace distmnist::cuda
