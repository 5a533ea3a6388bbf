// PublishedParameters: copies of a shard's parameters at one commit, shared by all messages that carry them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "lib/ps/store/variable_store.h"
#include "lib/wire/frame.h"

namespace distmnist {

class PublishedParameters {
 public:
  // The chunk's current parameters as numbers of `dtype`. They are copied once for each commit and type.
  Frame chunk(const VariableStore& store, WireDtype dtype, std::size_t chunk);
  // An update has written the parameters to `chunks` as well: they do not have to be copied.
  void adopt(const VariableStore& store, WireDtype dtype, std::vector<Frame>&& chunks);
  // Frees the memory; messages that are still being sent keep theirs.
  void forget() { copies_.clear(); }

 private:
  using Chunks = std::vector<std::shared_ptr<Frame>>;
  // The copies at the store's commit; older ones are dropped.
  std::map<WireDtype, Chunks>& copies_of(const VariableStore& store);

  std::int64_t commit_ = 0;
  std::map<WireDtype, Chunks> copies_;
};

}  // namespace distmnist
