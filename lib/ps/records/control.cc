#include "lib/ps/records/control.h"

#include <fmt/core.h>

#include "lib/wire/record_codec.h"

namespace distmnist {
namespace {

template <class Archive, class Key, class Value, class Element>
void bounded_map(Archive& archive, std::map<Key, Value>& map, const Element& element) {
  std::vector<std::pair<Key, Value>> list(map.begin(), map.end());
  bounded(archive, list, [&](auto& entry) {
    archive(entry.first);
    element(entry.second);
  });
  map = {list.begin(), list.end()};
}

// A count of used samples from a ps.
template <class Archive>
void check_samples(std::int64_t count) {
  if (Archive::is_loading::value && (count < 0 || count > kMaxCount))
    throw cereal::Exception("an invalid number of samples");
}

template <class Archive>
void fields(Archive& archive, Fingerprint& fingerprint) {
  bounded(archive, fingerprint, [&](auto& entry) {
    bounded(archive, entry.first);
    bounded(archive, entry.second);
  });
}

template <class Archive>
void fields(Archive& archive, HelloRecord& record) {
  bounded(archive, record.container);
  bounded(archive, record.chief);
  archive(record.num_workers, record.num_ps, record.ps_index);
  fields(archive, record.fingerprint);
  archive(record.num_parameters);
}

template <class Archive>
void fields(Archive& archive, std::set<std::uint32_t>& workers) {
  std::vector<std::uint32_t> list(workers.begin(), workers.end());
  bounded(archive, list, [&](std::uint32_t& worker) { archive(worker); });
  workers = {list.begin(), list.end()};
}

template <class Archive>
void fields(Archive& archive, RunProgress& progress) {
  archive(progress.run_id);
  bounded_map(archive, progress.consumed_samples, [&](std::int64_t& count) { archive(count); });
  fields(archive, progress.done);
}

template <class Archive>
void fields(Archive& archive, WelcomeRecord& record) {
  bounded(archive, record.state, ModelState::kEnded);
  archive(record.chief);
  fields(archive, record.done);
}

template <class Archive>
void fields(Archive& archive, RefuseRecord& record) {
  archive(record.exit_code);
  bounded(archive, record.reason);
}

template <class Archive>
void fields(Archive& archive, LearningRate& rate) {
  archive(rate.schedule, rate.base, rate.decay_steps, rate.decay_rate, rate.warmup_steps);
}

// Unknown kinds and schedules are accepted here: the ps answers them with a refusal that says so.
template <class Archive>
void fields(Archive& archive, OptimizerSpec& spec) {
  archive(spec.kind);
  fields(archive, spec.learning_rate);
  archive(spec.momentum);
  bounded(archive, spec.nesterov);
  archive(spec.beta1, spec.beta2, spec.decay, spec.epsilon);
}

template <class Archive>
void fields(Archive& archive, Strategy& strategy) {
  bounded(archive, strategy.sync);
  archive(strategy.replicas_to_aggregate);
  bounded(archive, strategy.on_lost_worker, OnLostWorker::kFail);
  bounded(archive, strategy.staleness, StalenessPolicy::kScale);
  archive(strategy.drop_above, strategy.max_staleness, strategy.warmup_steps, strategy.train_steps);
  bounded(archive, strategy.on_nan, OnNan::kSkip);
}

template <class Archive>
void fields(Archive& archive, std::vector<Update>& updates) {
  bounded(archive, updates, [&](Update& update) {
    archive(update.commit, update.rate_factor);
    bounded(archive, update.pushes,
            [&](PushId& push) { archive(push.worker, push.mark.incarnation, push.mark.sequence); });
  });
}

template <class Archive>
void fields(Archive& archive, UpdatesRecord& record) {
  fields(archive, record.updates);
  archive(record.dropped);
}

template <class Archive>
void fields(Archive& archive, TokenRecord& record) {
  bounded(archive, record.accepted);
  archive(record.staleness, record.waited_ms);
  archive(record.consumed_samples);
  check_samples<Archive>(record.consumed_samples);
  fields(archive, record.updates);
  bounded(archive, record.finite);
}

template <class Archive>
void fields(Archive& archive, NoticeRecord& record) {
  bounded(archive, record.text);
}

// Counts out of range are accepted here: the ps answers them with a refusal that says so.
template <class Archive>
void fields(Archive& archive, CreateRecord& record) {
  bounded(archive, record.pieces, [&](NamedRange& piece) {
    bounded(archive, piece.name);
    archive(piece.range.offset, piece.range.size);
  });
  fields(archive, record.optimizer);
  fields(archive, record.strategy);
  archive(record.global_step);
  fields(archive, record.progress);
}

template <class Archive>
void fields(Archive& archive, SnapshotRecord& record) {
  fields(archive, record.progress);
  for (const auto& [worker, count] : record.progress.consumed_samples) check_samples<Archive>(count);
}

template <class Archive>
void fields(Archive& archive, ResetRecord& record) {
  bounded(archive, record.containers, [&](std::string& name) { bounded(archive, name); });
}

template <class Archive>
void fields(Archive& archive, ResetDoneRecord& record) {
  bounded(archive, record.containers, [&](ResetDoneRecord::Container& container) {
    bounded(archive, container.name);
    bounded(archive, container.was_there);
    archive(container.num_sessions);
  });
}

template <class Archive>
void fields(Archive& archive, VariableRecord& record) {
  bounded(archive, record.action, VariableAction::kList);
  archive(record.num_ps, record.ps_index);
  bounded(archive, record.container);
  bounded(archive, record.name);
  archive(record.value);
}

template <class Archive>
void fields(Archive& archive, VariableAnswerRecord& record) {
  const auto entry = [&](auto& pair) {
    bounded(archive, pair.first);
    archive(pair.second);
  };
  archive(record.value);
  bounded(archive, record.container_is_there);
  bounded(archive, record.shared, entry);
  bounded(archive, record.model, entry);
}

// One wrapper for each record gives it cereal's serialize() without cereal in the header.
template <class Record>
struct Coded : Record {
  Coded() = default;
  explicit Coded(const Record& record) : Record(record) {}
  template <class Archive>
  void serialize(Archive& archive) {
    fields(archive, static_cast<Record&>(*this));
  }
};

template <class Record>
std::optional<Record> decode_coded(std::span<const std::byte> bytes) {
  if (auto coded = decode_with_cereal<Coded<Record>>(bytes)) return static_cast<Record&&>(*coded);
  return std::nullopt;
}

}  // namespace

std::string first_difference(const Fingerprint& here, const Fingerprint& chief) {
  for (std::size_t i = 0; i < std::min(here.size(), chief.size()); ++i) {
    if (here[i] == chief[i]) continue;
    return fmt::format("{} is {} here but {} at the chief", here[i].first, here[i].second, chief[i].second);
  }
  return here.size() == chief.size() ? "" : "the chief sent a different number of job settings";
}

Frame encode(const HelloRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const WelcomeRecord& record) {
  return encode_with_cereal(Coded(record));
}
// The reason may quote a peer's message, so its length is not under our control.
Frame encode(const RefuseRecord& record) {
  return encode_with_cereal(Coded(RefuseRecord{record.exit_code, record.reason.substr(0, kMaxRecordString)}));
}
Frame encode(const CreateRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const SnapshotRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const UpdatesRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const TokenRecord& record) {
  return encode_with_cereal(Coded(record));
}
// It may name all workers of a large job.
Frame encode(const NoticeRecord& record) {
  return encode_with_cereal(Coded(NoticeRecord{record.text.substr(0, kMaxRecordString)}));
}
Frame encode(const ResetRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const ResetDoneRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const VariableRecord& record) {
  return encode_with_cereal(Coded(record));
}
Frame encode(const VariableAnswerRecord& record) {
  return encode_with_cereal(Coded(record));
}

template <>
std::optional<HelloRecord> decode<HelloRecord>(std::span<const std::byte> bytes) {
  return decode_coded<HelloRecord>(bytes);
}
template <>
std::optional<WelcomeRecord> decode<WelcomeRecord>(std::span<const std::byte> bytes) {
  return decode_coded<WelcomeRecord>(bytes);
}
template <>
std::optional<RefuseRecord> decode<RefuseRecord>(std::span<const std::byte> bytes) {
  return decode_coded<RefuseRecord>(bytes);
}
template <>
std::optional<CreateRecord> decode<CreateRecord>(std::span<const std::byte> bytes) {
  return decode_coded<CreateRecord>(bytes);
}
template <>
std::optional<SnapshotRecord> decode<SnapshotRecord>(std::span<const std::byte> bytes) {
  return decode_coded<SnapshotRecord>(bytes);
}
template <>
std::optional<UpdatesRecord> decode<UpdatesRecord>(std::span<const std::byte> bytes) {
  return decode_coded<UpdatesRecord>(bytes);
}
template <>
std::optional<TokenRecord> decode<TokenRecord>(std::span<const std::byte> bytes) {
  return decode_coded<TokenRecord>(bytes);
}
template <>
std::optional<NoticeRecord> decode<NoticeRecord>(std::span<const std::byte> bytes) {
  return decode_coded<NoticeRecord>(bytes);
}
template <>
std::optional<ResetRecord> decode<ResetRecord>(std::span<const std::byte> bytes) {
  return decode_coded<ResetRecord>(bytes);
}
template <>
std::optional<ResetDoneRecord> decode<ResetDoneRecord>(std::span<const std::byte> bytes) {
  return decode_coded<ResetDoneRecord>(bytes);
}
template <>
std::optional<VariableRecord> decode<VariableRecord>(std::span<const std::byte> bytes) {
  return decode_coded<VariableRecord>(bytes);
}
template <>
std::optional<VariableAnswerRecord> decode<VariableAnswerRecord>(std::span<const std::byte> bytes) {
  return decode_coded<VariableAnswerRecord>(bytes);
}

}  // namespace distmnist
