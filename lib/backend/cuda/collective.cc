#include "lib/backend/cuda/collective.h"

#include <utility>

#include "lib/backend/cuda/kernels/elementwise.h"
#include "lib/backend/cuda/nccl.h"

namespace distmnist::cuda {
namespace {

float* gradients_of(Tower& tower) {
  return tower.parameters().gradients({0, tower.parameters().size()});
}

// Copies the gradients of the other devices to the first one, in order, and adds them there. Then copies the sum back.
class PeerCopies final : public Collective {
 public:
  explicit PeerCopies(const std::vector<std::unique_ptr<Tower>>& towers) {
    for (const auto& tower : towers) {
      tower->make_current();
      members_.push_back({*tower, make_event(), make_event()});
    }
    Tower& first = members_[0].tower;
    first.make_current();
    arrived_ = DeviceArray<float>(*first.gpu().memory, first.parameters().size(), "another device's gradients");
    summed_ = make_event();
  }

  std::string name() const override { return "copies between the devices"; }

  void sum_gradients() override {
    const Member& first = members_[0];
    const cudaStream_t main = first.tower.streams().main();
    for (std::size_t i = 1; i < members_.size(); ++i) {
      await(members_[i], members_[i].computed, main, first.tower);
      copy_gradients(members_[i].tower, first.tower, arrived_.data());
      add(main, arrived_.data(), arrived_.size(), gradients_of(first.tower));
    }
    check(cudaEventRecord(summed_.get(), main), "record an event");
    for (std::size_t i = 1; i < members_.size(); ++i) {
      Tower& other = members_[i].tower;
      other.make_current();
      check(cudaStreamWaitEvent(other.streams().main(), summed_.get(), 0), "wait for an event");
      copy_gradients(first.tower, other, gradients_of(other));
      // The next step must not overwrite the sum before all devices have copied it.
      await(members_[i], members_[i].fetched, main, first.tower);
    }
  }

 private:
  struct Member {
    Tower& tower;
    Event computed, fetched;
  };

  // Makes `stream` of `waiting` wait for the work on `member`'s main stream.
  static void await(const Member& member, const Event& event, cudaStream_t stream, const Tower& waiting) {
    member.tower.make_current();
    check(cudaEventRecord(event.get(), member.tower.streams().main()), "record an event");
    waiting.make_current();
    check(cudaStreamWaitEvent(stream, event.get(), 0), "wait for an event");
  }

  // To `target`, which is in the memory of `to`, on the main stream of `to`.
  static void copy_gradients(Tower& from, const Tower& to, float* target) {
    check(cudaMemcpyPeerAsync(target, to.gpu().info.index, gradients_of(from), from.gpu().info.index,
                              static_cast<std::size_t>(from.parameters().size()) * sizeof(float), to.streams().main()),
          "copy gradients between devices");
  }

  std::vector<Member> members_;
  DeviceArray<float> arrived_;
  Event summed_;
};

class NcclAllReduce final : public Collective {
 public:
  NcclAllReduce(const std::vector<std::unique_ptr<Tower>>& towers, std::unique_ptr<Nccl> nccl)
      : nccl_(std::move(nccl)) {
    for (const auto& tower : towers) towers_.push_back(tower.get());
  }

  std::string name() const override { return "NCCL " + nccl_->version(); }

  void sum_gradients() override {
    nccl_->begin();
    for (std::size_t i = 0; i < towers_.size(); ++i) {
      towers_[i]->make_current();
      nccl_->sum(i, gradients_of(*towers_[i]), towers_[i]->parameters().size(), towers_[i]->streams().main());
    }
    nccl_->end();
  }

 private:
  std::unique_ptr<Nccl> nccl_;
  std::vector<Tower*> towers_;
};

}  // namespace

std::unique_ptr<Collective> make_peer_copies(const std::vector<std::unique_ptr<Tower>>& towers) {
  return std::make_unique<PeerCopies>(towers);
}

std::unique_ptr<Collective> make_collective(const std::vector<std::unique_ptr<Tower>>& towers) {
  std::vector<int> devices;
  for (const auto& tower : towers) devices.push_back(tower->gpu().info.index);
  if (auto nccl = Nccl::open(devices)) return std::make_unique<NcclAllReduce>(towers, std::move(nccl));
  return make_peer_copies(towers);
}

}  // namespace distmnist::cuda
