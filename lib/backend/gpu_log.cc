#include "lib/backend/gpu_log.h"

#include <fmt/core.h>

#include "lib/base/join.h"
#include "lib/base/text_table.h"

namespace distmnist {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.2f}GiB", static_cast<double>(bytes) / kGiB);
}

std::string card(const GpuInfo& gpu) {
  return fmt::format("device: {}, name: {}, pci bus id: {}", gpu.index, gpu.name, gpu.pci_bus_id);
}

std::string version(const std::string& known) {
  return known.empty() ? "none" : known;
}

void append_properties(const GpuInfo& gpu, std::vector<std::string>& lines) {
  lines.push_back(fmt::format("Found device {} with properties:", gpu.index));
  lines.push_back(fmt::format("name: {}", gpu.name));
  lines.push_back(
      fmt::format("major: {} minor: {} memoryClockRate (GHz) {:.4g}", gpu.major, gpu.minor, gpu.memory_clock_ghz));
  lines.push_back(fmt::format("pciBusID {}", gpu.pci_bus_id));
  lines.push_back(fmt::format("Total memory: {}", gib(gpu.total_bytes)));
  lines.push_back(fmt::format("Free memory: {}", gib(gpu.free_bytes)));
}

void append_missing_peers(const GpuSystem& system, std::vector<std::string>& lines) {
  for (std::size_t from = 0; from < system.peers.size(); ++from) {
    for (std::size_t to = 0; to < system.peers[from].size(); ++to) {
      if (system.peers[from][to]) continue;
      lines.push_back(fmt::format("Peer access not supported between device ordinals {} and {}", from, to));
    }
  }
}

// "DMA: 0 1", "0:   Y N", "1:   N Y"
void append_peer_matrix(const GpuSystem& system, std::vector<std::string>& lines) {
  if (system.peers.empty()) return;
  std::string header = "DMA:";
  for (std::size_t to = 0; to < system.peers.size(); ++to) header += fmt::format(" {}", to);
  lines.push_back(header);
  for (std::size_t from = 0; from < system.peers.size(); ++from) {
    std::string row = fmt::format("{}:  ", from);
    for (const bool direct : system.peers[from]) row += direct ? " Y" : " N";
    lines.push_back(row);
  }
}

std::vector<std::string> row_of(const GpuInfo& gpu) {
  return {fmt::format("/gpu:{}", gpu.index),
          gpu.name,
          fmt::format("{}.{}", gpu.major, gpu.minor),
          fmt::format("{:.4g} GHz", gpu.memory_clock_ghz),
          gpu.pci_bus_id,
          gib(gpu.total_bytes),
          gib(gpu.free_bytes),
          gpu.fault.empty() ? "yes" : "no"};
}

}  // namespace

std::vector<std::string> startup_lines(const GpuSystem& system) {
  std::vector<std::string> lines;
  for (const CudaLibrary& library : system.libraries) {
    lines.push_back(
        fmt::format("successfully opened CUDA library {} locally, version {}", library.file, library.version));
  }
  for (const GpuInfo& gpu : system.gpus) append_properties(gpu, lines);
  append_missing_peers(system, lines);
  append_peer_matrix(system, lines);
  for (const GpuInfo& gpu : system.gpus) {
    if (!gpu.fault.empty()) lines.push_back(fmt::format("Ignoring device ({}): {}", card(gpu), gpu.fault));
  }
  return lines;
}

std::string creation_line(const GpuInfo& gpu) {
  return fmt::format("Creating device (/gpu:{}) -> ({})", gpu.index, card(gpu));
}

std::vector<std::string> device_mapping(const GpuSystem& system, std::string_view task) {
  std::vector<std::string> lines;
  for (const GpuInfo& gpu : system.gpus) {
    if (!gpu.fault.empty()) continue;
    if (lines.empty()) lines.push_back("Device mapping:");
    lines.push_back(fmt::format("{}/device:GPU:{} -> {}", task, gpu.index, card(gpu)));
  }
  return lines;
}

std::vector<std::string> gpu_table(const GpuSystem& system) {
  std::vector<std::string> lines;
  if (!system.gpus.empty()) {
    std::vector<std::vector<std::string>> rows = {{"device", "name", "compute capability", "memory clock", "pci bus id",
                                                   "total memory", "free memory", "usable"}};
    for (const GpuInfo& gpu : system.gpus) rows.push_back(row_of(gpu));
    lines = aligned(rows);
  }
  append_peer_matrix(system, lines);
  std::vector<std::vector<std::string>> versions = {{"CUDA driver", version(system.driver_version)},
                                                    {"CUDA runtime", version(system.runtime_version)}};
  for (const CudaLibrary& library : system.libraries) versions.push_back({library.file, library.version});
  versions.push_back({"built for", join(system.built_for, " ")});
  for (std::string& line : aligned(versions)) lines.push_back(std::move(line));
  for (const GpuInfo& gpu : system.gpus) {
    if (!gpu.fault.empty()) lines.push_back(fmt::format("does not fit: /gpu:{}: {}", gpu.index, gpu.fault));
  }
  if (!system.fault.empty()) lines.push_back(fmt::format("no GPU: {}", system.fault));
  return lines;
}

}  // namespace distmnist
