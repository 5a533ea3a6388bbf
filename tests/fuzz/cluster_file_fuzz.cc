// Reads a text as a cluster file and in the other formats that describe addresses of tasks: lists of hosts, one
// address, networks.
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/cluster/allow_list.h"
#include "lib/cluster/cluster_spec.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"

namespace distmnist::fuzz {
namespace {

// A text may be refused, with one type of error only.
template <class Read>
void try_reading(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    check(error.code() == ExitCode::kUsage, "a text that is no cluster is the user's mistake");
    check(error.what()[0] != '\0', "an error says something");
  }
}

void check_address(const HostPort& address) {
  if (is_known(address)) check(parse_host_port(address.to_string()) == address, "an address stays what it is");
}

void check_cluster(const ClusterSpec& cluster) {
  for (const auto& tasks : {cluster.ps, cluster.workers}) {
    for (const HostPort& task : tasks) check_address(task);
    if (!tasks.empty()) check(tasks_on_same_host(tasks, 0) >= 1, "a task is on its own host");
  }
  for (const std::string job : {"ps", "worker"}) {
    for (const int index : {-1, 0, 1, 1'000'000}) {
      try_reading([&] { address_of(cluster, TaskId{job, index}); });
    }
    try_reading([&] { require_all_known(job == "ps" ? cluster.ps : cluster.workers, job, cluster.source); });
  }
}

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist;
  using namespace distmnist::fuzz;
  const std::string text = Input::as_text(Input(data, size).rest());
  for (const Workers workers : {Workers::kNeeded, Workers::kOptional}) {
    try_reading([&] {
      const ClusterSpec cluster = cluster_from_json(text, "cluster.json", {}, workers);
      validate(cluster, workers);
      check_cluster(cluster);
    });
  }
  try_reading([&] {
    for (const HostPort& address : parse_host_list(text)) check_address(address);
  });
  try_reading([&] { check_address(parse_host_port(text)); });
  try_reading([&] { check_address(parse_bind_address(text, 2222)); });
  try_reading([&] {
    for (const AddressBlock& block : parse_address_blocks(text)) {
      check(parse_address_block(block.to_string()) == block, "a block of addresses stays what it is");
    }
  });
  return 0;
}
