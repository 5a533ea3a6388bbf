// What the process finds around it: folders for caches, the program's own folder, signs of a GPU. The only code that
// reads the environment.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace distmnist {

// $HOME, else the home of the password file; empty where there is neither.
std::filesystem::path home_folder();

// $XDG_CACHE_HOME/distmnist, else ~/.cache/distmnist, where ~ is home_folder(); nothing where there is none. A path
// that is not absolute counts as none. tools/download_mnist.py has the same rule. Whether the folder may be used:
// tools/cache.h.
std::optional<std::filesystem::path> cache_folder();

// The folder of the running executable.
std::filesystem::path program_folder();

// Where the CUDA module lies beside the program, installed as well as built: ../lib of the program's folder.
std::filesystem::path cuda_module_folder();

// Whether there can be a GPU for this process: the driver's device files are there, and CUDA_VISIBLE_DEVICES does not
// hide all GPUs. To ask CUDA itself would cost the time and the memory of a CUDA context.
bool may_have_gpu();

// Whether this value of CUDA_VISIBLE_DEVICES leaves no GPU: it is empty, or starts with -1. Null: it is not set.
bool hides_all_gpus(const char* visible_devices);

// Whether TF_CONFIG, by which TensorFlow's jobs are told their cluster, is set.
bool has_tf_config();

// A script that is installed with the program or lies in its source tree. Error (kUsage) where it is not found.
std::filesystem::path find_script(const std::string& name);

// Cores that this process may use, at least 1: those of its affinity mask (taskset, cpusets, Slurm), and no more than
// the quota of its cgroup, rounded up (containers, Kubernetes).
int num_cores();

// The number in OMP_NUM_THREADS, of a list the first; 0 where there is none.
int omp_num_threads();

// Has oneDNN's threads sleep soon when they wait for one another. They are OpenMP's, and gcc's OpenMP has them spin for
// milliseconds: where other processes want the same cores, steps take many times as long. It reads how long from the
// environment when it is loaded, before main(), so the program is started once more in its own place, with the same
// arguments. Returns in the new process, or where the user has chosen (OMP_WAIT_POLICY, GOMP_SPINCOUNT) or nothing can
// be done. Call it before anything is opened.
void limit_spinning(char** argv);

// The most memory this process has had resident so far, in MB (10^6 bytes).
double peak_memory_mb();

}  // namespace distmnist
