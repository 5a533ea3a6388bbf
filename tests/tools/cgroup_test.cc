#include "tools/cgroup.h"

#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

// A root folder with the files of /proc and of mounted cgroups that a process would see.
class FakeHost {
 public:
  void write(const std::string& path, const std::string& text) const {
    const fs::path file = temp_.path() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  CgroupLimits limits() const { return read_cgroup_limits(temp_.path()); }

 private:
  TempDir temp_;
};

const std::string kOtherMounts =
    "24 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "25 24 0:23 / /proc rw,nosuid shared:2 master:7 - proc proc rw\n";
const std::string kUnified = kOtherMounts + "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

}  // namespace

TEST_CASE("a host without cgroups limits nothing") {
  const FakeHost host;
  CHECK(!host.limits().cpus);
  CHECK(!host.limits().threads);
  host.write("proc/self/mountinfo", kOtherMounts);
  host.write("proc/self/cgroup", "0::/\n");
  CHECK(!host.limits().cpus);
}

TEST_CASE("version 2: the lowest quota from the cgroup up to the root counts") {
  const FakeHost host;
  host.write("proc/self/mountinfo", kUnified);
  host.write("proc/self/cgroup", "0::/system.slice/job.service/step\n");
  host.write("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
  CHECK(!host.limits().cpus);
  host.write("sys/fs/cgroup/system.slice/job.service/cpu.max", "150000 100000\n");
  host.write("sys/fs/cgroup/system.slice/job.service/step/cpu.max", "400000 100000\n");
  host.write("sys/fs/cgroup/system.slice/job.service/pids.max", "30\n");
  host.write("sys/fs/cgroup/system.slice/job.service/step/pids.max", "max\n");
  CHECK(host.limits().cpus == 1.5);
  CHECK(host.limits().threads == 30);
  host.write("sys/fs/cgroup/other.slice/cpu.max", "10000 100000\n");
  CHECK(host.limits().cpus == 1.5);
}

TEST_CASE("version 2: a container sees its own cgroup as the root") {
  const FakeHost host;
  host.write("proc/self/mountinfo", kUnified);
  host.write("proc/self/cgroup", "0::/\n");
  host.write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(host.limits().cpus == 0.5);
}

TEST_CASE("version 2: a cgroup outside the mounted part") {
  const FakeHost host;
  host.write("proc/self/mountinfo", kUnified);
  host.write("proc/self/cgroup", "0::/../sibling\n");
  host.write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  CHECK(host.limits().cpus == 2);
}

TEST_CASE("version 1: each controller has a separate hierarchy") {
  const FakeHost host;
  host.write("proc/self/mountinfo",
             kOtherMounts +
                 "40 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
                 "41 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                 "42 31 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
  host.write("proc/self/cgroup", "5:pids:/a\n4:cpuset:/\n3:cpu,cpuacct:/slurm/job_7\n0::/x\n");
  host.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  host.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(!host.limits().cpus);
  host.write("sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us", "250000\n");
  host.write("sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us", "100000\n");
  host.write("sys/fs/cgroup/pids/a/pids.max", "12\n");
  CHECK(host.limits().cpus == 2.5);
  CHECK(host.limits().threads == 12);
}

TEST_CASE("version 1: only the container's cgroup is mounted") {
  const FakeHost host;
  host.write("proc/self/mountinfo", "40 31 0:30 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n");
  host.write("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n");
  host.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  host.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
  CHECK(host.limits().cpus == 2);
}

TEST_CASE("a cgroup outside the mounted part is limited by the mount point only") {
  const FakeHost host;
  host.write("proc/self/mountinfo", kOtherMounts + "31 24 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  host.write("proc/self/cgroup", "0::/docker/other\n");
  host.write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  host.write("sys/fs/other/cpu.max", "50000 100000\n");
  CHECK(host.limits().cpus == 3);
}

TEST_CASE("files with other content limit nothing") {
  const FakeHost host;
  host.write("proc/self/mountinfo", kUnified + "garbage\n31 24 - cgroup2\n");
  host.write("proc/self/cgroup", "0:\nnonsense\n0::/\n");
  for (const char* text : {"", "max", "x y", "100000", "0 100000", "100000 0", "-5 100000"}) {
    host.write("sys/fs/cgroup/cpu.max", text);
    CHECK(!host.limits().cpus);
  }
}

}  // namespace distmnist
