// Writes and inspects files for safetensors_interop_test.py: `safetensors_sample write FILE`, `safetensors_sample
// inspect FILE`.
#include <cstdio>
#include <string_view>

#include "lib/base/error.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/inspect.h"
#include "tests/support/sample_snapshot.h"

int main(int argc, char** argv) {
  using namespace distmnist;
  if (argc != 3) return static_cast<int>(ExitCode::kUsage);
  try {
    if (std::string_view(argv[1]) == "write") {
      write_checkpoint(argv[2], sample_snapshot(1207));
    } else {
      for (const auto& line : inspect_checkpoint(argv[2]).lines) std::puts(line.c_str());
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
