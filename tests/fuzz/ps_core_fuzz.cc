// Drives a whole PsCore with several peers, each of which can send anything. The input is a script of their messages
// and of the passing time (ps_core_script.h). Unless the script lies, messages use the values that the core has sent,
// so that a script can reach a training worker.
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "lib/optim/optimizer.h"
#include "lib/ps/server/ps_core.h"
#include "lib/wire/numbers.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/ps_core_script.h"
#include "tests/fuzz/wire.h"
#include "tests/support/trace.h"

namespace distmnist::fuzz {
namespace {

using trace::Peer;

constexpr std::size_t kMostSlots = 2;  // of any optimizer
constexpr std::size_t kPeers = 4;
constexpr std::uint64_t kEpoch = 500;
constexpr std::size_t kMostBytes = 16 << 20;   // largest amount of memory that a script may make the core hold
constexpr std::int64_t kMostFloats = 1 << 16;  // of a model; larger ones only use memory that a chief may ask for
constexpr float kTame = 1e6f;                  // start values up to here cannot cause values that are not finite
const char* const kContainers[] = {"", "a", "b/c", "not a name", "d"};
const std::vector<NamedRange> kPieces = {{"pred/weights", {0, 2}}, {"pred/biases", {2, 1}}};

bool all_are_finite(WireDtype dtype, std::span<const std::byte> bytes) {
  for (const float value : trace::floats_of(dtype, bytes)) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

class Script : public PsActions {
 public:
  explicit Script(Input input) : input_(input), core_({identity(), {60'000}}, *this, 0) {
    for (std::size_t i = 0; i < kPeers; ++i) {
      Peer& peer = peers_[i];
      peer.worker = static_cast<std::uint32_t>(i % 3);
      peer.incarnation = 10 + i;
      peer.chief = peer.worker == 0;
      peer.samples = 50;
      new_route(i);
    }
  }

  void run() {
    while (!input_.empty() && !core_.end()) {
      act();
      memory_.check_now();
    }
    check_sessions();
  }

  // ---- Actions of the core ----
  void send(const Route& to, Message&& message) override {
    check(routes_.contains(to), "what is sent goes to somebody who has been there");
    check_sendable(message.header, message.payload.bytes());
    const Header& header = message.header;
    const bool values = header.type == MessageType::kParameters || header.type == MessageType::kSnapshotData;
    // Large parameters cannot be represented in float16.
    if (values && tame_ && header.dtype != WireDtype::kF16) {
      check(all_are_finite(header.dtype, std::as_const(message.payload).bytes()), "parameters stay finite");
    }
    for (Peer& peer : peers_) {
      if (peer.route != to || peer.incarnation != header.incarnation) continue;
      if (header.type == MessageType::kWelcome) peer.learn(header);
      if (header.step > 0) peer.step = header.step;
    }
    if (header.type == MessageType::kPong) ponged_.emplace(header.container, header.worker, header.incarnation);
    commit_ = header.commit;
  }
  void keep(const Route& peer) override { check(routes_.contains(peer), "who is kept has been there"); }
  void cut(const Route& peer) override { check(routes_.contains(peer), "who is cut off has been there"); }
  // The core continues after an exception; here an exception is an error.
  void log(LogLevel, const std::string& line) override {
    check(!line.starts_with("dropped a connection from " + address_ + ": a message of type "), "no message throws");
    check(!line.starts_with("a periodic task failed"), "no tick throws");
  }

 private:
  PsIdentity identity() {
    PsIdentity identity;
    const std::uint8_t bits = input_.byte();
    identity.stay = (bits & 1) != 0;
    identity.num_ps = 1 + ((bits >> 1) & 1);
    identity.index = (bits >> 2) & (identity.num_ps - 1);
    identity.num_workers = 1 + ((bits >> 3) & 3);
    identity.epoch = kEpoch;
    asks_for_keys_ = (bits & 0x20) != 0;
    num_workers_ = identity.num_workers;
    num_ps_ = identity.num_ps;
    index_ = identity.index;
    return identity;
  }

  void act() {
    const std::uint8_t byte = input_.byte();
    lies_ = (byte & kWithLies) != 0;
    switch (static_cast<PsAct>((byte & ~kWithLies) % kPsActs)) {
      case PsAct::kHello:
        return hello();
      case PsAct::kCreate:
        return create(take_peer());
      case PsAct::kLoad:
        return load();
      case PsAct::kCreateEnd: {
        Peer& peer = take_peer();
        return say(peer, peer.plain(MessageType::kCreateEnd));
      }
      case PsAct::kModel:
        return model();
      case PsAct::kPushChunk: {
        Peer& peer = take_peer();
        peer.wire_dtype = take_dtype();
        return push_chunk(peer, input_.below(kPieces.size()));
      }
      case PsAct::kPush:
        return push();
      case PsAct::kAsk:
        return ask();
      case PsAct::kAdvance: {
        Peer& peer = take_peer();
        UpdatesRecord record;
        record.dropped = input_.number();
        record.updates = take_updates();
        ++peer.sequence;
        return say(peer, peer.record(MessageType::kAdvance, encode(record)));
      }
      case PsAct::kTake:
        return take_snapshot();
      case PsAct::kLeave: {
        Peer& peer = take_peer();
        const auto code = static_cast<std::int32_t>(input_.number());
        return say(peer, peer.record(MessageType::kLeave, encode(RefuseRecord{code, input_.text()})));
      }
      case PsAct::kReset:
        return reset();
      case PsAct::kVariable:
        return variable();
      case PsAct::kRecord: {
        Peer& peer = take_peer();
        const auto type = static_cast<MessageType>(input_.byte());
        return say(peer, peer.record(type, trace::frame_of(input_.sized())));
      }
      case PsAct::kRawHeader: {
        Peer& peer = take_peer();
        const auto header = input_.raw<Header>();
        return say(peer, {header, trace::frame_of(input_.sized())});
      }
      case PsAct::kTick:
        now_ += take_time();
        return core_.on_tick(now_);
      case PsAct::kSignal:
        return core_.on_signal(input_.flag() ? ExitCode::kInterrupted : ExitCode::kTerminated, now_);
      case PsAct::kNewRoute:
        return new_route(input_.below(kPeers));
      case PsAct::kNewProcess: {
        Peer& peer = take_peer();
        peer.incarnation += 1 + input_.below(256);
        peer.lease = peer.sequence = 0;
        return;
      }
    }
  }

  // ---- The peers ----
  Peer& take_peer() { return peers_[input_.below(kPeers)]; }
  void new_route(std::size_t peer) {
    peers_[peer].route = "route " + std::to_string(routes_.size());
    routes_.insert(peers_[peer].route);
  }
  TimeMs take_time() {
    static constexpr TimeMs kTimes[] = {0, 1, 100, 1'000, 1'001, 5'000, 10'000, 15'000, 15'001, 60'001, 3'600'001};
    return kTimes[input_.below(std::size(kTimes))];
  }
  WireDtype take_dtype() {
    static constexpr WireDtype kDtypes[] = {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16};
    return kDtypes[input_.below(std::size(kDtypes))];
  }

  // ---- Their messages ----
  void say(const Peer& peer, Message&& message) {
    Sender sender;
    sender.route = peer.route;
    sender.on_own_host = peer.worker != 1;
    // A new address each time, because most log lines about the same address are suppressed.
    sender.address = address_ = "address " + std::to_string(++messages_);
    if (asks_for_keys_) sender.key = key_of(peer);
    seal(message);
    if (lies_) tell_lies(input_, message.header);
    if (is_too_large(message)) return;
    core_.on_message(sender, cross_network(std::move(message)), now_);
  }

  // The last of the peers has a key that does not belong to a worker.
  KeyOwner key_of(const Peer& peer) const {
    if (&peer == &peers_.back()) return {KeyOwner::Role::kAdmin, 0};
    return {KeyOwner::Role::kWorker, peer.worker};
  }

  // Also determines whether start values can still be trusted to be tame.
  bool is_too_large(const Message& message) {
    if (message.header.type == MessageType::kLoad && !loads_tame_) tame_ = false;
    if (message.header.type != MessageType::kCreate) return false;
    if (!creates_tame_) tame_ = false;
    const auto record = decode<CreateRecord>(message.payload.bytes());
    if (!record) return false;
    std::int64_t floats = 0;
    for (const NamedRange& piece : record->pieces) {
      if (piece.range.size > kMostFloats) return piece.range.size <= kMaxShardFloats;
      floats += piece.range.size;
    }
    return floats > kMostFloats;
  }

  void hello() {
    Peer& peer = take_peer();
    const std::uint8_t bits = input_.byte();
    peer.chief = (bits & 1) == (peer.worker == 0 ? 0 : 1);
    peer.container = kContainers[(bits >> 1) % std::size(kContainers)];
    const Fingerprint job = (bits & 0x10) != 0 ? Fingerprint{{"--model", "other"}} : trace::kJob;
    if ((bits & 0x80) != 0) peer.num_parameters = input_.signed_number();
    const std::uint32_t num_workers = num_workers_ + ((bits & 0x20) != 0 ? 1 : 0);
    ++peer.sequence;
    say(peer, peer.hello(job, num_workers, num_ps_, (bits & 0x40) != 0 ? num_ps_ : index_));
  }

  CreateRecord take_model(Peer& peer) {
    CreateRecord record;
    record.pieces = kPieces;
    record.optimizer = default_optimizer(all_optimizers()[input_.below(all_optimizers().size())]);
    record.optimizer.learning_rate = 0.5f;
    Strategy& strategy = record.strategy;
    const std::uint8_t bits = input_.byte();
    strategy.sync = (bits & 1) != 0;
    strategy.on_nan = (bits & 2) != 0 ? OnNan::kSkip : OnNan::kFail;
    strategy.on_lost_worker = static_cast<OnLostWorker>(((bits >> 2) & 3) % 3);
    strategy.staleness = static_cast<StalenessPolicy>(((bits >> 4) & 3) % 3);
    strategy.replicas_to_aggregate = static_cast<std::uint32_t>(input_.number());
    if ((bits & 0x40) != 0) {
      strategy.drop_above = input_.signed_number();
      strategy.max_staleness = input_.signed_number();
      strategy.warmup_steps = input_.signed_number();
      strategy.train_steps = input_.signed_number();
    }
    if ((bits & 0x80) != 0) {
      record.global_step = input_.signed_number();
      const auto worker = static_cast<std::uint32_t>(input_.number());
      record.progress.consumed_samples[worker] = input_.signed_number();
    }
    peer.run = 7 + input_.below(4);
    return record;
  }
  void create(Peer& peer) {
    const CreateRecord record = take_model(peer);
    ++peer.sequence;
    creates_tame_ = true;
    say(peer, peer.record(MessageType::kCreate, encode(record)));
    creates_tame_ = false;
  }
  void load() {
    Peer& peer = take_peer();
    const auto slot = static_cast<std::uint8_t>(input_.below(4));
    const NamedRange& piece = kPieces[input_.below(kPieces.size())];
    const std::vector<float> floats = take_floats(piece.range.size);
    loads_tame_ =
        slot == 0 && !lies_ && std::ranges::none_of(floats, [](float value) { return std::abs(value) > kTame; });
    say(peer, peer.load(piece.range.offset, floats, slot));
    loads_tame_ = false;
  }
  void model() {
    Peer& peer = take_peer();
    create(peer);
    loads_tame_ = !lies_;
    // The creation may have been refused, and the model may be an earlier one with a different optimizer. Ones are
    // valid values for every slot of any optimizer.
    for (std::size_t slot = 0; slot <= kMostSlots; ++slot) {
      for (const NamedRange& piece : kPieces) {
        const std::vector<float> floats(static_cast<std::size_t>(piece.range.size), slot == 0 ? 0.0f : 1.0f);
        say(peer, peer.load(piece.range.offset, floats, static_cast<std::uint8_t>(slot)));
      }
    }
    loads_tame_ = false;
    say(peer, peer.plain(MessageType::kCreateEnd));
  }

  std::vector<float> take_floats(std::int64_t count) {
    std::vector<float> floats(static_cast<std::size_t>(count));
    for (float& value : floats) value = input_.real();
    return floats;
  }
  void push_chunk(Peer& peer, std::size_t chunk) {
    const Range range = kPieces[chunk].range;
    say(peer, peer.push(range.offset, take_floats(range.size)));
  }
  void push() {
    Peer& peer = take_peer();
    peer.wire_dtype = take_dtype();
    ++peer.sequence;
    for (std::size_t chunk = 0; chunk < kPieces.size(); ++chunk) push_chunk(peer, chunk);
  }

  void ask() {
    static constexpr MessageType kQuestions[] = {
        MessageType::kPull, MessageType::kJoin, MessageType::kCommit, MessageType::kSnapshotBegin,
        MessageType::kDone, MessageType::kPing, MessageType::kLeave,  MessageType::kAwaitOthers};
    Peer& peer = take_peer();
    const MessageType type = kQuestions[input_.below(std::size(kQuestions))];
    if (type == MessageType::kJoin || type == MessageType::kSnapshotBegin) ++peer.sequence;
    say(peer, peer.plain(type));
  }

  PushId id_of(const Peer& peer) const { return {peer.worker, {peer.incarnation, peer.sequence}}; }
  // By default the next update that is due, made of pushes from peers.
  std::vector<Update> take_updates() {
    std::vector<Update> updates(input_.below(4));
    for (Update& update : updates) {
      update.commit = commit_ + 1 + static_cast<std::int64_t>(input_.below(3));
      if (input_.flag()) update.rate_factor = input_.real();
      for (std::size_t count = input_.below(4); count > 0; --count) {
        PushId id = id_of(take_peer());
        id.mark.sequence -= input_.below(3);
        update.pushes.push_back(id);
      }
    }
    return updates;
  }
  void take_snapshot() {
    Peer& peer = take_peer();
    const UpdatesRecord record{take_updates()};
    ++peer.sequence;
    say(peer, peer.record(MessageType::kSnapshotTake, encode(record)));
  }

  // ---- From outside a run ----
  void reset() {
    Peer& peer = take_peer();
    ResetRecord record;
    record.containers.resize(input_.below(80));
    for (std::string& name : record.containers) name = kContainers[input_.below(std::size(kContainers))];
    ++peer.sequence;
    say(peer, peer.record(MessageType::kReset, encode(record)));
  }
  void variable() {
    Peer& peer = take_peer();
    VariableRecord record;
    record.action = static_cast<VariableAction>(input_.below(4));
    const std::uint8_t bits = input_.byte();
    record.num_ps = num_ps_;
    record.ps_index = (bits & 1) != 0 ? num_ps_ : index_;
    record.container = kContainers[(bits >> 1) % std::size(kContainers)];
    record.name = (bits & 0x10) != 0 ? input_.text() : "x";
    record.value = input_.real();
    ++peer.sequence;
    say(peer, peer.record(MessageType::kVariable, encode(record)));
  }

  // At most one process may act for a task, however many claim it.
  void check_sessions() {
    if (core_.end()) return;
    lies_ = false;
    ponged_.clear();
    for (const Peer& peer : peers_) say(peer, peer.plain(MessageType::kPing));
    std::set<std::pair<std::uint64_t, std::uint32_t>> tasks;
    for (const auto& [container, worker, incarnation] : ponged_) {
      check(tasks.emplace(container, worker).second, "one process speaks for a task");
    }
  }

  MemoryWatch memory_{kMostBytes};
  Input input_;
  std::uint32_t num_workers_ = 1, num_ps_ = 1, index_ = 0;
  std::array<Peer, kPeers> peers_;
  std::set<Route> routes_;
  bool asks_for_keys_ = false;
  PsCore core_;
  TimeMs now_ = 0;
  std::int64_t commit_ = 0;  // the shard's latest known commit
  std::string address_;      // the address of the last sender
  int messages_ = 0;
  bool lies_ = false;
  bool creates_tame_ = false, loads_tame_ = false;
  bool tame_ = true;  // every model was created with tame numbers, so only updates can make it not finite
  std::set<std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>> ponged_;
};

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  distmnist::fuzz::Script(distmnist::fuzz::Input(data, size)).run();
  return 0;
}
