#include "lib/ps/server/published_parameters.h"

#include <utility>

namespace distmnist {

Frame PublishedParameters::chunk(const VariableStore& store, WireDtype dtype, std::size_t chunk) {
  Chunks& chunks = copies_of(store)[dtype];
  chunks.resize(store.chunks().size());
  if (!chunks[chunk]) {
    const std::span<const float> values = store.values(0, chunk);
    Frame copy = Frame::allocate(values.size() * bytes_per_number(dtype));
    write_numbers(values, dtype, copy.bytes());
    chunks[chunk] = std::make_shared<Frame>(std::move(copy));
  }
  return Frame::share(chunks[chunk]);
}

void PublishedParameters::adopt(const VariableStore& store, WireDtype dtype, std::vector<Frame>&& chunks) {
  Chunks shared;
  for (Frame& frame : chunks) shared.push_back(std::make_shared<Frame>(std::move(frame)));
  copies_of(store)[dtype] = std::move(shared);
}

std::map<WireDtype, PublishedParameters::Chunks>& PublishedParameters::copies_of(const VariableStore& store) {
  if (std::exchange(commit_, store.commit()) != store.commit()) copies_.clear();
  return copies_;
}

}  // namespace distmnist
