"""tests/gpu where there is no GPU: run.sh says so and counts as skipped, its scripts parse, and find_cuda.py puts a
toolkit together out of what there is."""

import importlib.util
import os
import shutil
import subprocess

from script_case import support

FOLDER = support.ROOT / "tests" / "gpu"
spec = importlib.util.spec_from_file_location("find_cuda", FOLDER / "find_cuda.py")
find_cuda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(find_cuda)


class ScriptsTest(support.EndToEndTest):
    def run_script(self, *command, path=None):
        return subprocess.run([str(part) for part in command], text=True, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=support.DEADLINE_S, env={**os.environ, "PATH": path or os.environ["PATH"]})

    def path_without_gpu(self, *tools):
        """A PATH whose folder has these tools alone, so without nvidia-smi."""
        for tool in tools:
            (self.folder / tool).symlink_to(shutil.which(tool))
        return str(self.folder)

    def test_the_scripts_parse(self):
        for script in ("bundle.sh", "run.sh"):
            done = self.run_script("bash", "-n", FOLDER / script)
            self.assertEqual((done.returncode, done.stderr), (0, ""), script)

    def test_run_without_a_gpu_is_skipped_and_says_so(self):
        out = self.folder / "out"
        done = self.run_script("bash", FOLDER / "run.sh", "--out", out, "--quick",
                               path=self.path_without_gpu("bash", "dirname", "mkdir", "tee", "grep", "timeout"))
        self.assertEqual(done.returncode, support.SKIPPED, done.stdout + done.stderr)
        self.assertIn("There is no GPU here", done.stdout)
        self.assertEqual((out / "gpu-run.log").read_text(), done.stdout)

    def test_wrong_arguments_are_refused(self):
        for script, argument in (("run.sh", "--nothing"), ("run.sh", "--deps"), ("bundle.sh", "extra"),
                                 ("bundle.sh", "--out")):
            done = self.run_script("bash", FOLDER / script, argument)
            self.assertEqual(done.returncode, 2, f"{script} {argument}")
            self.assertIn(argument, done.stderr)

    def test_a_bundle_replaces_only_a_bundle(self):
        other, data = self.folder / "other", self.folder / "data"
        other.mkdir()
        (other / "precious").write_text("text")
        data.mkdir()
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                     "t10k-labels-idx1-ubyte"):
            (data / f"{name}.gz").write_text("")
        done = self.run_script("bash", FOLDER / "bundle.sh", "--out", other, "--data", data)
        if "is missing: this script runs on" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("is no bundle", done.stderr)
        self.assertEqual((other / "precious").read_text(), "text")


class FindCudaTest(support.EndToEndTest):
    """Toolkits and packages as empty files of the right names."""

    LIBRARIES = ("libcudart.so.13", "libcudart.so", "libcudart_static.a", "libcudadevrt.a")

    def setUp(self):
        super().setUp()
        self.toolkit, self.site = self.folder / "toolkit", self.folder / "site" / "nvidia"
        self.composed = self.folder / "composed"
        self.add(self.toolkit / "bin", "nvcc")
        (self.toolkit / "bin" / "nvcc").chmod(0o755)
        self.add(self.toolkit / "include", "cuda_runtime_api.h")
        self.add(self.toolkit / "lib64", *self.LIBRARIES)
        (self.toolkit / "targets/x86_64-linux").mkdir(parents=True)
        (self.toolkit / "targets/x86_64-linux/lib").symlink_to(self.toolkit / "lib64")
        self.addCleanup(setattr, find_cuda, "package_folders", find_cuda.package_folders)
        find_cuda.package_folders = lambda: sorted(self.site.iterdir()) if self.site.is_dir() else []

    def add(self, folder, *names):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text("")

    def find(self):
        return find_cuda.find(self.composed, {"CUDA_PATH": str(self.toolkit), "PATH": ""})

    def add_packages(self):
        self.add(self.site / "cu13" / "include", "cublasLt.h")
        self.add(self.site / "cu13" / "lib", "libcublasLt.so.13", "libnvrtc.so.13")
        self.add(self.site / "cudnn" / "include", "cudnn.h")
        self.add(self.site / "cudnn" / "lib", "libcudnn.so.9")

    def test_a_whole_toolkit_is_taken_as_it_is(self):
        self.add(self.toolkit / "include", "cublasLt.h", "cudnn.h")
        self.add(self.toolkit / "lib64", "libcublasLt.so", "libcudnn.so", "libcudnn.so.9")
        found = self.find()
        self.assertEqual((found["CUDA_PATH"], found["CUDNN_FOLDER"]), (str(self.toolkit), ""))
        self.assertEqual(found["CUDA_LIBRARIES"], str(self.toolkit / "lib64"))
        self.assertFalse(self.composed.exists())

    def test_cudnn_may_be_a_python_package(self):
        self.add(self.toolkit / "include", "cublasLt.h")
        self.add(self.toolkit / "lib64", "libcublasLt.so")
        self.add_packages()
        found = self.find()
        self.assertEqual((found["CUDA_PATH"], found["CUDNN_FOLDER"]), (str(self.toolkit), str(self.site / "cudnn")))
        self.assertEqual(found["CUDA_LIBRARIES"].split(":")[:2],
                         [str(self.toolkit / "lib64"), str(self.site / "cudnn/lib")])

    def test_a_toolkit_without_cublas_is_completed_with_the_package_s(self):
        self.add_packages()
        found = self.find()
        self.assertEqual(found["CUDA_PATH"], str(self.composed))
        for name in ("include/cuda_runtime_api.h", "include/cublasLt.h", "lib64/libcublasLt.so", "lib64/libcublasLt.so.13",
                     "lib64/libcudart_static.a", "targets/x86_64-linux/lib/libcublasLt.so",
                     "targets/x86_64-linux/include/cublasLt.h"):
            self.assertTrue((self.composed / name).is_file(), name)
        self.assertEqual(self.find(), found)  # once more, over the old one

    def test_what_is_missing_is_named(self):
        self.assertIn("cublasLt.h", self.find())
        self.add(self.toolkit / "include", "cublasLt.h")
        self.add(self.toolkit / "lib64", "libcublasLt.so")
        self.assertIn("no cuDNN 9", self.find())


if __name__ == "__main__":
    support.main()
