#include "lib/backend/reference/reference_backend.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "lib/backend/compile_options.h"
#include "lib/backend/dropout_mask.h"
#include "lib/backend/host_resident_training.h"
#include "lib/backend/reference/layers.h"
#include "lib/backend/softmax_loss.h"

namespace distmnist {
namespace {

using reference::Pass;

void report(const Layer& layer, const GradientReady& ready) {
  std::visit(
      [&](const auto& each) {
        if constexpr (requires { each.weights; }) {
          ready(each.weights);
          ready(each.biases);
        }
      },
      layer);
}

class ReferenceExecutor final : public Executor {
 public:
  ReferenceExecutor(const Graph& graph, const CompileOptions& options)
      : graph_(graph),
        options_(options),
        parameters_(static_cast<std::size_t>(graph.num_parameters)),
        gradients_(static_cast<std::size_t>(graph.num_parameters)),
        activations_(graph.layers.size() + 1),
        masks_(graph.layers.size()),
        resident_training_(*this, graph) {}

  void load(Range range, std::span<const float> values) override {
    std::ranges::copy(values, slice(std::span(parameters_), range).begin());
  }
  void read(Range range, std::span<float> values) const override {
    std::ranges::copy(slice(std::span(parameters_), range), values.begin());
  }
  std::span<float> gradients() override { return gradients_; }
  void force_choices(std::vector<LayerChoices> choices) { forced_ = std::move(choices); }
  std::vector<std::string> kernels() override { return std::vector<std::string>(graph_.layers.size(), "plain loops"); }
  ResidentTraining* resident_training() override { return &resident_training_; }

  StepResult train_step(const Batch& batch, const GradientReady& ready) override {
    assert(batch.size >= 1 && batch.size <= options_.max_batch_size);
    fill_masks(batch);
    forward(batch.size, batch.images);
    const std::vector<double>& logits = activations_.back();
    std::vector<double> gradient(logits.size());
    const StepResult result = softmax_cross_entropy<double>(logits, batch.labels, gradient);
    backward(batch.size, std::move(gradient), ready);
    return result;
  }

  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override {
    assert(count >= 1 && count <= options_.max_batch_size);
    for (std::vector<float>& mask : masks_) mask.clear();
    forward(count, images);
    std::ranges::transform(activations_.back(), logits.begin(), [](double value) { return static_cast<float>(value); });
  }

 private:
  void fill_masks(const Batch& batch) {
    for (std::size_t i = 0; i < graph_.layers.size(); ++i) {
      const auto* dropout = std::get_if<Dropout>(&graph_.layers[i]);
      if (dropout == nullptr) continue;
      masks_[i].resize(static_cast<std::size_t>(batch.size * dropout->input.size()));
      fill_dropout_mask(options_, *dropout, batch.first_sample, masks_[i]);
    }
  }

  std::span<const std::uint8_t> choices_of(std::size_t layer) const {
    const auto forced = std::ranges::find(forced_, layer, &LayerChoices::layer);
    return forced == forced_.end() ? std::span<const std::uint8_t>() : forced->bytes;
  }

  Pass pass(std::int64_t batch, std::size_t layer) const {
    return {.batch = batch, .parameters = parameters_, .dropout_mask = masks_[layer], .choices = choices_of(layer)};
  }

  void forward(std::int64_t batch, std::span<const float> images) {
    activations_[0].assign(images.begin(), images.end());
    for (std::size_t i = 0; i < graph_.layers.size(); ++i) {
      activations_[i + 1].resize(static_cast<std::size_t>(batch * output_of(graph_.layers[i]).size()));
      reference::forward(graph_.layers[i], pass(batch, i), activations_[i], activations_[i + 1]);
    }
  }

  // Goes back to the first layer that has variables; what lies before it needs no gradient.
  void backward(std::int64_t batch, std::vector<double> output_gradient, const GradientReady& ready) {
    const auto first = std::ranges::find_if(graph_.layers, has_variables) - graph_.layers.begin();
    for (std::ptrdiff_t i = std::ssize(graph_.layers) - 1; i >= first; --i) {
      std::vector<double> input_gradient(i == first ? 0 : activations_[i].size());
      reference::backward(graph_.layers[i], pass(batch, i), {activations_[i], activations_[i + 1]},
                          {.output = output_gradient, .input = input_gradient, .parameters = gradients_});
      if (ready) report(graph_.layers[i], ready);
      output_gradient = std::move(input_gradient);
    }
  }

  Graph graph_;
  CompileOptions options_;
  std::vector<LayerChoices> forced_;
  std::vector<float> parameters_;  // [num_parameters], canonical layout, like the gradients
  std::vector<float> gradients_;
  std::vector<std::vector<double>> activations_;  // the input and each layer's output
  std::vector<std::vector<float>> masks_;         // per layer; empty but for dropout in training
  HostResidentTraining resident_training_;
};

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  bool can_compute(const Layer&, Precision precision) const override {
    return precision != Precision::kTf32 && precision != Precision::kBf16;
  }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    check_layers(*this, graph, options.precision);
    return std::make_unique<ReferenceExecutor>(graph, options);
  }
};

}  // namespace

void force_choices(Executor& executor, std::vector<LayerChoices> choices) {
  dynamic_cast<ReferenceExecutor&>(executor).force_choices(std::move(choices));
}

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace distmnist
