#include "lib/backend/gpu_log.h"

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

using Lines = std::vector<std::string>;

GpuInfo titan(int index, const std::string& bus) {
  return {.index = index,
          .name = "GeForce GTX TITAN X",
          .major = 5,
          .minor = 2,
          .memory_clock_ghz = 1.076,
          .pci_bus_id = bus,
          .total_bytes = 12'799'180'800,
          .free_bytes = 12'681'068'544,
          .multiprocessors = 24};
}

GpuSystem one_gpu() {
  return {.driver_version = "13.1",
          .runtime_version = "13.0",
          .built_for = {"sm_52", "compute_52"},
          .libraries = {{"libcublasLt.so.13", "13.0.0"}, {"libcudnn.so.9", "9.19.0"}},
          .gpus = {titan(0, "0000:02:00.0")},
          .peers = {{true}}};
}

GpuSystem two_gpus(bool peers) {
  GpuSystem system = one_gpu();
  system.gpus.push_back(titan(1, "0000:03:00.0"));
  system.peers = {{true, peers}, {peers, true}};
  return system;
}

const Lines kTitanLines = {"name: GeForce GTX TITAN X", "major: 5 minor: 2 memoryClockRate (GHz) 1.076",
                           "pciBusID 0000:02:00.0", "Total memory: 11.92GiB", "Free memory: 11.81GiB"};

}  // namespace

TEST_CASE("one GPU is logged with its libraries and properties") {
  Lines expected = {"successfully opened CUDA library libcublasLt.so.13 locally, version 13.0.0",
                    "successfully opened CUDA library libcudnn.so.9 locally, version 9.19.0",
                    "Found device 0 with properties:"};
  expected.insert(expected.end(), kTitanLines.begin(), kTitanLines.end());
  expected.insert(expected.end(), {"DMA: 0", "0:   Y"});
  CHECK(startup_lines(one_gpu()) == expected);
}

TEST_CASE("GPUs that cannot copy directly are logged pair by pair and in the matrix") {
  const Lines lines = startup_lines(two_gpus(false));
  CHECK(Lines(lines.end() - 5, lines.end()) == Lines{"Peer access not supported between device ordinals 0 and 1",
                                                     "Peer access not supported between device ordinals 1 and 0",
                                                     "DMA: 0 1", "0:   Y N", "1:   N Y"});
  CHECK(lines[8] == "Found device 1 with properties:");
  CHECK(lines[11] == "pciBusID 0000:03:00.0");
}

TEST_CASE("GPUs that can copy directly are in the matrix only") {
  const Lines lines = startup_lines(two_gpus(true));
  CHECK(lines.size() == 17);
  CHECK(Lines(lines.end() - 3, lines.end()) == Lines{"DMA: 0 1", "0:   Y Y", "1:   Y Y"});
}

TEST_CASE("an unsuitable GPU is logged and is not a device") {
  GpuSystem system = two_gpus(true);
  system.gpus[0].fault = "built for 8.0 and newer, this card has 5.2";
  CHECK(startup_lines(system).back() ==
        "Ignoring device (device: 0, name: GeForce GTX TITAN X, pci bus id: 0000:02:00.0): built for 8.0 and newer, "
        "this card has 5.2");
  CHECK(device_mapping(system, "/job:localhost/replica:0/task:0") ==
        Lines{"Device mapping:",
              "/job:localhost/replica:0/task:0/device:GPU:1 -> device: 1, name: GeForce GTX TITAN X, pci bus id: "
              "0000:03:00.0"});
  CHECK(gpu_table(system).back() == "does not fit: /gpu:0: built for 8.0 and newer, this card has 5.2");
}

TEST_CASE("a created device is logged with its card") {
  CHECK(creation_line(titan(1, "0000:03:00.0")) ==
        "Creating device (/gpu:1) -> (device: 1, name: GeForce GTX TITAN X, pci bus id: 0000:03:00.0)");
}

TEST_CASE("the mapping names the devices of a task") {
  const Lines lines = device_mapping(two_gpus(true), "/job:worker/replica:0/task:2");
  REQUIRE(lines.size() == 3);
  CHECK(lines[1] ==
        "/job:worker/replica:0/task:2/device:GPU:0 -> device: 0, name: GeForce GTX TITAN X, pci bus id: 0000:02:00.0");
}

TEST_CASE("the table has a row for each GPU, the peers and the versions") {
  CHECK(gpu_table(two_gpus(false)) ==
        Lines{"device  name                 compute capability  memory clock  pci bus id    total memory  free memory  "
              "usable",
              "/gpu:0  GeForce GTX TITAN X  5.2                 1.076 GHz     0000:02:00.0  11.92GiB      11.81GiB     "
              "yes",
              "/gpu:1  GeForce GTX TITAN X  5.2                 1.076 GHz     0000:03:00.0  11.92GiB      11.81GiB     "
              "yes",
              "DMA: 0 1", "0:   Y N", "1:   N Y", "CUDA driver        13.1", "CUDA runtime       13.0",
              "libcublasLt.so.13  13.0.0", "libcudnn.so.9      9.19.0", "built for          sm_52 compute_52"});
}

TEST_CASE("without a GPU the reason is logged") {
  GpuSystem none = one_gpu();
  none.fault = "no CUDA-capable device is detected";
  none.driver_version = "";
  none.gpus.clear();
  none.peers.clear();
  CHECK(startup_lines(none).size() == 2);  // the libraries
  CHECK(device_mapping(none, "/job:localhost/replica:0/task:0").empty());
  const Lines table = gpu_table(none);
  CHECK(table.front() == "CUDA driver        none");
  CHECK(table.back() == "no GPU: no CUDA-capable device is detected");
}
