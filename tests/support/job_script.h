// JobScript drives a whole job in one thread, with messages instead of sockets: the Containers of all ps tasks, and
// worker processes whose actions and times the test determines. Use it for replication rules with one or several ps
// tasks; PsScript drives a single Container, and Simulation drives the shipped workers in simulated time. All numbers
// of a push's gradient are equal and the optimizer is SGD with rate 1, so all parameters on all ps tasks have one
// value, and an answer to a worker is one line:
//   "1: step 4, sample 150, value -6"                  its turn: the step of its parameters, its next data position
//   "1: dropped (stale by 2), step 4, sample 150, ..."  the same after a push that did not count
// Notices are collected separately; welcomes, pongs and kStaged are not lines.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/support/ps_script.h"

namespace distmnist::trace {

inline constexpr std::uint32_t kBatchSamples = 50;

inline Strategy synchronous(std::uint32_t replicas, OnLostWorker on_lost_worker = OnLostWorker::kWait) {
  Strategy strategy;
  strategy.sync = true;
  strategy.replicas_to_aggregate = replicas;
  strategy.on_lost_worker = on_lost_worker;
  strategy.train_steps = 1000;
  return strategy;
}

inline Strategy asynchronous() {
  Strategy strategy;
  strategy.train_steps = 1000;
  return strategy;
}

class JobScript {
 public:
  JobScript(const Strategy& strategy, std::uint32_t num_workers, std::uint32_t num_ps = 1, WaitLimits limits = {})
      : strategy_(strategy) {
    for (std::uint32_t k = 0; k < num_ps; ++k) {
      ps.push_back(std::make_unique<PsScript>(PsIdentity{k, num_ps, num_workers, kEpoch + k}, limits));
    }
    processes_.resize(num_workers);
    for (std::uint32_t w = 0; w < num_workers; ++w) start(w);
    CreateRecord model = small_model();
    model.strategy = strategy;
    for (std::uint32_t k = 0; k < num_ps; ++k) ps[k]->create(peer(k, 0), {0, 0, 0}, model);
    process(0).sequence = 1;
  }

  // ---- actions of a worker ----
  Lines join(std::uint32_t w) {
    new_question(w);
    return join_again(w);
  }
  Lines join_again(std::uint32_t w) { return say(0, w, asking(0, w).plain(MessageType::kJoin)); }
  // A push in the program's order. If no ps decides, it is applied at once, and each ps answers.
  Lines push(std::uint32_t w, float gradient) {
    new_question(w);
    Lines out;
    for (std::uint32_t k = 0; k < ps.size(); ++k) append(out, stage_again(w, gradient, k));
    if (strategy_.ordered(ps.size())) append(out, commit(w));
    return out;
  }
  // Its parts: the gradient to one ps, the same again (or to another ps), and the commit to ps 0.
  Lines stage(std::uint32_t w, float gradient, std::uint32_t k) {
    new_question(w);
    return stage_again(w, gradient, k);
  }
  Lines stage_again(std::uint32_t w, float gradient, std::uint32_t k) {
    Lines out = say(k, w, asking(k, w).push(0, {gradient, gradient}));
    append(out, say(k, w, asking(k, w).push(2, {gradient})));
    return out;
  }
  Lines commit(std::uint32_t w) {
    Message message = asking(0, w).plain(MessageType::kCommit);
    const std::vector<std::int64_t>& commits = process(w).commits;
    if (process(w).calls_bad) message.header.flags |= kNotFinite;
    message.header.commit = *std::min_element(commits.begin() + (ps.size() > 1 ? 1 : 0), commits.end());
    return say(0, w, std::move(message));
  }
  // Sets what its commit reports about its push; by default it reports what the other ps tasks have reported.
  void call_bad(std::uint32_t w, bool bad = true) { process(w).calls_bad = bad; }
  Lines commit_again(std::uint32_t w) { return commit(w); }
  // It computes with older parameters than it was last given.
  void work_on(std::uint32_t w, std::int64_t step) { process(w).step = step; }
  Lines leave(std::uint32_t w) { return end(w, MessageType::kLeave); }
  Lines done(std::uint32_t w) { return end(w, MessageType::kDone); }

  // ---- events of a worker ----
  // Its process falls silent permanently; the others send messages until it counts as lost.
  Lines lose(std::uint32_t w) {
    process(w).alive = false;
    return pass(kLeaseMs);
  }
  // It was only away, and sends messages again.
  Lines come_back(std::uint32_t w) {
    process(w).alive = true;
    Lines out;
    for (std::uint32_t k = 0; k < ps.size(); ++k) append(out, say(k, w, peer(k, w).plain(MessageType::kPing)));
    return out;
  }
  // A new process takes over the task and has not joined yet.
  Lines restart(std::uint32_t w) {
    start(w);
    if (peer(0, w).lease != 0) return {};
    process(w).alive = false;  // it waits until its predecessor has not answered
    const Lines out = pass(kProbeMs);
    process(w).alive = true;
    return out;
  }

  // Time passes, in which all live processes send messages.
  Lines pass(TimeMs duration) {
    Lines out;
    for (const TimeMs end = now + duration; now < end;) {
      now = std::min(end, now + 500);
      for (std::uint32_t w = 0; w < processes_.size(); ++w) {
        for (std::uint32_t k = 0; k < ps.size() && process(w).alive; ++k) {
          ps[k]->now = now;
          append(out, say(k, w, peer(k, w).plain(MessageType::kPing)));
        }
      }
      for (std::uint32_t k = 0; k < ps.size(); ++k) {
        ps[k]->tick(now);
        append(out, read(k));
      }
    }
    return out;
  }

  // ---- snapshots, which the chief takes ----
  // "snapshot: step 3, value -6, samples 0:150 1:150" of ps 0, "snapshot: step 3, value -6" of the others.
  Lines snapshot_begin() {
    ++process(0).sequence;
    return say(0, 0, peer(0, 0).plain(MessageType::kSnapshotBegin));
  }
  // ps 0 copies last, and then decides the pushes that have waited.
  Lines snapshot_take() {
    ++process(0).sequence;
    Lines out;
    for (auto k = static_cast<std::uint32_t>(ps.size()); k-- > 0;) {
      append(out, say(k, 0, peer(k, 0).take(agreed_)));
    }
    return out;
  }

  // A worker's session with ps k, to send a message by hand.
  Peer* session(std::uint32_t k, std::uint32_t w) { return &peer(k, w); }
  bool warned(const std::string& words) const { return any_holds(ps[0]->actions.log_lines, words); }
  // The notices since the last call.
  Lines take_notices() { return std::exchange(notices_, {}); }

  std::vector<std::unique_ptr<PsScript>> ps;
  TimeMs now = 0;
  // Whether a worker that ps 0 allows to continue gets the other ps tasks' parameters at once.
  bool visit_others = true;

 private:
  struct Process {
    std::vector<Peer> peers;  // its session with each ps
    std::vector<std::int64_t> commits;
    std::uint64_t incarnation = 0;
    std::uint64_t sequence = 0;  // of its last request
    std::uint64_t question = 0;  // of its last push or join
    std::int64_t question_step = 0;
    std::int64_t step = 0;
    bool alive = true;
    bool calls_bad = false;  // another ps has found its push bad
  };
  // The answer to a worker; or a snapshot if it is not a turn.
  struct Answer {
    std::uint32_t worker = 0;
    std::int64_t step = 0;
    std::optional<TokenRecord> token;
    std::vector<float> values;
    bool snapshot = false;
  };

  static void append(Lines& lines, const Lines& more) { lines.insert(lines.end(), more.begin(), more.end()); }

  void start(std::uint32_t w) {
    const std::uint64_t incarnation = 10 + processes_[w].size();
    processes_[w].push_back(std::make_unique<Process>());
    process(w).incarnation = incarnation;
    process(w).commits.resize(ps.size());
    process(w).peers.resize(ps.size());
    for (std::uint32_t k = 0; k < ps.size(); ++k) {
      process(w).peers[k] = {.worker = w,
                             .incarnation = incarnation,
                             .chief = w == 0,
                             .route = fmt::format("process {} of {}", incarnation, w),
                             .samples = kBatchSamples};
      ps[k]->greet(process(w).peers[k]);
    }
  }

  Process& process(std::uint32_t w) { return *processes_[w].back(); }

  Peer& peer(std::uint32_t k, std::uint32_t w) {
    Process& own = process(w);
    own.peers[k].sequence = own.sequence;
    own.peers[k].step = own.step;
    return own.peers[k];
  }

  void new_question(std::uint32_t w) {
    process(w).question = ++process(w).sequence;
    process(w).calls_bad = false;
    process(w).question_step = process(w).step;
  }
  // Its session with ps k for its last push or join, which can be repeated.
  Peer& asking(std::uint32_t k, std::uint32_t w) {
    Peer& own = peer(k, w);
    own.sequence = process(w).question;
    own.step = process(w).question_step;
    return own;
  }

  Lines say(std::uint32_t k, std::uint32_t w, Message message) {
    ps[k]->say(process(w).peers[k], std::move(message));
    return read(k);
  }

  Lines end(std::uint32_t w, MessageType type) {
    Lines out;
    for (std::uint32_t k = 0; k < ps.size(); ++k) append(out, say(k, w, peer(k, w).plain(type)));
    process(w).alive = false;
    return out;
  }

  // The new messages of ps k.
  Lines read(std::uint32_t k) {
    Lines out;
    std::optional<Answer> answer;  // whose values are still arriving
    const auto finish = [&] {
      if (answer) append(out, {told(*std::exchange(answer, std::nullopt))});
    };
    for (const PsRecorder::Sent& sent : std::exchange(ps[k]->last_sent, {})) {
      const Message& message = sent.message;
      const Header& header = message.header;
      Process& receiver = process(header.worker);
      const bool gone = receiver.incarnation != header.incarnation || !receiver.alive;
      if (!gone) receiver.commits[k] = header.commit;
      const bool values = header.type == MessageType::kParameters || header.type == MessageType::kSnapshotData;
      if (!values || !answer || answer->worker != header.worker) finish();
      switch (header.type) {
        case MessageType::kToken:
          if (gone) out.push_back(fmt::format("a token for a process of worker:{} that is gone", header.worker));
          if (!gone) answer = {header.worker, header.step, decode<TokenRecord>(message.payload.bytes()), {}, false};
          break;
        case MessageType::kParameters:
        case MessageType::kSnapshotData:
          if (gone) break;
          if (!answer) {
            answer = {header.worker, header.step, {}, {}, header.type == MessageType::kSnapshotData};
          }
          append_floats(answer->values, message);
          break;
        case MessageType::kSnapshotPoint:
          agreed_ = decode<UpdatesRecord>(message.payload.bytes())->updates;
          break;
        case MessageType::kSnapshotEnd: {
          const auto record = decode<SnapshotRecord>(message.payload.bytes());
          const std::string samples = text_of(record->progress.consumed_samples);
          if (k == 0 && !samples.empty()) out.back() += fmt::format(",{}", samples);
          break;
        }
        case MessageType::kNotice:
          notices_.push_back(fmt::format("{}: {}", header.worker, describe(message)));
          break;
        case MessageType::kStaged:
          if ((header.flags & kNotFinite) != 0) receiver.calls_bad = true;
          break;
        case MessageType::kPong:
        case MessageType::kWelcome:
        case MessageType::kProbe:
        case MessageType::kDoneAck:
          break;
        default:
          out.push_back(fmt::format("{}: {}", header.worker, describe(message)));
      }
    }
    finish();
    return out;
  }

  // An answer as a line, after the worker has asked the other ps tasks.
  std::string told(Answer answer) {
    if (answer.snapshot) return fmt::format("snapshot: step {}, {}", answer.step, text_of_values(answer.values));
    process(answer.worker).step = answer.step;
    std::string line = fmt::format("{}: ", answer.worker);
    if (answer.token) {
      if (visit_others) {
        if (const auto trouble = visit(answer)) return line + *trouble;
      }
      const std::int64_t staleness = answer.token->staleness;
      if (!answer.token->finite) {
        line += "dropped (not finite), ";
      } else if (!answer.token->accepted) {
        line += fmt::format("dropped (stale by {}), ", staleness);
      }
      if (answer.token->accepted && staleness > 0) line += fmt::format("stale by {}, ", staleness);
      line += fmt::format("step {}, sample {}, ", answer.step, answer.token->consumed_samples);
    } else {
      line += fmt::format("step {}, ", answer.step);
    }
    return line + text_of_values(answer.values);
  }

  // Adds the answers of the other ps tasks to that of ps 0; returns the reason if one of them refuses.
  std::optional<std::string> visit(Answer& answer) {
    const std::uint64_t dropped = answer.token->accepted ? 0 : process(answer.worker).question;
    for (std::uint32_t k = 1; k < ps.size(); ++k) {
      ++process(answer.worker).sequence;
      Peer& own = peer(k, answer.worker);
      ps[k]->say(own, strategy_.ordered(ps.size())
                          ? own.record(MessageType::kAdvance, encode(UpdatesRecord{answer.token->updates, dropped}))
                          : own.plain(MessageType::kPull));
      for (const PsRecorder::Sent& sent : std::exchange(ps[k]->last_sent, {})) {
        if (sent.message.header.type != MessageType::kParameters) return describe(sent.message);
        append_floats(answer.values, sent.message);
      }
    }
    return std::nullopt;
  }

  static void append_floats(std::vector<float>& values, const Message& message) {
    values.insert(values.end(), message.payload.floats().begin(), message.payload.floats().end());
  }
  static std::string text_of_values(const std::vector<float>& values) {
    const bool same = std::ranges::all_of(values, [&](float value) { return value == values.front(); });
    if (same && !values.empty()) return fmt::format("value {}", values.front());
    return fmt::format("values {}", fmt::join(values, " "));
  }

  Strategy strategy_;
  std::vector<std::vector<std::unique_ptr<Process>>> processes_;  // by worker; the last process is the live one
  std::vector<Update> agreed_;                                    // of the snapshot in progress
  Lines notices_;
};

}  // namespace distmnist::trace
