// PsCore: all rules of one parameter server: its containers, which peers may ask for them, and when the process ends. A
// pure state machine, like Container.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/rare_log.h"
#include "lib/base/time_ms.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/report_times.h"
#include "lib/ps/server/container.h"
#include "lib/ps/server/ps_actions.h"
#include "lib/ps/server/recent.h"
#include "lib/ps/server/shared_variables.h"

namespace distmnist {

inline constexpr std::size_t kMaxQuestioners = 64;         // connections of clients outside any run that are kept
inline constexpr TimeMs kFirstWorkerMs = 60 * 60 * 1'000;  // a ps gives up after an hour without any hello
inline constexpr TimeMs kSignalGraceMs = 10'000;           // time for the workers to leave after a signal or a failure
// After a failure, time for the last worker to end first: the process that started all tasks reports the one that ended
// first.
inline constexpr TimeMs kLastWordMs = 500;
inline constexpr TimeMs kSignalSilenceMs = 5'000;  // silence that then counts as gone: more than one heartbeat

inline constexpr std::size_t kMaxContainers = 64;        // of a ps with --ps_stay; also the most that a reset may name
inline constexpr std::size_t kMaxResetProcesses = 1024;  // processes remembered after their container was reset
// Answers to questions that must not be acted on twice: the bytes that are remembered, and the least that one counts
// as.
inline constexpr std::size_t kMaxRememberedBytes = 1 << 20, kLeastRememberedBytes = 1024;
inline constexpr std::size_t kMaxContestants = 64;  // hellos for another container that wait for an answer

class PsCore {
 public:
  PsCore(const PsSetup& setup, PsActions& actions, TimeMs now);

  void on_message(const Sender& from, Received&& received, TimeMs now);
  void on_tick(TimeMs now);
  // SIGTERM or SIGINT: serves until the workers have left, then ends with `code`.
  void on_signal(ExitCode code, TimeMs now);

  // How the process ends, once it does.
  struct End {
    ExitCode code = ExitCode::kOk;
    std::string reason;  // for the log
  };
  const std::optional<End>& end() const { return end_; }

 private:
  // Several runs share one log: their lines start with the container.
  struct TitledActions : PsActions {
    TitledActions(const std::string& container, PsCore& ps);
    void send(const Route& route, Message&& message) override { core.actions_.send(route, std::move(message)); }
    void keep(const Route& route) override { core.actions_.keep(route); }
    void cut(const Route& route) override { core.actions_.cut(route); }
    void log(LogLevel level, const std::string& line) override { core.actions_.log(level, title + line); }
    void log_about_peer(const std::string& address, const std::string& line) override {
      core.log_about_peer(address, title + line);
    }
    void log_event(LogLevel level, const std::string& key, const std::string& line) override {
      core.log_event(level, title + key, title + line);
    }
    std::string title;  // "container 'a': "
    PsCore& core;
  };
  // The contents of one container name: a run, shared variables, or both.
  struct Entry {
    Entry(const std::string& container, PsCore& ps) : name(container), actions(container, ps) {}
    std::string name;
    TitledActions actions;
    std::unique_ptr<Container> run;  // once a process has sent a hello
    SharedVariables variables;
    bool end_logged = false;
  };
  using Entries = std::map<std::uint64_t, Entry>;  // by container_id
  // A process of a run: container_id, worker, incarnation.
  using Process = std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>;
  // A question from outside any run: incarnation, sequence.
  using Question = std::pair<std::uint64_t, std::uint64_t>;

  // Hellos for a container other than the present one, which has no model yet. They wait while its processes are asked
  // whether they are alive.
  struct Contest {
    std::uint64_t container = 0;  // the present one
    TimeMs deadline_ms = 0;
    std::vector<std::pair<Sender, Message>> greetings;
  };

  void handle(const Sender& from, Received&& received, TimeMs now);
  // After an exception.
  void break_off(const Sender& from, const Header& header, const char* why, TimeMs now);
  void tick(TimeMs now);
  // Of the workers of all runs.
  struct Life {
    int live = 0;
    bool complete = false;          // a run is complete
    std::optional<TimeMs> last_ms;  // when one of them was last heard from; nothing: never
  };
  Life tick_runs(TimeMs now);
  // Ends the process after its run has failed, once the workers know.
  void end_failed(TimeMs now);
  // Ends the process, or reports what it waits for, if no worker is there.
  void watch_vacancy(const Life& life, TimeMs now);
  // The entry of the run that the message is for. A hello creates it. Null if there is none; the sender has then been
  // told.
  Entry* entry_for(const Sender& from, Message& message, TimeMs now);
  // The entry with this name, created if there is room. Null if not; the sender has then been told.
  Entry* claim(const Sender& from, const Header& request, const std::string& name);
  // Without --ps_stay: whether the present container has been removed in favor of this hello.
  bool makes_way(const Sender& from, Message& greeting, TimeMs now);
  std::string other_container_text() const;
  void end_contest();
  void tick_contest(TimeMs now);
  void drop_first_run(TimeMs now);
  void settle(Entries::iterator at, TimeMs now);
  Entries::iterator drop_run(Entries::iterator at);
  // Tells all workers of a failed run, and drops the run with its model.
  Entries::iterator end_failed_run(Entries::iterator at, TimeMs now);
  // Without --ps_stay, once the run has failed: answers every message with the reason.
  void on_message_after_failure(const Route& route, const Header& header, TimeMs now);
  std::string waiting_for() const;
  void refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason);
  // For messages that no peer of ours sends: ends the connection.
  void cut_off(const Sender& from, const std::string& why);
  void log_about_peer(const std::string& address, const std::string& line);
  void log_event(LogLevel level, const std::string& key, const std::string& line);
  void send_refusal(const Route& route, const Header& request, ExitCode code, const std::string& reason);

  // ---- Questions from outside any run (ps_core_admin.cc) ----
  void on_reset(const Sender& from, const Message& message, TimeMs now);
  ResetDoneRecord::Container reset(const Sender& from, const std::string& name, TimeMs now);
  // From now on, refuses all messages from the processes of a run with `refusal`. Returns how many were live and not
  // done.
  std::uint32_t shut_out(const Container& run, const RefuseRecord& refusal);
  void shut_out(const Greeting& greeting, const Route& ping_route, const RefuseRecord& refusal);
  void on_variable(const Sender& from, const Message& message);
  std::string fault_of(const VariableRecord& question) const;
  std::string missing_text(const VariableRecord& question, const Entry* entry) const;
  void list_variables(const Sender& from, const Header& request, const std::string& container);
  // Answers a question from a client that may ask it.
  void answer_question(const Sender& to, const Header& request, MessageType type, Frame record);
  void keep_questioner(const Route& route);
  void answer(const Route& route, const Header& request, MessageType type, Frame record);
  void remember(const Header& request, MessageType type, Frame record);
  bool answer_again(const Sender& to, const Header& request);

  PsIdentity identity_;
  WaitLimits limits_;
  PsActions& actions_;
  ThreadPool* pool_;
  std::deque<Route> questioners_;  // connections that are kept, the newest last
  Entries containers_;             // without --ps_stay: at most the first one asked for
  TimeMs vacant_since_ms_;         // since when there is no container, or was none before the present one
  TimeMs last_report_ms_;
  std::optional<std::pair<ExitCode, TimeMs>> signal_;
  std::optional<End> end_;
  // Without --ps_stay: the run has failed. The process ends when all its workers have gone, or after a time limit.
  struct Failed {
    std::string reason;
    TimeMs since_ms = 0;
    std::set<std::uint32_t> workers;  // that may still be there, or still connect
    TimeMs last_word_ms = 0;          // when one of them last left or was told
  };
  std::optional<Failed> failed_;
  std::optional<Contest> contest_;
  RareLog refusals_;                                            // for lines caused by peers, by address
  RareLog events_{60'000, 256};                                 // for events of processes
  TimeMs now_;                                                  // of the current call
  Recent<Process, RefuseRecord> shut_out_{kMaxResetProcesses};  // processes whose container was reset or whose run has
                                                                // failed
  Recent<Question, std::pair<MessageType, std::shared_ptr<Frame>>> answers_{kMaxRememberedBytes};
};

}  // namespace distmnist
