// PublishedParameters: copies of a shard's parameters as they are at one commit, which all messages that carry them
// share.
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
  // The chunk's parameters as they are now, as numbers of `dtype`. They are copied once a commit and type.
  Frame chunk(const VariableStore& store, WireDtype dtype, std::size_t chunk);
  // An update has written the parameters to `chunks` as well: they need not be copied.
  void adopt(const VariableStore& store, WireDtype dtype, std::vector<Frame>&& chunks);
  // Gives the memory back; messages under way keep theirs.
  void forget() { copies_.clear(); }

 private:
  using Chunks = std::vector<std::shared_ptr<Frame>>;
  // The copies of the store's commit; older ones are forgotten.
  std::map<WireDtype, Chunks>& copies_of(const VariableStore& store);

  std::int64_t commit_ = 0;
  std::map<WireDtype, Chunks> copies_;
};

}  // namespace distmnist
