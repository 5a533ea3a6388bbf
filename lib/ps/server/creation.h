// Creation: a model that the chief is sending to a ps, from its description to its last chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/ps/records/control.h"
#include "lib/ps/server/run_state.h"

namespace distmnist {

// The largest shard a ps accepts, in floats with slots: 16 GiB.
inline constexpr std::int64_t kMaxShardFloats = std::int64_t{1} << 32;
// The largest model over all ps tasks: its ranges never overflow.
inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 40;

// What is wrong with a model that is to be created as `run`; empty if it can be created. `num_parameters`: of the whole
// model, as its chief has stated.
std::optional<std::string> fault_of_creation(const CreateRecord& record, std::uint64_t run,
                                             std::int64_t num_parameters);

class Creation {
 public:
  // `header`: of the message with the record, which must be free of faults. Throws std::bad_alloc if memory is short.
  Creation(const Header& header, const CreateRecord& record);

  bool is_of_run(std::uint64_t run) const { return shard_.run == run; }
  // Takes a chunk of initial values. Ignores one that is from another process or model, or is not a chunk of this one.
  enum class Loaded { kTaken, kPassedOver, kNotFinite };
  Loaded load(const Message& message);
  bool is_whole() const;
  // Returns the shard and leaves this object empty. The shard continues with the samples of workers below num_workers.
  Shard finish(std::uint32_t num_workers);
  const std::set<std::uint32_t>& done() const { return progress_.done; }

 private:
  bool is_of(const Header& header) const { return is_of_run(header.run) && header.incarnation == incarnation_; }

  std::uint64_t incarnation_;
  std::vector<bool> loaded_;  // by slot * chunks + chunk
  RunProgress progress_;
  Shard shard_;
};

}  // namespace distmnist
