// Creation: a model that the chief is handing over to a ps: from its description to its last chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/ps/records/control.h"
#include "lib/ps/server/run_state.h"

namespace distmnist {

// The largest shard a ps accepts, in floats with slots: 16 GiB.
inline constexpr std::int64_t kMaxShardFloats = std::int64_t{1} << 32;
// The largest model, over all ps tasks: ranges of it never overflow.
inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 40;

// What is wrong with a model that is to be created as `run`; nothing: it can be made. `num_parameters`: of all of it,
// as its chief has said.
std::optional<std::string> fault_of_creation(const CreateRecord& record, std::uint64_t run,
                                             std::int64_t num_parameters);

class Creation {
 public:
  // `header`: of the message with the record, which has no fault. std::bad_alloc where the memory is short.
  Creation(const Header& header, const CreateRecord& record);

  bool is_of_run(std::uint64_t run) const { return shard_.run == run; }
  // A chunk of start values. What is of another process or model, or no chunk of this one, is passed over.
  enum class Loaded { kTaken, kPassedOver, kNotFinite };
  Loaded load(const Message& message);
  bool is_whole() const;
  // The shard; this is empty afterwards. It goes on with the samples of workers below num_workers.
  Shard finish(std::uint32_t num_workers);

 private:
  bool is_of(const Header& header) const { return is_of_run(header.run) && header.incarnation == incarnation_; }

  std::uint64_t incarnation_;
  std::vector<bool> loaded_;  // by slot * chunks + chunk
  ConsumedSamples consumed_samples_;
  Shard shard_;
};

}  // namespace distmnist
