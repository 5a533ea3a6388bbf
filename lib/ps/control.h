// Control records: the small messages that are not tensors. docs/protocol.md lists their fields.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/range.h"
#include "lib/cluster/placement.h"
#include "lib/optim/optimizer.h"
#include "lib/wire/frame.h"

namespace distmnist {

// What must be the same in every worker of a job, as (flag or fact, value) in a fixed order.
using Fingerprint = std::vector<std::pair<std::string, std::string>>;

// The first difference of two fingerprints as a sentence part, "--batch_size is 100 here and 50 at worker:0"; empty if
// equal.
std::string first_difference(const Fingerprint& here, const Fingerprint& chief);

struct HelloRecord {
  std::string container;
  bool chief = false;
  std::uint32_t num_workers = 0;
  std::uint32_t num_ps = 0;
  std::uint32_t ps_index = 0;  // the ps this hello is meant for
  Fingerprint fingerprint;
};

enum class ModelState : std::uint8_t { kAwaitingModel = 0, kReady = 1, kEnded = 2 };

struct WelcomeRecord {
  ModelState state = ModelState::kAwaitingModel;
  std::int64_t applied_batches = 0;  // of this worker, in the whole life of the model
};

struct RefuseRecord {
  std::int32_t exit_code = 1;
  std::string reason;
};

// Applied batches by worker index.
using AppliedBatches = std::map<std::uint32_t, std::int64_t>;

struct CreateRecord {
  std::vector<NamedRange> pieces;  // that this ps holds, in order of offset, without overlap
  OptimizerSpec optimizer;
  std::int64_t global_step = 0;
  AppliedBatches applied_batches;
};

// The last push a worker had applied: a later process has a larger incarnation.
struct PushMark {
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;
  auto operator<=>(const PushMark&) const = default;
};
using PushMarks = std::map<std::uint32_t, PushMark>;  // by worker index

struct SnapshotRecord {
  PushMarks marks;
  AppliedBatches applied_batches;
};

Frame encode(const HelloRecord& record);
Frame encode(const WelcomeRecord& record);
Frame encode(const RefuseRecord& record);
Frame encode(const CreateRecord& record);
Frame encode(const SnapshotRecord& record);

// Nothing where the bytes are not exactly one such record with every size within its limit.
template <class Record>
std::optional<Record> decode(std::span<const std::byte> bytes);
template <>
std::optional<HelloRecord> decode<HelloRecord>(std::span<const std::byte> bytes);
template <>
std::optional<WelcomeRecord> decode<WelcomeRecord>(std::span<const std::byte> bytes);
template <>
std::optional<RefuseRecord> decode<RefuseRecord>(std::span<const std::byte> bytes);
template <>
std::optional<CreateRecord> decode<CreateRecord>(std::span<const std::byte> bytes);
template <>
std::optional<SnapshotRecord> decode<SnapshotRecord>(std::span<const std::byte> bytes);

}  // namespace distmnist
