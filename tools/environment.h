// Environment: the cache folders, the program's own folder, and signs of a GPU. No other code reads the environment.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace distmnist {

// $HOME, else the home from the password file; empty if there is neither.
std::filesystem::path home_folder();

// $XDG_CACHE_HOME/distmnist, else ~/.cache/distmnist with home_folder() for ~; nothing if there is neither. A relative
// path counts as not set. tools/download_mnist.py follows the same rule. tools/cache.h checks whether the folder may be
// used.
std::optional<std::filesystem::path> cache_folder();

// The folder of the running executable.
std::filesystem::path program_folder();

// The folder of the CUDA module, both installed and in the build tree: ../lib relative to the program's folder.
std::filesystem::path cuda_module_folder();

// Whether this process may have a GPU: the driver's device files exist, and CUDA_VISIBLE_DEVICES does not hide all
// GPUs. Asking CUDA itself would cost the time and memory of a CUDA context.
bool may_have_gpu();

// Whether this value of CUDA_VISIBLE_DEVICES hides all GPUs: it is empty or starts with -1. Null means not set.
bool hides_all_gpus(const char* visible_devices);

// Whether TF_CONFIG is set, which gives TensorFlow jobs their cluster.
bool has_tf_config();

// The path of a script that is installed with the program or is in its source tree. Error (kUsage) if not found.
std::filesystem::path find_script(const std::string& name);

// The number of cores that this process may use, at least 1: those of its affinity mask (taskset, cpusets, Slurm),
// limited by the quota of its cgroup, rounded up (containers, Kubernetes).
int num_cores();

// The number in OMP_NUM_THREADS, or the first one of a list; 0 if not set.
int omp_num_threads();

// Makes oneDNN's threads go to sleep soon when they wait for each other. They are OpenMP threads, which gcc's OpenMP
// lets spin for milliseconds: if other processes need the same cores, steps take many times as long. gcc's OpenMP reads
// the spin time from the environment when it is loaded, before main(), so this function restarts the program in place
// with the same arguments. It returns in the new process, or if the user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT, or
// if the restart fails. Call it before opening anything.
void limit_spinning(char** argv);

// The peak resident memory of this process so far, in MB (10^6 bytes).
double peak_memory_mb();

}  // namespace distmnist
