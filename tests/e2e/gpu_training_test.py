"""Whole runs on GPUs with the real CUDA module. If CUDA's stand-in on the host (tests/support/cuda_on_host) plays the
GPUs, all of our own code runs, including the kernels, but not the cards and their libraries."""

import array
import os
import pathlib
import re
import shutil

import devices_test
import small_runs
import support

MODULE = pathlib.Path(os.environ.get("DISTMNIST_CUDA_ON_HOST",
                                     support.ROOT / "build" / "tests" / "support" / "cuda_on_host" / "module"))


class GpuTrainingTest(devices_test.CopiedProgramTest):
    def setUp(self):
        super().setUp()
        if not (MODULE / devices_test.MODULE_FILE).exists():
            self.skipTest("the CUDA backend is not built")
        (self.folder / "lib").mkdir()
        shutil.copy(MODULE / devices_test.MODULE_FILE, self.folder / "lib")
        os.environ["CUDA_ON_HOST"] = "devices=2,memory_mib=256"
        visible = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        self.addCleanup(os.environ.pop, "CUDA_ON_HOST", None)
        if visible is not None:
            self.addCleanup(os.environ.__setitem__, "CUDA_VISIBLE_DEVICES", visible)

    def distance(self, tensors, expected):
        """The relative distance of the parameters in the L2 norm, without slots."""
        self.assertEqual(tensors.keys(), expected.keys())
        squares = norm = 0.0
        for name, values in expected.items():
            if name.startswith("optimizer/"):
                continue
            for a, b in zip(array.array("f", tensors[name]), array.array("f", values)):
                squares += (a - b) ** 2
                norm += b ** 2
        return (squares / norm) ** 0.5

    def test_a_local_run_stays_on_the_gpu_and_agrees_with_the_cpu(self):
        on_cpu = self.folder / "on_cpu"
        gpu = self.train("--device=/gpu:0", "--log_every=10", steps=40)
        cpu = self.train("--device=/cpu:0", "--log_every=10", f"--log_dir={on_cpu}", steps=40)
        self.assertLess(self.distance(self.checkpoint(40).tensors, self.checkpoint(40, on_cpu).tensors), 1e-3)
        steps = r"^Worker : 0, Step: (\d+), Accuracy"
        self.assertEqual(re.findall(steps, gpu.stdout, re.M), ["10", "20", "30", "40"])
        self.assertEqual(re.findall(steps, cpu.stdout, re.M), ["10", "20", "30", "40"])
        self.assertRegex(gpu.stdout, r"test_accuracy=[01]\.\d{4} global_step=40\n$")

    def test_a_stopped_run_continues_bit_by_bit(self):
        whole = self.folder / "whole"
        flags = ["--device=/gpu:0", "--model=mlp", "--optimizer=momentum", "--precision=bf16"]
        self.train(*flags, f"--log_dir={whole}", steps=30)
        self.train(*flags, steps=13)
        self.train(*flags, steps=30)
        self.assertEqual(self.checkpoint(30).tensors, self.checkpoint(30, whole).tensors)

    def test_workers_of_a_cluster_share_a_gpu(self):
        flags = ["--device=/gpu:0", "--per_process_gpu_memory_fraction=0.3", "--sync_replicas"]
        self.train_cluster(1, 2, *flags, steps=20)
        on_cpu = self.folder / "on_cpu"
        self.train_cluster(1, 2, "--device=/cpu:0", "--sync_replicas", f"--log_dir={on_cpu}", steps=20)
        self.assertLess(self.distance(self.checkpoint(20).tensors, self.checkpoint(20, on_cpu).tensors), 1e-3)

    def test_a_run_can_move_from_a_cluster_with_gpus_to_one_cpu(self):
        self.train_cluster(2, 2, "--device=/gpu:0", steps=20)
        process = self.train("--device=/cpu:0", steps=60)
        self.assertRegex(process.stderr, r"restored global_step 2[0-9]")
        self.assertEqual(self.checkpoint(60).global_step, 60)

    def test_two_gpus_share_each_batch(self):
        one = self.folder / "one"
        two = self.train("--num_gpus=2", steps=20)
        self.train("--device=/gpu:1", f"--log_dir={one}", steps=20)
        self.assertLess(self.distance(self.checkpoint(20).tensors, self.checkpoint(20, one).tensors), 1e-4)
        self.assertEqual(len(re.findall(r"Creating device \(/gpu:\d\)", two.stderr)), 2)

    def test_the_tutorials_network_trains_in_every_precision(self):
        for precision in ("f32", "tf32", "bf16"):
            with self.subTest(precision):
                process = self.train("--device=/gpu:0", "--model=mnist_cnn", f"--precision={precision}",
                                     "--learning_rate=0.002", "--batch_size=10", log_dir=False, steps=4)
                self.assertRegex(process.stdout, r"test_accuracy=[01]\.\d{4} global_step=4\n$")

    def test_evaluate_and_predict_use_the_gpu(self):
        self.train("--device=/gpu:0", steps=40)
        texts = []
        for device in ("/gpu:0", "/cpu:0"):
            process = self.run_program("evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}",
                                       f"--device={device}")
            self.assert_exit(process, 0)
            texts.append(process.stdout)
        self.assertEqual(*[re.findall(r"accuracy[^\n]*", text) for text in texts])

    def test_the_launcher_gives_each_worker_a_gpu_and_the_ps_none(self):
        launch = self.start([support.LAUNCHER, "--binary", self.program(), "--num_ps", "1", "--num_workers", "2", "--gpus",
                             "0,1", "--", *self.flags("--device=/gpu:0", steps=20)])
        self.assert_exit(launch, 0, support.LONG_DEADLINE_S)
        created = re.findall(r"(ps|worker):(\d).*Creating device \(/gpu:0\) -> .*pci bus id: (\S+)\)", launch.stderr)
        self.assertEqual(sorted(created), [("worker", "0", "0000:01:00.0"), ("worker", "1", "0000:02:00.0")])
        self.assertNotIn("CUDA library", "".join(line for line in launch.stderr.splitlines() if "ps:0]" in line))

    def test_the_error_for_too_small_a_share_names_a_sufficient_one(self):
        process = self.run_program(*self.flags("--device=/gpu:0", "--per_process_gpu_memory_fraction=0.01"))
        self.assert_refused(process, 7, r"/gpu:0: out of memory: .* MiB.*--per_process_gpu_memory_fraction=0\.\d\d")
        self.assertFalse(self.log_dir.exists())

    def test_visible_devices_are_numbered_from_zero(self):
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"
        try:
            process = self.train("--device=/gpu:0", steps=5)
        finally:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        self.assertRegex(process.stderr, r"Creating device \(/gpu:0\) -> \(device: 0, name: .*, pci bus id: 0000:02:00\.0\)")

    def test_a_gradient_that_is_not_finite_ends_the_run(self):
        process = self.run_program(*self.flags("--device=/gpu:0", *small_runs.DIVERGING, "--batch_size=10", "--log_every=5",
                                           steps=20))
        self.assert_refused(process, 8, "the loss is")


if __name__ == "__main__":
    support.main()
