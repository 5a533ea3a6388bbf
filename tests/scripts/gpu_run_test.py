"""tests/gpu where there is no GPU. The parts of run.sh, with scripts in the place of the GPU's tools, the build and the
programs: each part runs what it should, its result is counted, and a part that fails stops no other. And find_cuda.py,
which puts a toolkit together out of what there is."""

import re
import shutil
import sys

from script_case import ScriptTest, support, write_script
from bench_case import BenchTest

FOLDER = support.ROOT / "tests" / "gpu"
sys.path.insert(0, str(FOLDER))
import find_cuda  # noqa: E402

STAND_INS = {
    "nvidia-smi": """\
        case $* in
          -L) echo "GPU 0: NVIDIA H200 (UUID: GPU-0)" ;;
          *=compute_cap*) echo 9.0 ;;
          *) echo "NVIDIA H200, 580" ;;
        esac
        """,
    "meson": """\
        [ "$1" = --version ] && echo 1.0 && exit
        mkdir -p "$2/tools" "$2/lib" "$2/tests/bench/gpu" && touch "$2/build.ninja"
        echo "meson $*" >>"$RUNS"
        """,
    "ninja": """\
        [ "$3" = -t ] && echo "tests/gpu_backend_test: phony" && exit
        [ -z "${BROKEN_BUILD:-}" ] || { echo "error: no such header"; exit 1; }
        cp "$STANDINS/distmnist" "$2/tools/" && cp "$STANDINS/gpu_backend_test" "$2/tests/"
        cp "$STANDINS/step_bench" "$2/tests/bench/gpu/"
        """,
    "compute-sanitizer": """\
        echo "compute-sanitizer $*" >>"$RUNS"
        while [[ $1 == --* ]]; do shift 2; done
        exec "$@"
        """,
    "gpu_backend_test": """\
        echo "gpu_backend_test $*" >>"$RUNS"
        [ "${1:-}" != --list-test-names-only ] || { printf 'one\\ntwo\\nthree\\nfour\\n'; exit 4; }
        exit "${CASES_CODE:-0}"
        """,
    "step_bench": """\
        [ -z "${NO_FIGURES:-}" ] || exit 1
        while read -r request; do echo '{"us": 40.0}'; done
        """,
    "nvcc": "echo release 13.0",
    "g++": "echo g++ 12",
}
CASES, ACCURATE = "backend cases, next to the reference", "MNIST to 98.5 %, f32"


def add(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")


class RunTest(BenchTest):
    def setUp(self):
        super().setUp()
        for name, body in STAND_INS.items():
            self.fake(name, body)
        cuda = self.folder / "cuda"
        for folder in (cuda / "lib64", cuda / "targets/x86_64-linux/lib"):
            add(folder, "libcudart.so", "libcudart_static.a", "libcublasLt.so", "libcudnn.so")
        add(cuda / "include", "cublasLt.h", "cudnn.h")
        write_script(cuda / "bin" / "nvcc", STAND_INS["nvcc"])
        add(self.folder / "deps", "env.sh")
        (self.folder / "deps" / "mnist").mkdir()

    def run_all(self, *arguments, code=1, **environment):
        """The process, its last line, and {part: result} of the closing table."""
        process = self.start(["bash", FOLDER / "run.sh", "--build", self.folder / "build", "--out", self.folder / "out",
                              "--deps", self.folder / "deps", *arguments],
                             env={"PATH": self.path(), "RUNS": str(self.runs), "STANDINS": str(self.bin),
                                  "CUDA_PATH": str(self.folder / "cuda"), **environment})
        self.assert_exit(process, code, support.LONG_DEADLINE_S)
        table = process.stdout[process.stdout.index("\npart  "):]
        rows = re.findall(r"^(?!in all)(.{44}) (.{22}) +\d+$", table, re.MULTILINE)
        return process, process.stdout.splitlines()[-1], {name.strip(): result.strip() for name, result in rows}

    def test_every_part_passes_where_all_is_well(self):
        process, last_line, results = self.run_all(code=0)
        self.assertEqual((set(results.values()), len(results)), ({"passed"}, 13), process.tail(6000))
        self.assertEqual(last_line, "13 passed, 0 failed")
        self.assertEqual((self.folder / "out" / "gpu-run.log").read_text(), process.stdout)
        table = (self.folder / "out" / "gpu-benchmarks.md").read_text()
        self.assertIn("| 50 | bf16 | 40.0 |", table)
        self.assertRegex(table, r"\| worker and ps on one host, bf16: .* \| at most 1.5 \| 0.7 \| reached \|")
        runs = self.runs.read_text()
        for started in ("-Dgpu_arch=90", "-Donednn=disabled", "gpu_backend_test \n", "--tool racecheck ",
                        "--tool memcheck --error-exitcode 99 ", "--precision=tf32",
                        "--per_process_gpu_memory_fraction=0.3", "--learning_rate_schedule=cosine"):
            self.assertIn(started, runs)
        self.assertEqual((self.folder / "build" / "sanitized-cases.txt").read_text(), "one\ntwo\nthree\n")

    def test_a_part_that_fails_is_counted_and_stops_no_other(self):
        for environment, expected in (
                ({"ACCURACY": "0.9700", "CASES_CODE": "3"}, {CASES: "failed (3)", ACCURATE: "failed (1)"}),
                ({"NO_FIGURES": "1", "CASES_CODE": "77"},  # nvidia-smi lists a GPU, but they see none
                 {"benchmark": "failed (1)", CASES: "failed (1)"})):
            with self.subTest(environment):
                process, last_line, results = self.run_all("--quick", **environment)
                failed = {name: result for name, result in results.items() if result != "passed"}
                self.assertEqual(failed, expected, process.tail(6000))
                self.assertEqual(last_line, f"{len(results) - 2} passed, 2 failed")

    def test_nothing_runs_when_the_build_fails(self):
        process, last_line, _ = self.run_all(BROKEN_BUILD="1")
        self.assertEqual(last_line, "2 passed, 1 failed", process.tail(6000))
        self.assertNotIn("distmnist", self.runs.read_text().replace(str(self.folder), ""))

    def test_without_a_gpu_it_is_skipped_and_says_so(self):
        path = self.folder / "no_gpu"
        path.mkdir()
        for tool in ("bash", "dirname", "mkdir", "tee", "grep", "timeout"):
            (path / tool).symlink_to(shutil.which(tool))
        done = self.finish(["bash", FOLDER / "run.sh", "--out", self.folder / "out"], support.SKIPPED,
                           env={"PATH": str(path)})
        self.assertIn("There is no GPU here", done.stdout)
        self.assertEqual((self.folder / "out" / "gpu-run.log").read_text(), done.stdout)

    def test_a_bundle_replaces_only_a_bundle(self):
        for tool in ("apt-get", "apt-cache", "dpkg-deb", "objdump"):
            self.fake(tool, "exit 1")
        other, data = self.folder / "other", self.folder / "data"
        add(other, "precious")
        add(data, *(f"{name}-ubyte.gz" for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3",
                                                    "t10k-labels-idx1")))
        done = self.finish(["bash", FOLDER / "bundle.sh", "--out", other, "--data", data], 1, env={"PATH": self.path()})
        self.assertIn("is no bundle", done.stderr)
        self.assertTrue((other / "precious").exists())


class FindCudaTest(ScriptTest):
    """Toolkits and packages as empty files of the right names."""

    def setUp(self):
        super().setUp()
        self.toolkit, self.site, self.composed = (self.folder / name for name in ("toolkit", "site", "composed"))
        write_script(self.toolkit / "bin" / "nvcc", "")
        add(self.toolkit / "include", "cuda_runtime_api.h")
        add(self.toolkit / "lib64", "libcudart.so.13", "libcudart.so", "libcudart_static.a", "libcudadevrt.a")
        (self.toolkit / "targets/x86_64-linux").mkdir(parents=True)
        (self.toolkit / "targets/x86_64-linux/lib").symlink_to(self.toolkit / "lib64")
        self.addCleanup(setattr, find_cuda, "package_folders", find_cuda.package_folders)
        find_cuda.package_folders = lambda: sorted(self.site.iterdir()) if self.site.is_dir() else []

    def find(self):
        return find_cuda.find(self.composed, {"CUDA_PATH": str(self.toolkit), "PATH": ""})

    def test_a_toolkit_without_cublas_and_cudnn_is_completed_with_the_packages_of_python(self):
        self.assertIn("cublasLt.h", self.find())  # is missing
        add(self.site / "cu13" / "include", "cublasLt.h")
        add(self.site / "cu13" / "lib", "libcublasLt.so.13", "libnvrtc.so.13")
        self.assertIn("no cuDNN 9", self.find())
        add(self.site / "cudnn" / "include", "cudnn.h")
        add(self.site / "cudnn" / "lib", "libcudnn.so.9")
        found = self.find()
        self.assertEqual((found["CUDA_PATH"], found["CUDNN_FOLDER"]), (str(self.composed), f"{self.site}/cudnn"))
        self.assertEqual(found["CUDA_LIBRARIES"].split(":"), [f"{self.composed}/lib64", f"{self.site}/cudnn/lib",
                                                              f"{self.site}/cu13/lib"])
        for name in ("include/cuda_runtime_api.h", "lib64/libcublasLt.so", "lib64/libcublasLt.so.13",
                     "targets/x86_64-linux/lib/libcublasLt.so", "targets/x86_64-linux/include/cublasLt.h"):
            self.assertTrue((self.composed / name).is_file(), name)
        self.assertEqual(self.find(), found)  # once more, over the old one


if __name__ == "__main__":
    support.main()
