// Control records: the small messages that are not tensors. docs/protocol.md lists their fields.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/range.h"
#include "lib/cluster/placement.h"
#include "lib/optim/optimizer.h"
#include "lib/optim/stored_model.h"
#include "lib/ps/records/push_id.h"
#include "lib/ps/records/strategy.h"
#include "lib/wire/frame.h"

namespace distmnist {

// The largest count of steps or samples that is accepted from a peer: additions to it never overflow.
inline constexpr std::int64_t kMaxCount = std::int64_t{1} << 60;

// The settings that must be the same in every worker of a job, as (flag or fact, value) in a fixed order.
using Fingerprint = std::vector<std::pair<std::string, std::string>>;

// The first difference between two fingerprints as part of a sentence, "--batch_size is 100 here and 50 at worker:0";
// empty if they are equal.
std::string first_difference(const Fingerprint& here, const Fingerprint& chief);

struct HelloRecord {
  std::string container;
  bool chief = false;  // this process can be the chief: it can save the model
  std::uint32_t num_workers = 0;
  std::uint32_t num_ps = 0;
  std::uint32_t ps_index = 0;  // the ps this hello is meant for
  Fingerprint fingerprint;
  std::int64_t num_parameters = 0;  // of the whole model
};

enum class ModelState : std::uint8_t { kAwaitingModel = 0, kReady = 1, kEnded = 2 };

inline constexpr std::uint32_t kNoWorker = 0xFFFFFFFF;

struct WelcomeRecord {
  ModelState state = ModelState::kAwaitingModel;
  std::uint32_t chief = kNoWorker;  // the worker that is the chief now
  std::set<std::uint32_t> done;     // the workers that are done
};

// Also sent with kLeave by a process whose run has failed.
struct RefuseRecord {
  std::int32_t exit_code = 1;
  std::string reason;
};

struct CreateRecord {
  std::vector<NamedRange> pieces;  // held by this ps, in order of offset, without overlap
  OptimizerSpec optimizer;
  Strategy strategy;
  std::int64_t global_step = 0;
  RunProgress progress;
};

struct UpdatesRecord {
  std::vector<Update> updates;  // in order of commit
  // The sequence of the sender's last push if ps 0 has dropped it: the push can be discarded. 0: none.
  std::uint64_t dropped = 0;
};

// A worker may compute a batch on the parameters that follow.
struct TokenRecord {
  bool accepted = true;               // the decision on its push; true for a join
  std::int64_t staleness = 0;         // of that push: updates between its parameters and the decision
  std::uint32_t waited_ms = 0;        // time spent waiting for other workers
  std::int64_t consumed_samples = 0;  // by this worker, including its push: where it continues
  std::vector<Update> updates;        // those that not every other ps is known to have applied
  bool finite = true;                 // false: the push was dropped because one of its numbers or its loss was not
                                      // finite
};

struct NoticeRecord {
  std::string text;
};

struct SnapshotRecord {
  RunProgress progress;
};

// ---- From outside any run ----

struct ResetRecord {
  std::vector<std::string> containers;  // empty: all of them
};

struct ResetDoneRecord {
  struct Container {
    std::string name;
    bool was_there = false;
    std::uint32_t num_sessions = 0;  // sessions of live processes that the reset ended
  };
  std::vector<Container> containers;
};

enum class VariableAction : std::uint8_t { kInit = 0, kGet = 1, kAdd = 2, kList = 3 };

struct VariableRecord {
  VariableAction action = VariableAction::kGet;
  std::uint32_t num_ps = 0;
  std::uint32_t ps_index = 0;  // the ps this question is meant for
  std::string container;
  std::string name;  // not for kList
  double value = 0;  // for kInit and kAdd
};

struct VariableAnswerRecord {
  double value = 0;  // not for kList
  // kList: the contents of the container on this ps. If it does not exist, both lists are empty.
  bool container_is_there = false;
  std::vector<std::pair<std::string, double>> shared;       // name, value
  std::vector<std::pair<std::string, std::int64_t>> model;  // name, its floats on this ps; in block order
};

Frame encode(const HelloRecord& record);
Frame encode(const WelcomeRecord& record);
Frame encode(const RefuseRecord& record);
Frame encode(const CreateRecord& record);
Frame encode(const SnapshotRecord& record);
Frame encode(const UpdatesRecord& record);
Frame encode(const TokenRecord& record);
Frame encode(const NoticeRecord& record);
Frame encode(const ResetRecord& record);
Frame encode(const ResetDoneRecord& record);
Frame encode(const VariableRecord& record);
Frame encode(const VariableAnswerRecord& record);

// Empty if the bytes are not exactly one such record with every size within its limit.
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
template <>
std::optional<UpdatesRecord> decode<UpdatesRecord>(std::span<const std::byte> bytes);
template <>
std::optional<TokenRecord> decode<TokenRecord>(std::span<const std::byte> bytes);
template <>
std::optional<NoticeRecord> decode<NoticeRecord>(std::span<const std::byte> bytes);
template <>
std::optional<ResetRecord> decode<ResetRecord>(std::span<const std::byte> bytes);
template <>
std::optional<ResetDoneRecord> decode<ResetDoneRecord>(std::span<const std::byte> bytes);
template <>
std::optional<VariableRecord> decode<VariableRecord>(std::span<const std::byte> bytes);
template <>
std::optional<VariableAnswerRecord> decode<VariableAnswerRecord>(std::span<const std::byte> bytes);

}  // namespace distmnist
