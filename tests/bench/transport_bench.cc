// Measures how long the gradients and parameters of the MNIST CNN (6.5 MB in each direction as float32, in frames of at
// most 1 MiB) take for a round trip with each number type: over a plain socket with the same bytes, which is the limit,
// over our transport, and through a whole ps that applies Adam in between. As in a step, everything arrives before the
// answer is sent. Ratios are to the plain socket with the same number of bytes. With keys everything is encrypted and
// decrypted on the way.
//   transport_bench [repeats]
#include <sys/un.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.h"
#include "lib/ps/client/remote_client.h"
#include "lib/wire/network_server.h"
#include "tests/support/test_ps.h"

namespace distmnist {
namespace {

constexpr std::int64_t kFloats = 1'625'606;

std::size_t bytes_of(WireDtype dtype) {
  return static_cast<std::size_t>(kFloats) * bytes_per_number(dtype);
}

struct Times {
  double median_ms = 0, best_ms = 0;
};

Times measure(int repeats, const std::function<void()>& round_trip) {
  for (int i = 0; i < 5; ++i) round_trip();
  std::vector<double> times(static_cast<std::size_t>(repeats));
  for (double& time : times) {
    const double start = monotonic_s();
    round_trip();
    time = 1e3 * (monotonic_s() - start);
  }
  std::ranges::sort(times);
  return {times[times.size() / 2], times.front()};
}

void print_row(const std::string& name, WireDtype dtype, const Times& times, const Times& limit) {
  std::printf("%-30s %-5s %5.1f MB %8.2f ms %8.2f ms %7.2f GB/s %8.2f\n", name.c_str(),
              std::string(to_string(dtype)).c_str(), static_cast<double>(bytes_of(dtype)) / 1e6, times.median_ms,
              times.best_ms, 2.0 * static_cast<double>(bytes_of(dtype)) / times.best_ms / 1e6,
              times.best_ms / limit.best_ms);
}

// ---- Plain sockets ----

bool write_all(int descriptor, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(descriptor, bytes, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}
bool read_all(int descriptor, char* bytes, std::size_t size) {
  return recv(descriptor, bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

// Two connected stream sockets, over TCP on 127.0.0.1 or within the host.
std::pair<int, int> connected_pair(bool tcp) {
  int ends[2];
  if (!tcp) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    return {ends[0], ends[1]};
  }
  const int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback_address(0);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      connect(client, reinterpret_cast<sockaddr*>(&address), size) != 0) {
    std::abort();
  }
  const int server = accept(listener, nullptr, nullptr);
  close(listener);
  return {server, client};
}

Times plain_socket(bool tcp, WireDtype dtype, int repeats) {
  const std::size_t size = bytes_of(dtype);
  const auto [server, client] = connected_pair(tcp);
  std::thread echo([server = server, size] {
    std::vector<char> bytes(size);
    while (read_all(server, bytes.data(), size) && write_all(server, bytes.data(), size)) {
    }
  });
  std::vector<char> bytes(size, 1);
  const Times times = measure(repeats, [&, client = client] {
    if (!write_all(client, bytes.data(), size) || !read_all(client, bytes.data(), size)) std::abort();
  });
  shutdown(client, SHUT_RDWR);
  echo.join();
  close(client);
  close(server);
  return times;
}

// ---- Our transport ----

// The keys of a ps and its only worker.
struct Keys {
  KeyPair ps = make_key_pair(), worker = make_key_pair();
};
std::optional<ServerKeys> server_keys(const Keys* keys) {
  if (keys == nullptr) return std::nullopt;
  return ServerKeys{keys->ps, {{keys->worker.public_key, {KeyOwner::Role::kWorker, 0}}}};
}
std::optional<ClientKeys> client_keys(const Keys* keys) {
  if (keys == nullptr) return std::nullopt;
  return ClientKeys{keys->worker, keys->ps.public_key};
}

Times transport(bool tcp, WireDtype dtype, int repeats, const Keys* keys) {
  WireContext context;
  const std::uint16_t port = free_port();
  const std::string endpoint = tcp ? tcp_endpoint("127.0.0.1", port) : same_host_endpoint("127.0.0.1", port);
  NetworkServer server({.endpoints = {endpoint}, .keys = server_keys(keys)});
  const ChunkTable chunks({{0, kFloats}});
  std::atomic<bool> stop = false;
  std::thread echo([&] {
    Sender from;
    std::vector<Message> messages;
    while (!stop) {
      server.poll(10);
      while (auto received = server.receive(from)) {
        server.keep(from.route);
        if (received->message.header.type == MessageType::kPush) messages.push_back(std::move(received->message));
      }
      if (messages.size() < chunks.size()) continue;
      for (Message& message : messages) server.send(from.route, std::move(message));
      messages.clear();
    }
  });
  std::vector<std::byte> gradients(bytes_of(dtype)), parameters(gradients.size());
  const std::size_t width = bytes_per_number(dtype);
  const auto part_of = [&](std::vector<std::byte>& block, Range range) {
    return std::span(block).subspan(static_cast<std::size_t>(range.offset) * width,
                                    static_cast<std::size_t>(range.size) * width);
  };
  ClientSocket client(context, endpoint, client_keys(keys));
  client.send({});  // a ping, so that the server keeps the connection
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const Times times = measure(repeats, [&] {
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      Header header;
      header.type = MessageType::kPush;
      header.dtype = dtype;
      header.range_offset = chunks.range(chunk).offset;
      header.range_size = chunks.range(chunk).size;
      client.send({header, Frame::borrow(part_of(gradients, chunks.range(chunk)))});
    }
    for (std::size_t arrived = 0; arrived < chunks.size();) {
      ClientSocket::poll({&client}, 1000);
      while (auto received = client.receive()) {
        if (received->fault != HeaderFault::kNone) std::abort();
        std::ranges::copy(received->message.payload.bytes(),
                          part_of(parameters, received->message.header.range()).begin());
        ++arrived;
      }
    }
  });
  stop = true;
  echo.join();
  return times;
}

// ---- A whole ps ----

Times push_and_pull(bool tcp, WireDtype dtype, int repeats, const Keys* keys) {
  const std::uint16_t port = free_port();
  MortalPs ps(port, {0, 1, 1, 1}, !tcp, server_keys(keys));
  RemoteClientConfig config;
  config.ps = {{"127.0.0.1", port}};
  config.plan = {{{"all", {0, kFloats}}}};
  config.num_parameters = kFloats;
  config.chief = true;
  config.wire_dtype = dtype;
  config.incarnation = 1;
  config.limits.recovery_wait_ms = 10'000;
  if (keys != nullptr) config.keys = {*client_keys(keys)};
  RemoteClient client(config);
  client.open();
  StoredModel model;
  model.parameters.assign(static_cast<std::size_t>(kFloats), 0.5f);
  model.slots.assign(2, std::vector<float>(model.parameters.size()));
  client.create(model);

  const std::vector<float> gradients(static_cast<std::size_t>(kFloats), 1e-3f);
  std::vector<float> parameters(gradients.size());
  BlockSink sink(parameters);
  std::int64_t step = 0;
  const Times times = measure(repeats, [&] {
    client.begin_push(numbers_of(gradients), step, 1);
    client.push({0, kFloats});
    const Turn turn = client.finish_push(sink);
    step = turn.global_step;
  });
  client.leave();
  return times;
}

void run(int repeats) {
  const Keys keys;
  // Rates and ratios use the best time, which other processes disturb least.
  std::printf("%d round trips%24s each way %10s %11s %12s %8s\n", repeats, "", "median", "best", "rate", "ratio");
  for (const bool tcp : {true, false}) {
    const std::string where = tcp ? "tcp" : "same host";
    for (const WireDtype dtype : {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16}) {
      const Times limit = plain_socket(tcp, dtype, repeats);
      print_row("plain socket, " + where, dtype, limit, limit);
      print_row("transport, " + where, dtype, transport(tcp, dtype, repeats, nullptr), limit);
      print_row("push + Adam + pull, " + where, dtype, push_and_pull(tcp, dtype, repeats, nullptr), limit);
      if (dtype == WireDtype::kF16) continue;
      print_row("transport with keys, " + where, dtype, transport(tcp, dtype, repeats, &keys), limit);
      print_row("the whole with keys, " + where, dtype, push_and_pull(tcp, dtype, repeats, &keys), limit);
    }
  }
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  distmnist::run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 100);
}
