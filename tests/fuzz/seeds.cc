// Writes the initial inputs for fuzzing, made of real messages and files: `seeds FOLDER` creates FOLDER/TARGET/NAME.
// run.sh --seeds runs it after a format, or the way in which a harness reads its input, has changed.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/ps/records/control.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/safetensors.h"
#include "lib/wire/key_file.h"
#include "lib/wire/message.h"
#include "tests/fuzz/exchange_script.h"
#include "tests/fuzz/ps_core_script.h"
#include "tests/fuzz/zmtp_curve_script.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/trace.h"

namespace distmnist::fuzz {
namespace {

namespace fs = std::filesystem;

class Seeds {
 public:
  Seeds(const fs::path& folder, const std::string& target) : folder_(folder / target) {
    fs::create_directories(folder_);
  }
  void add(const std::string& name, const std::string& bytes) const {
    std::ofstream file(folder_ / name, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) fail(ExitCode::kResources, "cannot write {}", (folder_ / name).string());
  }

 private:
  fs::path folder_;
};

// A series of bytes: acts and small numbers.
template <class... Bytes>
std::string row(Bytes... bytes) {
  return {static_cast<char>(bytes)...};
}
std::string sized(std::string_view text) {
  return row(text.size()).append(text);
}
std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// ---- Scripts: ps_core_script.h and the header of each harness define the bytes ----

void add_ps_core(const fs::path& folder) {
  const Seeds seeds(folder, "ps_core");
  using enum PsAct;
  constexpr int kAlone = 0, kTwoWorkers = 0x08, kStay = 0x09, kFirstOfTwo = 0x0a, kSecondOfTwo = 0x0e;
  constexpr int kSgd = 0, kAdam = 2;
  const std::string greetings = row(kHello, 0, 0) + row(kHello, 1, 0);
  const auto model = [](int kind, int strategy, int replicas) { return row(kModel, 0, kind, strategy, replicas, 0); };
  const auto ask = [](int peer, int question) { return row(kAsk, peer, question); };
  const auto push = [](int peer, int dtype = 0) { return row(kPush, peer, dtype, 1, 2, 1); };
  const auto step = [&](int peer) { return push(peer) + ask(peer, 2); };
  const std::string done = ask(0, 4) + ask(1, 4);

  seeds.add("async", row(kTwoWorkers) + greetings + model(kAdam, 0, 1) + ask(0, 0) + ask(1, 0) +
                         repeated(push(0) + push(1) + push(1, 1) + push(0, 2), 2) + done);
  seeds.add("sync", row(kTwoWorkers) + greetings + model(kSgd, 1, 2) + ask(0, 1) + ask(1, 1) +
                        repeated(step(0) + step(1), 3) + done);
  seeds.add("sync_one_of_two", row(kTwoWorkers) + greetings + model(1, 1, 1) + ask(0, 1) + ask(1, 1) +
                                   repeated(step(0) + step(1), 3) + done);
  seeds.add("stale_dropped", row(kTwoWorkers) + greetings + row(kModel, 0, 3, 0x50, 1, 0, 2, 1, 0, 0) + ask(0, 1) +
                                 ask(1, 1) + repeated(step(0), 4) + step(1) + done);
  seeds.add("stale_scaled", row(kTwoWorkers) + greetings + row(kModel, 0, 4, 0x62, 1, 0, 2, 1, 3, 9, 0) + ask(0, 1) +
                                ask(1, 1) + repeated(step(0), 4) + step(1) + done);
  seeds.add("snapshot", row(kTwoWorkers) + greetings + model(kAdam, 0, 1) + push(0) + ask(0, 3) + push(1) +
                            row(kTake, 0, 2, 0, 0, 1, 0, 0) + push(0) + row(kTick, 5));
  seeds.add("sync_snapshot", row(kTwoWorkers) + greetings + model(kSgd, 1, 2) + ask(0, 1) + step(0) + ask(0, 3) +
                                 step(1) + row(kTake, 0, 0, 0) + row(kTick, 3));
  seeds.add("second_ps", row(kSecondOfTwo) + greetings + model(kSgd, 1, 2) + push(0) + push(1) +
                             row(kAdvance, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0) + push(0) + row(kAdvance, 0, 2, 0));
  seeds.add("first_ps", row(kFirstOfTwo) + greetings + model(kSgd, 1, 2) + ask(0, 1) + ask(1, 1) +
                            repeated(step(0) + step(1), 2) + ask(0, 3));
  seeds.add("skips_nan", row(kTwoWorkers) + greetings + model(kAdam, 2, 1) + ask(0, 1) +
                             repeated(row(kPush, 0, 0, 14, 1, 1) + ask(0, 2), 4));
  seeds.add("fails_of_nan", row(kTwoWorkers) + greetings + model(kAdam, 0, 1) + row(kPush, 1, 0, 12, 1, 1) + ask(0, 5) +
                                row(kHello, 2, 0) + row(kTick, 6));
  seeds.add("takeover", row(kTwoWorkers) + greetings + model(kSgd, 0, 1) + row(kNewProcess, 1, 5) + row(kNewRoute, 1) +
                            row(kHello, 1, 0) + row(kTick, 3) + row(kTick, 4) + push(1) + row(kTick, 8) + ask(0, 5));
  seeds.add("third_process",
            row(0x18) + greetings + row(kHello, 3, 0) + row(kTick, 4) + ask(0, 5) + row(kHello, 3, 0) + row(kTick, 4));
  seeds.add("leaves", row(kTwoWorkers) + greetings + model(kSgd, 1, 2) + ask(0, 1) + ask(1, 1) + step(0) +
                          row(kLeave, 1, 0) + sized("") + row(kTick, 5, kLeave, 0, 8) + sized("nan"));
  seeds.add("containers", row(kStay) + row(kHello, 0, 2) + row(kHello, 1, 4) + row(kModel, 0, 0, 0, 1, 0) +
                              row(kReset, 2, 1, 1) + ask(0, 5) + row(kHello, 1, 6) + row(kReset, 2, 0));
  seeds.add("variables", row(kStay) + row(kVariable, 3, 0, 2, 1) + row(kVariable, 3, 2, 2, 1) +
                             row(kVariable, 3, 1, 2, 1) + row(kVariable, 3, 3, 2, 1) + row(kVariable, 3, 1, 0x12) +
                             sized("y/z") + row(1));
  seeds.add("strangers", row(kAlone) + row(kHello, 0, 0x20) + row(kHello, 0, 0x40) + row(kHello, 1, 0) +
                             row(kHello, 0, 6) + row(kHello, 0, 1) + row(kCreate, 0, 9, 0, 1, 0));
  seeds.add("parts", row(kAlone) + row(kHello, 0, 0) + row(kCreate, 0, 1, 0, 1, 0) +
                         row(kLoad, 0, 0, 0, 1, 2, kLoad, 0, 0, 1, 3) + row(kLoad, 0, 1, 0, 0, 0, kLoad, 0, 1, 1, 0) +
                         row(kCreateEnd, 0) + row(kPushChunk, 0, 0, 1, 1) + row(kPushChunk, 0, 0, 0, 1, 1));
  seeds.add("waits", row(kTwoWorkers) + row(kTick, 6, kHello, 0, 0, kTick, 7, kSignal, 1, kTick, 6));
  seeds.add("second_ps_scaled", row(kSecondOfTwo) + greetings + row(kModel, 0, 0, 0x20, 1, 0) + push(0) +
                                    row(kAdvance, 1, 0, 1, 0, 1, 3, 1, 0, 0) + push(1) +
                                    row(kAdvance, 0, 0, 1, 0, 1, 1, 1, 1, 0) + ask(0, 3) + row(kTake, 0, 0, 0));
  seeds.add("second_ps_ruined", row(kSecondOfTwo) + greetings + row(kModel, 0, 0, 0x20, 1, 0) + push(0) +
                                    row(kAdvance, 1, 0, 1, 0, 1, 14, 1, 0, 0) + ask(0, 0));
  seeds.add("resumed_at_the_end", row(kTwoWorkers) + greetings + row(kModel, 0, 2, 0x80, 1, 253, 1, 100, 0) + push(0) +
                                      row(kModel, 0, 2, 0x80, 1, 0, 1, 253, 0) + push(0) + push(1));
  seeds.add("resumed", row(kTwoWorkers) + greetings + row(kModel, 0, 2, 0x80, 1, 200, 1, 100, 0) + push(0) + push(1) +
                           ask(0, 3) + row(kTake, 0, 2, 0, 0, 1, 0, 0));
  seeds.add("resumed_sync", row(kTwoWorkers) + greetings + row(kModel, 0, 2, 0xc1, 2, 0, 0, 0, 9, 7, 1, 100, 0) +
                                ask(0, 1) + ask(1, 1) + repeated(step(0) + step(1), 3) + done);
  seeds.add("waits_for_others", row(kTwoWorkers) + greetings + model(kSgd, 1, 2) + ask(0, 1) + ask(1, 1) + step(0) +
                                    repeated(row(kTick, 3) + ask(0, 5), 9) + row(kTick, 9));
  seeds.add("bounded", row(kTwoWorkers) + greetings + row(kModel, 0, 0, 0x42, 1, 0, 0, 2, 0, 0) + ask(0, 1) +
                           ask(1, 1) + repeated(step(0) + row(kTick, 3), 3) + ask(1, 4) + ask(0, 7));
  seeds.add("another_container", row(kTwoWorkers) + greetings + row(kHello, 2, 2) + ask(0, 5) + row(kHello, 2, 2) +
                                     row(kTick, 4) + row(kModel, 2, 0, 0, 1, 0));
  seeds.add("keys", row(kTwoWorkers | 0x20) + greetings + model(kSgd, 0, 1) + push(0) + row(kReset, 3, 1, 0) +
                        row(kReset, 0, 1, 0) + row(kHello, 3, 0) + row(int{kWithLies} | int(kAsk), 0, 5, 1, 5, 1));
  trace::Peer peer;
  const Message hello = peer.hello(trace::kJob, 2, 1, 0);
  const auto header = encode_header(hello.header);
  seeds.add("raw", row(kAlone) + row(kRawHeader, 0).append(text_of(header)) + sized(text_of(hello.payload.bytes())) +
                       row(kRecord, 0, 1) + sized(text_of(hello.payload.bytes())) + row(int{kWithLies}, 0, 0, 1, 5, 1));
}

void add_exchange(const fs::path& folder) {
  const Seeds seeds(folder, "exchange");
  using enum ExchangeAct;
  constexpr int kWorker = 0, kChief = 1, kNothingHere = 2;
  enum {
    kPullRequest,
    kJoinRequest,
    kAdvanceRequest,
    kVector,
    kTakeRequest,
    kAwait,
    kDone,
    kPush,
    kTurn,
    kStage,
    kMake
  };
  const std::string welcome = row(kConnected, kWelcome, 1, 0);
  const auto begin = [](int request, int dtype = 0) { return row(kBegin, request, dtype); };
  const std::string gradient = row(kAddPush, 1, kAddPush, 0);
  const std::string answer = row(kAnswer, 1, 1, 2, 3);

  seeds.add("pulls", row(kWorker) + welcome + begin(kPullRequest) + row(kEnd) + answer);
  seeds.add("pushes", row(kWorker) + welcome + repeated(begin(kPush, 1) + gradient + row(kEnd) + answer, 2));
  seeds.add("takes_turns", row(kWorker) + welcome + begin(kJoinRequest) + answer + begin(kTurn) + gradient +
                               row(kAddCommit, kEnd, kNotice) + sized("waiting for worker:2") + answer);
  seeds.add("stages", row(kWorker) + welcome + begin(kStage) + gradient + row(kEnd, kPlain, 11) +
                          begin(kAdvanceRequest, 2) + answer);
  seeds.add("creates", row(kChief) + row(kConnected, kWelcome, 0, 1) + begin(kMake) + row(kEnd, kWelcome, 1, 0));
  seeds.add("snapshot", row(kChief) + welcome + begin(kVector) + row(kSnapshot, 1, 0, 4, 1, 1, 10, 3, 1, 50) +
                            begin(kTakeRequest) + row(kValues, 0, 0, 0, 4, 1, 1, kValues, 0, 1, 0, 4, 1) +
                            row(kValues, 1, 0, 0, 4, 1, 1, kValues, 1, 1, 0, 4, 1, kSnapshot, 0, 1, 4, 0));
  seeds.add("holds_nothing", row(kNothingHere) + welcome + begin(kPush) + row(kAddPush, 0, kEnd, kAnswer, 1));
  seeds.add("waits_for_a_model", row(kWorker) + row(kConnected, kWelcome, 0, 1, kTick, 5, kPlain, 9, kWelcome, 1, 0));
  seeds.add("reconnects", row(kWorker) + row(kUnreachable, kTick, 3) + welcome + begin(kPush) + gradient +
                              row(kEnd, kTick, 7, kBroken, kTick, 6) + welcome + answer);
  seeds.add("is_probed", row(kWorker) + welcome + row(kPlain, 10, kPlain, 2, kWelcome, 1, 4, kOpen) + welcome);
  seeds.add("is_done",
            row(kWorker) + welcome + begin(kAwait) + row(kPlain, 7) + begin(kDone) + row(kPlain, 8) + row(kLeave, 0));
  seeds.add("is_refused", row(kWorker) + welcome + row(kRefuse, 8) + sized("the model is ruined"));
  seeds.add("tokens", row(kWorker) + welcome + begin(kTurn) + gradient + row(kAddCommit, kEnd) +
                          row(kToken, 3, 2, 50, 1, kValues, 0, 0, 0, 2, 1, 1, kValues, 0, 1, 0, 2, 1));
  seeds.add("lies", row(kWorker) + welcome + begin(kPullRequest) + row(int(kAnswer) | kPsLies, 1, 1, 2, 1, 13, 9));
}

// ---- Records, and connections ----

std::string header_bytes() {
  const auto bytes = encode_header(trace::Peer{}.push(0, {1, 2}).header);
  return std::string(text_of(bytes));
}

void add_records(const fs::path& folder) {
  const Seeds seeds(folder, "control_records");
  int reader = 0;
  seeds.add("header", row(reader) + header_bytes());
  const auto add = [&](const char* name, const auto& record) {
    const Frame frame = encode(record);
    seeds.add(name, row(++reader).append(text_of(frame.bytes())));
  };
  const Update update{3, {{0, {10, 2}}, {1, {11, 2}}}, 0.5f};
  CreateRecord create;
  create.pieces = {{"conv1/weights", {0, 800}}, {"conv1/biases", {800, 32}}};
  create.progress.consumed_samples = {{0, 100}, {2, 50}};
  HelloRecord hello;
  hello.container = "a";
  hello.fingerprint = trace::kJob;
  TokenRecord token;
  token.updates = {update};
  VariableRecord variable;
  variable.container = "a";
  variable.name = "x";
  VariableAnswerRecord variables;
  variables.shared = {{"x", 1.5}};
  variables.model = {{"conv1/weights", 800}};
  add("hello", hello);
  add("welcome", WelcomeRecord{ModelState::kReady, 0, {1}});
  add("refuse", RefuseRecord{5, "another version"});
  add("create", create);
  add("snapshot", SnapshotRecord{{7, {{0, 100}}, {2}}});
  add("updates", UpdatesRecord{{update, update}, 4});
  add("token", token);
  add("notice", NoticeRecord{"waiting for worker:1"});
  add("reset", ResetRecord{{"a", "b"}});
  add("reset_done", ResetDoneRecord{{{"a", true, 2}, {"b", false, 0}}});
  add("variable", variable);
  add("variables", variables);
}

std::string frame(std::string_view body, int flags) {
  return row(flags, body.size()).append(body);
}
std::string wire_message(Message message) {
  seal(message);
  const auto header = encode_header(message.header);
  return frame(text_of(header), 1) + frame(text_of(message.payload.bytes()), 0);
}

void add_connections(const fs::path& folder) {
  const Seeds plain(folder, "zmtp_plain");
  trace::Peer peer;
  const std::string hello = wire_message(peer.hello(trace::kJob, 2, 1, 0));
  const std::string push = wire_message(peer.push(0, {1, 2, 3}));
  const std::string empty = wire_message(peer.plain(MessageType::kPing));
  const std::string ping = frame(std::string("\4PING\0\0context", 14), 4);
  constexpr int kGreeted = 1, kMended = 2;
  const auto pieces_of = [](int size) { return (size - 1) << 2; };
  plain.add("hello", row(kGreeted | kMended | pieces_of(7)) + hello);
  plain.add("messages", row(kGreeted | kMended | pieces_of(64)) + hello + push + ping + empty + push);
  plain.add("bytes", row(kGreeted | pieces_of(1)) + push + frame("\4PONG", 4) + hello);
  plain.add("long_frame", row(kGreeted | kMended | pieces_of(50)) + push.substr(0, 2 + kHeaderBytes) +
                              std::string("\2\0\0\0\0\0\0\0\x0c", 9) + push.substr(push.size() - 12));
  std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
  greeting.resize(64);
  plain.add("greeting", row(pieces_of(10)) + greeting +
                            frame(std::string("\5READY\x0BSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0\1x", 42), 4) +
                            push);
  plain.add("curve", row(0) + greeting.replace(12, 5, "CURVE"));
  plain.add("web_server", row(pieces_of(3)) + "GET / HTTP/1.1\r\nHost: ps\r\n\r\n");

  const Seeds curve(folder, "zmtp_curve");
  using enum CurveAct;
  const std::string handshake = row(kHello, kWelcome, kInitiate, 0);
  const std::string message = row(kMessage) + sized("a payload") + row(0);
  curve.add("messages", row(0) + handshake + message + row(kPing) + sized("context") + row(kAnswer) + message);
  curve.add("large",
            row(0) + handshake + row(kKeep) + row(kMessage) + row(251, 0x90, 1) + std::string(400, 'x') + row(0));
  curve.add("lies", row(0) + handshake + row(kMessage) + sized("x") + row(1, 1, 0, 77));
  curve.add("stranger", row(1) + handshake + message);
  curve.add("claims_a_key", row(1) + row(kHello, kWelcome, kInitiate, 2));
  curve.add("vouches_for_another", row(0) + row(kHello, kWelcome, kInitiate, 12));
  curve.add("metadata", row(0) + row(kHello, kWelcome, kInitiate, 1) +
                            sized(std::string("\x0BSocket-Type\0\0\0\6ROUTER", 22)) + message);
  curve.add("tampered", row(0) + row(int(kHello) | kTampered, 0, 30, 0, 1));
  curve.add("tampered_message", row(0) + handshake + row(int(kMessage) | kTampered) + sized("x") + row(0, 0, 30, 0, 1));
  curve.add("sealed", row(0) + handshake + row(kSealed, 1) + sized(header_bytes()) + row(kSealed, 0) +
                          sized("12345678") + row(kSealed, 2) + sized("\4PONG"));
  curve.add("unsealed", row(0) + handshake + row(kFrame, 0) + sized(header_bytes()));
  curve.add("unsealed_message", row(0) + handshake + row(kFrame, 0) + sized("\7MESSAGE" + std::string(40, 'x')));
  curve.add("bytes", row(0) + row(kBytes) + sized("\x04\x05hello") + row(kGreeting));
  curve.add("numbers", row(0) + handshake + message + row(kSkipNumbers, 254) + message);
}

// ---- Files ----

void add_cluster_files(const fs::path& folder) {
  const Seeds seeds(folder, "cluster_file");
  seeds.add("lists", R"({"ps": ["10.0.0.1:2222"], "worker": ["[::1]:2223", "host-a:2224"]})");
  seeds.add("numbered", R"({"ps": {"0": "a:1"}, "worker": {"0": "a:2", "2": "b:65535"}, "evaluator": ["c:3"]})");
  seeds.add("twice", R"({"ps": ["a:1"], "worker": ["a:2"], "worker": ["A:2", "a:1"]})");
  seeds.add("tf_config", R"({"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "ps", "index": 0}})");
  seeds.add("escapes", R"({"p\u0073": ["\u0061:1"], "worker": [null, 1.5e3, true, {}]})");
  seeds.add("hosts", "a:1,b:2\n c:3\td:4");
  seeds.add("separators", "a:1;b:2");
  seeds.add("scheme", "tcp://a:1");
  seeds.add("scope", "[fe80::1%eth0]:2222");
  seeds.add("any", "[::]:2222");
  seeds.add("networks", "10.0.0.0/8,fd00::/8,::ffff:10.0.0.1,192.168.0.1/32");
}

void add_key_files(const fs::path& folder) {
  const Seeds seeds(folder, "key_file");
  Key bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(7 * i + 1);
  const KeyOwner worker{KeyOwner::Role::kWorker, 1};
  const std::string public_text = public_key_text(worker, bytes);
  const std::string secret_text = secret_key_text(worker, {bytes, bytes}).text;
  seeds.add("public", public_text);
  seeds.add("secret", secret_text);
  seeds.add("twice", secret_text + secret_text);
  seeds.add("single_quotes", "curve\r\n\tpublic-key = '" + std::string(40, '0') + "'\r\n");
  seeds.add("no_quotes", "curve\n  public-key=" + std::string(40, '#') + "\n  secret-key = short\n");
  seeds.add("no_section", "    public-key = \"" + std::string(40, '0') + "\"\n");
  seeds.add("name_ps", "ps-0");
  seeds.add("name_worker", "worker-4294967295");
  seeds.add("name_admin", "admin");
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The parts from which the harness builds a valid file: the header's text, a newline, the data.
std::string to_be_mended(const std::string& file) {
  const auto length = from_little_endian<std::uint64_t>(bytes_of(file).first<8>());
  return row(0) + file.substr(8, length) + "\n" + file.substr(8 + length);
}

void add_checkpoints(const fs::path& folder) {
  const Seeds seeds(folder, "checkpoint");
  const fs::path path = folder / "checkpoint" / "file";
  const auto add = [&](const std::string& name) {
    const std::string file = read_file(path);
    seeds.add(name, row(1) + file);
    seeds.add(name + "_mended", to_be_mended(file));
    fs::remove(path);
  };
  ModelIdentity identity = sample_identity();
  identity.variables = {{.name = "fc/weights", .shape = {3, 2}, .range = {0, 6}},
                        {.name = "fc/biases", .shape = {2}, .range = {6, 2}}};
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kAdagrad}) {
    identity.optimizer = default_optimizer(kind);
    write_checkpoint(path, sample_snapshot(1000, identity));
    add(std::string(to_string(kind)));
  }
  identity.optimizer = default_optimizer(OptimizerKind::kSgd);
  ModelSnapshot with_data = sample_snapshot(7, identity);
  with_data.data = DataIdentity{60'000, 10'000, 28, 28, 10, 0x1234, 0x5678};
  with_data.data_source = "synthetic";
  write_checkpoint(path, with_data);
  add("with_data");
  const std::vector<float> values = {1, 2};
  const std::vector<NamedTensor> tensors = {{"x", {2}, values}, {"empty", {0, 3}, {}}};
  write_safetensors(path, {{"a", "b"}}, tensors);
  add("no_checkpoint");
  const std::string other = R"({"h":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}} )";
  seeds.add("other_program", row(0) + other + "\n" + "xx");
}

}  // namespace
}  // namespace distmnist::fuzz

int main(int argc, char** argv) {
  using namespace distmnist;
  using namespace distmnist::fuzz;
  if (argc != 2) return std::fputs("seeds FOLDER\n", stderr), 2;
  try {
    const fs::path folder = argv[1];
    add_ps_core(folder);
    add_exchange(folder);
    add_records(folder);
    add_connections(folder);
    add_cluster_files(folder);
    add_key_files(folder);
    add_checkpoints(folder);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
