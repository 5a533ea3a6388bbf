"""The parts of tests/gpu/run.sh, with scripts in the place of the GPU's tools, the build and the programs: each part runs
what it should, its result is counted, and a part that fails stops no other."""

import os
import re
import shutil
import subprocess
import textwrap

from script_case import support

RUN = support.ROOT / "tests" / "gpu" / "run.sh"

NVIDIA_SMI = """\
    case $* in
      -L) echo "GPU 0: NVIDIA H200 (UUID: GPU-0)" ;;
      *compute_cap,*) echo "NVIDIA H200, 580, 9.0, 143771 MiB" ;;
      *compute_cap*) echo 9.0 ;;
      *) echo "NVIDIA H200, 580" ;;
    esac
    """
MESON = """\
    [ "$1" = --version ] && echo 1.0 && exit
    mkdir -p "$2/tools" "$2/lib" "$2/tests/bench/gpu" && touch "$2/build.ninja"
    echo "meson $*" >>"$LOG"
    """
NINJA = """\
    [ "$3" = -t ] && echo "tests/gpu_backend_test: phony" && exit
    [ -z "${BROKEN_BUILD:-}" ] || { echo "error: no such header"; exit 1; }
    cp "$STANDINS/distmnist" "$2/tools/" && cp "$STANDINS/gpu_backend_test" "$2/tests/"
    cp "$STANDINS/step_bench" "$2/tests/bench/gpu/"
    echo "ninja $*" >>"$LOG"
    """
COMPUTE_SANITIZER = """\
    echo "compute-sanitizer $*" >>"$LOG"
    while [ $# -gt 0 ]; do
      case $1 in
        --tool | --error-exitcode | --kernel-name) shift 2 ;;
        *) exec "$@" ;;
      esac
    done
    """
DISTMNIST = """\
    echo "distmnist $*" >>"$LOG"
    job=local index=0
    for argument; do
      case $argument in
        --job_name=*) job=${argument#*=} ;;
        --task_index=*) index=${argument#*=} ;;
      esac
    done
    [ "$job" = ps ] && exit
    [ "$job" = worker ] && task=worker:$index || task=local
    [ "${1:-}" = devices ] && echo "/gpu:0  a stand-in" && exit
    echo "now: I $task] trained until global_step 1200 at 6000.0 global steps/s" >&2
    echo "now: I $task] time per step 0.9 ms: compute 0.1, push 0.2, wait 0.3 (for other workers 0.0), pull 0.3; sent" >&2
    echo "test_accuracy=${ACCURACY:-0.9912} global_step=1200"
    """
GPU_BACKEND_TEST = """\
    echo "gpu_backend_test $*" >>"$LOG"
    [ "${1:-}" != --list-test-names-only ] || { printf 'one\\ntwo\\nthree\\nfour\\n'; exit 4; }
    exit "${CASES_CODE:-0}"
    """
STEP_BENCH = """\
    while read -r request; do echo '{"us": 40.0}'; done
    """


class PartsTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.tools, self.log = self.folder / "tools", self.folder / "log"
        for name, body in (("nvidia-smi", NVIDIA_SMI), ("meson", MESON), ("ninja", NINJA), ("nvcc", "echo release 13.0"),
                           ("compute-sanitizer", COMPUTE_SANITIZER), ("distmnist", DISTMNIST),
                           ("gpu_backend_test", GPU_BACKEND_TEST), ("step_bench", STEP_BENCH), ("g++", "echo g++ 12")):
            self.write(self.tools / name, "#!/bin/bash\n" + textwrap.dedent(body)).chmod(0o755)
        self.make_toolkit(self.folder / "cuda")
        self.write(self.folder / "deps" / "env.sh", "")
        (self.folder / "deps" / "mnist").mkdir()

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def make_toolkit(self, folder):
        for name in ("include/cublasLt.h", "include/cudnn.h", "lib64/libcudnn.so"):
            self.write(folder / name, "")
        for name in ("libcudart.so", "libcudart_static.a", "libcublasLt.so"):
            self.write(folder / "lib64" / name, "")
            self.write(folder / "targets/x86_64-linux/lib" / name, "")
        (folder / "bin").mkdir()
        shutil.copy(self.tools / "nvcc", folder / "bin" / "nvcc")

    def run_all(self, *arguments, **environment):
        command = ["bash", str(RUN), "--build", str(self.folder / "build"), "--out", str(self.folder / "out"), "--deps",
                   str(self.folder / "deps"), *arguments]
        process = self.start(command, env={"PATH": f"{self.tools}:{os.environ['PATH']}", "LOG": str(self.log),
                                           "STANDINS": str(self.tools), "CUDA_PATH": str(self.folder / "cuda"), **environment})
        process.wait(support.LONG_DEADLINE_S)
        return process

    def results(self, text):
        """{part: result} of the closing table."""
        rows = re.findall(r"^(.{44}) (.{22}) +\d+$", text[text.index("\npart  "):], re.MULTILINE)
        return {name.strip(): result.strip() for name, result in rows if name.strip() != "in all"}

    def test_every_part_passes_where_all_is_well(self):
        process = self.run_all()
        results = self.results(process.stdout)
        self.assertEqual(set(results.values()), {"passed"}, process.tail(6000))
        self.assertEqual(len(results), 13)
        self.assertEqual(process.stdout.splitlines()[-1], "13 passed, 0 failed")
        self.assertEqual(process.wait(), 0)
        self.assertEqual((self.folder / "out" / "gpu-run.log").read_text(), process.stdout)
        table = (self.folder / "out" / "gpu-benchmarks.md").read_text()
        self.assertIn("| 50 | bf16 | 40.0 |", table)
        self.assertIn("| worker and ps on one host, bf16: ms per step outside the worker's computation | at most 1.5 | 0.8 | "
                      "reached |", table)
        log = self.log.read_text()
        self.assertIn("-Dgpu_arch=90", log)
        self.assertIn("-Donednn=disabled", log)
        for started in ("tests/gpu_backend_test\n", "--tool memcheck --error-exitcode 99 ", "--tool racecheck ",
                        "--precision=tf32", "--per_process_gpu_memory_fraction=0.3", "--learning_rate_schedule=cosine"):
            self.assertIn(started, log)
        self.assertEqual((self.folder / "build" / "sanitized-cases.txt").read_text(), "one\ntwo\nthree\n")

    def test_a_part_that_fails_is_counted_and_stops_no_other(self):
        process = self.run_all("--quick", ACCURACY="0.9700", CASES_CODE="3")
        results = self.results(process.stdout)
        failed = {name: result for name, result in results.items() if result != "passed"}
        self.assertEqual(failed, {"backend cases, next to the reference": "failed (3)", "MNIST to 98.5 %, f32": "failed (1)"},
                         process.tail(6000))
        self.assertIn("The test accuracy is not 0.985 or more.", process.stdout)
        self.assertEqual(process.stdout.splitlines()[-1], f"{len(results) - 2} passed, 2 failed")
        self.assertEqual(process.wait(), 1)

    def test_a_benchmark_without_our_figures_fails(self):
        self.write(self.tools / "step_bench", "#!/bin/bash\nexit 1\n")
        results = self.results(self.run_all("--quick").stdout)
        self.assertEqual([name for name, result in results.items() if result != "passed"], ["benchmark"])

    def test_cases_that_see_no_gpu_are_a_failure_here(self):
        process = self.run_all("--quick", CASES_CODE="77")
        self.assertEqual(self.results(process.stdout)["backend cases, next to the reference"], "failed (1)")

    def test_nothing_runs_when_the_build_fails(self):
        process = self.run_all(BROKEN_BUILD="1")
        self.assertEqual(process.stdout.splitlines()[-1], "2 passed, 1 failed", process.tail(6000))
        self.assertEqual(process.wait(), 1)
        self.assertNotIn("distmnist", self.log.read_text().replace(str(self.folder), ""))


if __name__ == "__main__":
    support.main()
