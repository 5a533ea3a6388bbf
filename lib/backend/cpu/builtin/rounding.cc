#include "lib/backend/cpu/builtin/rounding.h"

namespace distmnist::cpu {
namespace {

class Rounding final : public LayerKernel {
 public:
  Rounding(ThreadPool& pool, const Tensor& tensor, bool gradient_only)
      : pool_(pool), tensor_(tensor), gradient_only_(gradient_only) {}

  void forward(const Step&) override {
    if (!gradient_only_) round(all_floats(tensor_.value));
  }
  void backward(const Step&) override {
    if (tensor_.needs_gradient()) round(all_floats(tensor_.gradient));
  }

 private:
  void round(std::span<float> floats) {
    pool_.run([&](int part) {
      const Share share = share_of(std::ssize(floats), part, pool_.size(), 16);
      const auto some = floats.subspan(static_cast<std::size_t>(share.begin), static_cast<std::size_t>(share.size()));
      round_to_bf16(some, some.data());
    });
  }

  ThreadPool& pool_;
  Tensor tensor_;
  bool gradient_only_;
};

class RoundedCopy final : public LayerKernel {
 public:
  RoundedCopy(const Tensor& input, const Tensor& output) : input_(input), output_(output) {}
  void forward(const Step&) override { round_to_bf16(all_floats(input_.value), all_floats(output_.value).data()); }
  void backward(const Step&) override {}

 private:
  Tensor input_, output_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_rounding(ThreadPool& pool, const Tensor& tensor, bool gradient_only) {
  return std::make_unique<Rounding>(pool, tensor, gradient_only);
}

std::unique_ptr<LayerKernel> make_rounded_copy(const Tensor& input, const Tensor& output) {
  return std::make_unique<RoundedCopy>(input, output);
}

}  // namespace distmnist::cpu
