#include "lib/wire/network_server.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <map>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/thread_trial.h"
#include "lib/wire/connection.h"
#include "lib/wire/listening_socket.h"
#include "lib/wire/mailbox.h"
#include "lib/wire/transport.h"

namespace distmnist {
namespace {

constexpr TimeMs kSleptMs = 1'000;  // a server that did not run for this long was stopped
constexpr int kLookMs = 100;        // how often deadlines are checked
constexpr int kAcceptAtOnce = 64;   // accepted before existing connections are served again
constexpr TimeMs kNoDescriptorMs = 100;
constexpr TimeMs kClosingMs = 1'000;  // to send the last messages to a peer that is cut off

int open_descriptors() {
  int count = 0;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (readdir(folder) != nullptr) ++count;
    closedir(folder);
  }
  return count;
}

int connections_possible() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const auto most = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 2 * kMaxConnections));
  return std::clamp(most - open_descriptors() - kReservedDescriptors, 4, kMaxConnections);
}

std::string name_of_user(int user) {
  return user == kNoUser ? "a user of another container on this host" : fmt::format("user {} on this host", user);
}

// The oldest connection of the address with the most: one address cannot push out the connections of others.
template <class Newcomers>
auto oldest_of_the_most(const Newcomers& newcomers) {
  std::map<std::string_view, int> counts;
  for (const auto& [number, address] : newcomers) ++counts[address];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return std::ranges::find_if(newcomers, [&](const auto& newcomer) { return newcomer.second == most->first; });
}

// Ends the connection at once and leaves no state in the kernel.
void reset_connection(int socket) {
  const linger at_once{1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace

// The server's thread.
class NetworkServer::Loop {
 public:
  explicit Loop(ServerOptions options);
  ~Loop();

  Mailbox mailbox{{kMaxWaitingMessages, kMaxWaitingBytes, kMaxUnsentMessages, kMaxNewcomersBytes}};
  std::vector<std::string> bound;
  std::vector<std::pair<std::string, std::string>> left_out;

 private:
  using Number = std::uint64_t;  // of a connection, from kFirst on; lower numbers are listening sockets and the orders
  static constexpr Number kOrders = 1'000, kFirst = 1'001;
  struct Peer {
    explicit Peer(Connection&& made) : connection(std::move(made)) {}
    Connection connection;
    std::uint32_t events = 0;  // that it waits for
    bool hung_up = false;      // noticed while paused: it is not watched, and its data is read later
    TimeMs close_by_ms = 0;    // once it is closing
  };
  using Peers = std::map<Number, Peer>;

  void listen(const ServerOptions& options);
  void watch(int operation, int descriptor, Number number, std::uint32_t events);
  void run();
  template <class Action>
  void at_the_cost_of(Number number, const Action& action);
  void carry_out_orders(TimeMs now);
  void handle(Number number, std::uint32_t events, TimeMs now);
  void serve(Number number, std::uint32_t events, TimeMs now);
  void accept_all(const ListeningSocket& listening, TimeMs now);
  void admit(const ListeningSocket& listening, AcceptedSocket&& accepted, TimeMs now);
  const char* why_not(const ListeningSocket& listening, const AcceptedSocket& accepted) const;
  void make_room_for(const std::string& address);
  void carry_out(Mailbox::Order&& order, TimeMs now);
  void read(Peers::iterator at, TimeMs now);
  // Both functions may end the connection.
  bool write(Peers::iterator at, TimeMs now);
  void wait_for_next(Peers::iterator at);
  Peers::iterator close(Peers::iterator at, std::string_view why);
  void look_at_clocks(TimeMs now);
  void refuse(std::string_view address, std::string_view why) const noexcept;
  static Number number_of(const Route& route);

  ServerOptions options_;
  int max_connections_;
  std::vector<ListeningSocket> listening_;
  FileDescriptor epoll_;
  Peers peers_;
  std::map<Number, std::string> newcomers_;  // with their addresses, in order of arrival
  Number next_ = kFirst;
  TimeMs accept_again_ms_ = 0;
  TimeMs looked_ms_ = monotonic_ms();
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

NetworkServer::Loop::Loop(ServerOptions options) : options_(std::move(options)) {
  listen(options_);
  epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create");
  max_connections_ = options_.max_connections > 0 ? options_.max_connections : connections_possible();
  watch(EPOLL_CTL_ADD, mailbox.orders().descriptor(), kOrders, EPOLLIN);
  for (std::size_t i = 0; i < listening_.size(); ++i) {
    watch(EPOLL_CTL_ADD, listening_[i].socket.get(), i, EPOLLIN);
  }
  thread_ = std::thread([this] { run(); });
}

NetworkServer::Loop::~Loop() {
  stopping_ = true;
  mailbox.wake_server();
  thread_.join();
}

void NetworkServer::Loop::listen(const ServerOptions& options) {
  for (const std::string& endpoint : options.endpoints) {
    try {
      listening_.push_back(ListeningSocket::open(endpoint));
      bound.push_back(endpoint);
    } catch (const Error& error) {
      if (listening_.empty()) throw;
      left_out.emplace_back(endpoint, error.what());
    }
  }
}

void NetworkServer::Loop::watch(int operation, int descriptor, Number number, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = number;
  epoll_ctl(epoll_.get(), operation, descriptor, &event);
}

void NetworkServer::Loop::run() {
  std::array<epoll_event, 64> events;
  TimeMs stop_by_ms = 0;
  PatientClock clock;
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), kLookMs);
    const TimeMs now = clock.now();
    for (int i = 0; i < count; ++i)
      handle(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events, now);
    at_the_cost_of(kOrders, [&] { look_at_clocks(now); });
    if (!stopping_) continue;
    if (stop_by_ms == 0) {
      stop_by_ms = now + kLingerMs;
      listening_.clear();
    }
    carry_out_orders(now);
    const bool all_sent =
        std::ranges::none_of(peers_, [](const auto& entry) { return entry.second.connection.has_unsent(); });
    if (all_sent || now >= stop_by_ms) return;
  }
}

// A failure, usually lack of memory, affects only the connection that it occurred for.
template <class Action>
void NetworkServer::Loop::at_the_cost_of(Number number, const Action& action) {
  try {
    action();
  } catch (const std::exception&) {
    const auto at = peers_.find(number);
    if (at != peers_.end()) close(at, "needed more memory than this ps has");
  }
}

void NetworkServer::Loop::carry_out_orders(TimeMs now) {
  for (Mailbox::Order& order : mailbox.take_orders()) {
    at_the_cost_of(number_of(order.route), [&] { carry_out(std::move(order), now); });
  }
}

void NetworkServer::Loop::handle(Number number, std::uint32_t events, TimeMs now) {
  if (number == kOrders) return carry_out_orders(now);
  at_the_cost_of(number, [&] { serve(number, events, now); });
}

void NetworkServer::Loop::serve(Number number, std::uint32_t events, TimeMs now) {
  if (number < listening_.size()) return accept_all(listening_[number], now);
  const auto at = peers_.find(number);
  if (at == peers_.end()) return;  // Ended by an earlier event.
  if ((events & EPOLLOUT) != 0 && !write(at, now)) return;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (at->second.events & EPOLLIN) == 0) {
    if (!at->second.connection.is_paused()) return close(at, ""), void();
    at->second.hung_up = true;
    watch(EPOLL_CTL_DEL, at->second.connection.descriptor(), number, 0);
    return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(at, now);
}

// ---- New connections ----

void NetworkServer::Loop::accept_all(const ListeningSocket& listening, TimeMs now) {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    AcceptedSocket accepted = accept_from(listening);
    if (accepted) {
      admit(listening, std::move(accepted), now);
    } else if (accepted.error == EMFILE || accepted.error == ENFILE || accepted.error == ENOMEM ||
               accepted.error == ENOBUFS) {
      // The listening sockets are not watched for a while: the system would report waiting connections at once.
      for (std::size_t k = 0; k < listening_.size(); ++k) watch(EPOLL_CTL_MOD, listening_[k].socket.get(), k, 0);
      accept_again_ms_ = now + kNoDescriptorMs;
      return refuse("a new connection", "could not be accepted because the system is out of descriptors or memory");
    } else if (accepted.error == EAGAIN) {
      return;
    }
  }
}

void NetworkServer::Loop::admit(const ListeningSocket& listening, AcceptedSocket&& accepted, TimeMs now) {
  if (const char* why = why_not(listening, accepted)) {
    reset_connection(accepted.socket.get());
    const bool foreign = listening.same_host && !is_trusted_user(accepted.user);
    return refuse(foreign ? name_of_user(accepted.user) : accepted.address, why);
  }
  const std::string address = accepted.address;
  make_room_for(address);
  const Number number = next_++;
  Sender sender{std::to_string(number), address, accepted.on_own_host, {}};
  const auto at = peers_
                      .emplace(number, Connection(std::move(accepted.socket), std::move(sender),
                                                  options_.keys ? &*options_.keys : nullptr, now))
                      .first;
  newcomers_.emplace(number, address);
  mailbox.add_peer(at->second.connection.sender().route);
  at->second.events = EPOLLIN;
  watch(EPOLL_CTL_ADD, at->second.connection.descriptor(), number, EPOLLIN);
  write(at, now);  // The greeting.
}

const char* NetworkServer::Loop::why_not(const ListeningSocket& listening, const AcceptedSocket& accepted) const {
  if (listening.same_host && !is_trusted_user(accepted.user)) return "is neither this ps's user nor root";
  if (!listening.same_host && options_.lets_in && !options_.lets_in(accepted.address))
    return "is not on the allow list";
  // The last connections are reserved for workers on this host, which use the Unix socket.
  const int most = listening.same_host ? max_connections_ : max_connections_ - max_connections_ / 8;
  const auto kept = peers_.size() - newcomers_.size();
  if (static_cast<int>(kept) >= most) return "came when all connections were in use";
  return nullptr;
}

// Closes the oldest connection without a hello, of the address that has the most: a peer of ours sends its hello within
// milliseconds.
void NetworkServer::Loop::make_room_for(const std::string& address) {
  const auto of_address = [&](const auto& newcomer) { return newcomer.second == address; };
  const bool full_for_address =
      std::ranges::count_if(newcomers_, of_address) >= static_cast<std::ptrdiff_t>(kMaxUnprovenOfAddress);
  const std::size_t room = static_cast<std::size_t>(max_connections_) - (peers_.size() - newcomers_.size());
  if (!full_for_address && newcomers_.size() < std::min(kMaxUnproven, std::max<std::size_t>(room, 1))) return;
  const auto oldest = full_for_address ? std::ranges::find_if(newcomers_, of_address) : oldest_of_the_most(newcomers_);
  close(peers_.find(oldest->first), "was dropped in favor of others before it had greeted");
}

// ---- Orders from the owner ----

NetworkServer::Loop::Number NetworkServer::Loop::number_of(const Route& route) {
  Number number = 0;
  std::from_chars(route.data(), route.data() + route.size(), number);
  return number;
}

void NetworkServer::Loop::carry_out(Mailbox::Order&& order, TimeMs now) {
  const auto at = peers_.find(number_of(order.route));
  if (at == peers_.end()) return;
  Connection& connection = at->second.connection;
  switch (order.action) {
    case Mailbox::Action::kSend:
      if (connection.is_closing()) return mailbox.note_sent(order.route);
      connection.enqueue(std::move(order.message), now);
      break;
    case Mailbox::Action::kKeep:
      connection.keep();
      newcomers_.erase(at->first);
      return;
    case Mailbox::Action::kCut:
      connection.close_when_sent();
      at->second.close_by_ms = now + kClosingMs;
      break;
    case Mailbox::Action::kReadOn:
      connection.go_on();
      if (!std::exchange(at->second.hung_up, false)) return wait_for_next(at);
      at->second.events = EPOLLIN;
      return watch(EPOLL_CTL_ADD, connection.descriptor(), at->first, EPOLLIN);
  }
  write(at, now);
}

// ---- A connection ----

void NetworkServer::Loop::read(Peers::iterator at, TimeMs now) {
  Connection& connection = at->second.connection;
  const bool goes_on = connection.read(now);
  while (auto received = connection.next()) {
    if (connection.says_too_much()) break;
    const Mailbox::Put put = mailbox.put(connection.sender(), std::move(*received));
    if (put == Mailbox::Put::kNoRoom)
      return close(at, "sent a message while too many others like it were waiting"), void();
    if (put == Mailbox::Put::kPause) connection.pause();
  }
  if (connection.says_too_much()) return close(at, "sent too much before it had greeted"), void();
  if (!goes_on) {
    std::size_t sent = 0;
    connection.write(now, sent);  // What it may be told about the reason.
    return close(at, connection.fault()), void();
  }
  wait_for_next(at);
}

bool NetworkServer::Loop::write(Peers::iterator at, TimeMs now) {
  Connection& connection = at->second.connection;
  std::size_t sent = 0;
  const bool unbroken = connection.write(now, sent);
  for (; sent > 0; --sent) mailbox.note_sent(connection.sender().route);
  if (!unbroken || (connection.is_closing() && !connection.has_unsent())) return close(at, ""), false;
  wait_for_next(at);
  return true;
}

// Watches for what the connection needs next.
void NetworkServer::Loop::wait_for_next(Peers::iterator at) {
  Connection& connection = at->second.connection;
  const bool reads = connection.wants_to_read() && !connection.is_choked();
  if (at->second.hung_up) return;
  const std::uint32_t events = (reads ? EPOLLIN : 0u) | (connection.has_unsent() ? EPOLLOUT : 0u);
  if (events == at->second.events) return;
  at->second.events = events;
  watch(EPOLL_CTL_MOD, connection.descriptor(), at->first, events);
}

NetworkServer::Loop::Peers::iterator NetworkServer::Loop::close(Peers::iterator at, std::string_view why) {
  const Connection& connection = at->second.connection;
  if (!why.empty()) refuse(connection.sender().address, why);
  mailbox.drop_peer(connection.sender().route);
  newcomers_.erase(at->first);
  return peers_.erase(at);
}

void NetworkServer::Loop::look_at_clocks(TimeMs now) {
  const TimeMs since_ms = now - looked_ms_;
  if (since_ms < kLookMs) return;
  looked_ms_ = now;
  if (since_ms >= kSleptMs) {
    for (auto& [number, peer] : peers_) peer.connection.forgive(since_ms);
  }
  if (accept_again_ms_ != 0 && now >= accept_again_ms_) {
    accept_again_ms_ = 0;
    for (std::size_t i = 0; i < listening_.size(); ++i) watch(EPOLL_CTL_MOD, listening_[i].socket.get(), i, EPOLLIN);
  }
  for (auto at = peers_.begin(); at != peers_.end();) {
    const char* why = at->second.connection.overdue(now);
    const bool said_all = at->second.close_by_ms != 0 && now >= at->second.close_by_ms;
    at = why != nullptr ? close(at, why) : said_all ? close(at, "") : std::next(at);
  }
}

void NetworkServer::Loop::refuse(std::string_view address, std::string_view why) const noexcept {
  try {
    if (options_.refused) options_.refused(std::string(address), std::string(why));
  } catch (const std::exception&) {
    // Not even this can be reported.
  }
}

// ---- The owner's side ----

NetworkServer::NetworkServer(ServerOptions options) {
  try_threads(1);
  loop_ = std::make_unique<Loop>(std::move(options));
}
NetworkServer::~NetworkServer() = default;

const std::vector<std::string>& NetworkServer::bound() const {
  return loop_->bound;
}

const std::vector<std::pair<std::string, std::string>>& NetworkServer::left_out() const {
  return loop_->left_out;
}

bool NetworkServer::poll(int timeout_ms) {
  return loop_->mailbox.poll(timeout_ms);
}

std::optional<Received> NetworkServer::receive(Sender& from) {
  return loop_->mailbox.take(from);
}

bool NetworkServer::send(const Route& to, Message&& message) {
  return loop_->mailbox.order({Mailbox::Action::kSend, to, std::move(message)});
}

void NetworkServer::keep(const Route& peer) {
  loop_->mailbox.order({Mailbox::Action::kKeep, peer});
}

void NetworkServer::cut(const Route& peer) {
  loop_->mailbox.order({Mailbox::Action::kCut, peer});
}

}  // namespace distmnist
