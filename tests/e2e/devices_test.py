"""Devices: which ones exist, how they are described, and what happens if one is missing.

The GPUs are simulated by tests/support/cuda_modules/two_gpus.cc: /gpu:0 and /gpu:1 compute like the reference backend,
and a third card is too old."""

import os
import pathlib
import shutil

import small_runs
import support
import tolerance

MODULES = pathlib.Path(os.environ.get("DISTMNIST_CUDA_MODULES",
                                      support.ROOT / "build" / "tests" / "support" / "cuda_modules"))
MODULE_FILE = "libdistmnist_cuda.so"
LOCAL = "/job:localhost/replica:0/task:0"
WORKER = "/job:worker/replica:0/task:0"
SOFTMAX = 2  # products that a gradient goes through
ADVICE = "use --device=/cpu:0( instead of towers)? or --allow_soft_placement"

STARTUP = """\
successfully opened CUDA library libmadeup.so.1 locally, version 1.2.3
Found device 0 with properties:
name: Made-up 8
major: 8 minor: 0 memoryClockRate (GHz) 1.5
pciBusID 0000:02:00.0
Total memory: 14.90GiB
Free memory: 13.97GiB
Found device 1 with properties:
name: Made-up 9
major: 9 minor: 0 memoryClockRate (GHz) 1.5
pciBusID 0000:03:00.0
Total memory: 14.90GiB
Free memory: 13.97GiB
Found device 2 with properties:
name: Made-up 6
major: 6 minor: 0 memoryClockRate (GHz) 1.5
pciBusID 0000:04:00.0
Total memory: 14.90GiB
Free memory: 13.97GiB
Peer access not supported between device ordinals 0 and 1
Peer access not supported between device ordinals 0 and 2
Peer access not supported between device ordinals 1 and 0
Peer access not supported between device ordinals 1 and 2
Peer access not supported between device ordinals 2 and 0
Peer access not supported between device ordinals 2 and 1
DMA: 0 1 2
0:   Y N N
1:   N Y N
2:   N N Y
Ignoring device (device: 2, name: Made-up 6, pci bus id: 0000:04:00.0): built for 8.0 and newer, this card has 6.0
""".splitlines()
CREATE_0 = "Creating device (/gpu:0) -> (device: 0, name: Made-up 8, pci bus id: 0000:02:00.0)"
CREATE_1 = "Creating device (/gpu:1) -> (device: 1, name: Made-up 9, pci bus id: 0000:03:00.0)"


def mapping(task):
    return ["Device mapping:", f"{task}/device:GPU:0 -> device: 0, name: Made-up 8, pci bus id: 0000:02:00.0",
            f"{task}/device:GPU:1 -> device: 1, name: Made-up 9, pci bus id: 0000:03:00.0"]


def placement_of_softmax(variables, computing, global_step):
    """The lines of --log_device_placement for --model=softmax; variables: [(name, device)]."""
    step = [("pred/MatMul", "MatMul"), ("pred/BiasAdd", "BiasAdd"),
            ("loss/SparseSoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"),
            ("gradients/loss/SparseSoftmaxCrossEntropyWithLogits_grad/Mul", "Mul"),
            ("gradients/pred/BiasAdd_grad/BiasAddGrad", "BiasAddGrad"),
            ("gradients/pred/MatMul_grad/MatMul_1", "MatMul")]
    return [f"{name}: (VariableV2): {device}" for name, device in [("global_step", global_step), *variables]] + [
        f"{name}: ({kind}): {computing}" for name, kind in step]


def messages(process):
    """The messages in the log, without their prefix."""
    return [line.partition("] ")[2] for line in process.stderr.splitlines()]


class CopiedProgramTest(small_runs.SmallRunTest):
    """Uses a copy of the program, so that the test can choose the module beside it."""

    def setUp(self):
        super().setUp()
        self.copy = self.folder / "bin" / "distmnist"

    def program(self):
        if not self.copy.exists():
            self.copy.parent.mkdir()
            shutil.copy(super().program(), self.copy)
        return str(self.copy)

    def have_gpus(self):
        if not (MODULES / "two_gpus.so").exists():
            self.skipTest("the simulated GPUs are not built")
        (self.folder / "lib").mkdir()
        shutil.copy(MODULES / "two_gpus.so", self.folder / "lib" / MODULE_FILE)

    def break_module(self):
        (self.folder / "lib").mkdir()
        (self.folder / "lib" / MODULE_FILE).write_text("no library")

    def assert_messages(self, process, expected):
        """Checks that the log has each of these messages once, in this order. Messages of other threads can be between
        them."""
        self.assertEqual([message for message in messages(process) if message in expected], expected)


class DevicesTest(CopiedProgramTest):
    def test_a_missing_device_is_refused(self):
        self.break_module()
        for flag, device in (("--device=/gpu:0", "/gpu:0"), ("--num_gpus=2", "/gpu:0"),
                             ("--devices=/cpu:0,/gpu:1", "/gpu:1")):
            with self.subTest(flag):
                says = f"device {device} is not available: this build has no CUDA backend .*{ADVICE}; exit 2$"
                self.assert_refused(self.run_program(*self.flags(flag)), 2, says)
                self.assertFalse(self.log_dir.exists())

    def test_soft_placement_trains_on_the_cpu_and_logs_it(self):
        on_cpu = self.folder / "on_cpu"
        self.have_gpus()
        process = self.train("--device=/gpu:5", "--allow_soft_placement", steps=20)
        self.assertIn("device /gpu:5 is not available: CUDA shows 3 GPUs to this process (see CUDA_VISIBLE_DEVICES), "
                      "numbered from 0; --allow_soft_placement: using /cpu:0 instead", messages(process))
        self.train("--device=/cpu:0", f"--log_dir={on_cpu}", steps=20)
        self.assertEqual(self.checkpoint(20).tensors, self.checkpoint(20, on_cpu).tensors)
        refused = self.run_program(*self.flags("--device=/gpu:5", "--fresh", steps=20))
        self.assert_refused(refused, 2, f"device /gpu:5 is not available: .*{ADVICE}")

    def test_the_startup_log_lists_the_gpus_in_order(self):
        self.have_gpus()
        process = self.train("--device=/gpu:1", steps=5)
        self.assert_messages(process, [*STARTUP, CREATE_1, *mapping(LOCAL)])
        self.assertRegex(process.stderr, "device /device:GPU:1: backend made-up, precision f32, .* 20 samples per step")

    def test_without_flags_and_without_a_gpu_the_module_is_not_loaded(self):
        self.have_gpus()
        process = self.run_program(*self.flags(steps=5), env={"CUDA_VISIBLE_DEVICES": ""})
        self.assert_exit(process, 0)
        self.assertNotIn(STARTUP[0], messages(process))
        self.assertRegex(process.stderr, "device /device:CPU:0: backend")

    def test_gpus_are_towers_of_the_same_backend(self):
        alone = self.folder / "alone"
        sgd = ["--optimizer=sgd", "--learning_rate=0.1"]
        self.have_gpus()
        process = self.train(*sgd, "--num_gpus=2", "--log_device_placement", steps=20)
        self.assert_messages(process, [*STARTUP, CREATE_0, CREATE_1, *mapping(LOCAL)])
        self.assertRegex(process.stderr, "device /device:GPU:0, /device:GPU:1: backend made-up, .* 20 samples per step")
        self.assertIn(f"tower_1/pred/MatMul: (MatMul): {LOCAL}/device:GPU:1", messages(process))
        self.train(*sgd, "--device=/cpu:0", f"--log_dir={alone}", steps=20)
        tolerance.assert_same_training(self, self.checkpoint(20).tensors, self.checkpoint(20, alone).tensors, SOFTMAX)
        mixed = self.train(*sgd, "--fresh", "--devices=/gpu:0,/cpu:0", steps=20)
        self.assertRegex(mixed.stderr, "device /device:GPU:0: backend made-up, .* 10 samples per step")
        tolerance.assert_same_training(self, self.checkpoint(20).tensors, self.checkpoint(20, alone).tensors, SOFTMAX)

    def test_separate_towers_write_the_startup_log_once(self):
        self.have_gpus()
        process = self.train("--replication=in_graph", "--nosync_replicas", "--num_gpus=2", "--log_device_placement",
                             steps=20)
        found = messages(process)
        for once in (*STARTUP[:2], CREATE_0, CREATE_1):
            self.assertEqual(found.count(once), 1, once)
        for task in (0, 1):
            self.assertIn(f"pred/MatMul: (MatMul): /job:worker/replica:0/task:{task}/device:GPU:{task}", found)

    def test_the_placement_of_a_local_run_is_logged(self):
        process = self.train("--device=/cpu:0", "--log_device_placement", steps=5)
        device = f"{LOCAL}/device:CPU:0"
        self.assert_messages(process, placement_of_softmax(
            [("pred/weights", device), ("pred/biases", device)], device, device))
        self.assertNotIn("VariableV2", self.train("--device=/cpu:0", "--fresh", steps=5).stderr)

    def test_a_cluster_logs_its_placement_and_the_ps_opens_no_cuda(self):
        self.have_gpus()
        flags = ["--device=/gpu:0", "--log_device_placement", "--allow_soft_placement", "--precision=f32",
                 "--per_process_gpu_memory_fraction=0.5", "--allow_growth"]
        cluster = self.cluster(1, 1, self.flags(*flags, steps=small_runs.ENDLESS, log_dir=False)).start()
        worker, ps = cluster.worker(0), cluster.ps()
        worker.wait_for("first step")
        ps_device = "/job:ps/replica:0/task:0/device:CPU:0"
        self.assert_messages(worker, [*STARTUP, CREATE_0, *mapping(WORKER)])
        self.assert_messages(worker, placement_of_softmax(
            [("pred/weights", ps_device), ("pred/biases", ps_device)], f"{WORKER}/device:GPU:0", ps_device))
        maps = {task: pathlib.Path(f"/proc/{task.pid}/maps").read_text() for task in (worker, ps)}
        self.assertIn(MODULE_FILE, maps[worker], "the worker maps the module, so this check would detect it in the ps")
        self.assertNotRegex(maps[ps], "distmnist_cuda|libcuda|libcudnn|libcublas")
        self.assertNotRegex(ps.stderr, "Found device|VariableV2|/gpu:0")

    def test_a_device_of_a_different_task_is_refused(self):
        cluster = self.cluster(1, 2, self.flags("--device=/job:worker/task:1/cpu:0", steps=5, log_dir=False))
        cluster.start_task("ps", 0)
        self.assert_refused(cluster.start_task("worker", 0), 2,
                            rf"is a device of a different task than {WORKER}; leave out the job and the task")

    def test_checkpoints_are_evaluated_on_the_given_device(self):
        self.have_gpus()
        closing = support.closing_line(self.train("--device=/cpu:0", steps=20).stdout)
        arguments = ["evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}"]
        process = self.run_program(*arguments, "--device=/gpu:0")
        self.assert_exit(process, 0)
        self.assert_messages(process, [CREATE_0, *mapping(LOCAL)])
        self.assertEqual(support.closing_line(process.stdout), closing)
        self.assert_refused(self.run_program(*arguments, "--device=/gpu:0", "--precision=tf32"), 2,
                            "--precision=tf32: /gpu:0 has no kernels for it; choose one of f32, bf16, auto")

    def test_a_share_of_memory_that_is_not_free_ends_the_run(self):
        self.have_gpus()
        flags = ["--device=/gpu:0", "--per_process_gpu_memory_fraction=0.95", "--allow_soft_placement"]
        self.assert_refused(self.run_program(*self.flags(*flags)), 7, "a share of 0.95 of the memory is not free")


class DevicesCommandTest(CopiedProgramTest):
    def run_devices(self, *arguments):
        process = self.run_program("devices", *arguments)
        self.assert_exit(process, 0)
        return process.stdout.splitlines()

    def test_the_table_has_the_cpu_and_the_gpus(self):
        self.have_gpus()
        lines = self.run_devices()
        self.assertRegex(lines[0], r"^/cpu:0  .*, \d+ cores")
        self.assertEqual(lines[1:], [
            "device  name       compute capability  memory clock  pci bus id    total memory  free memory  usable",
            "/gpu:0  Made-up 8  8.0                 1.5 GHz       0000:02:00.0  14.90GiB      13.97GiB     yes",
            "/gpu:1  Made-up 9  9.0                 1.5 GHz       0000:03:00.0  14.90GiB      13.97GiB     yes",
            "/gpu:2  Made-up 6  6.0                 1.5 GHz       0000:04:00.0  14.90GiB      13.97GiB     no",
            "DMA: 0 1 2", "0:   Y N N", "1:   N Y N", "2:   N N Y", "CUDA driver     13.1", "CUDA runtime    13.0",
            "libmadeup.so.1  1.2.3", "built for       sm_80 compute_80",
            "does not fit: /gpu:2: built for 8.0 and newer, this card has 6.0"])

    def test_without_a_module_the_cpu_and_the_reason_are_listed(self):
        self.break_module()
        lines = self.run_devices()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], "^/cpu:0 ")
        self.assertRegex(lines[1], "^no GPU: this build has no CUDA backend ")

    def test_kernels_are_listed_layer_by_layer(self):
        self.have_gpus()
        lines = self.run_devices("--kernels", "--device=/gpu:1", "--model=mlp")
        self.assertEqual([line.split(maxsplit=2) for line in lines], [
            ["layer", "device", "kernel"], ["fully_connected", f"{LOCAL}/device:GPU:1", "plain loops"],
            ["pred", f"{LOCAL}/device:GPU:1", "plain loops"]])
        lines = self.run_devices("--kernels", "--device=/gpu:2", "--model=softmax", "--allow_soft_placement")
        self.assertRegex(lines[1], f"^pred +{LOCAL}/device:CPU:0  ")
        for arguments, says in ((["--kernels", "--device=/gpu:2"], "device /gpu:2 is not available"),
                                (["--kernels", "--device=/gpu:0", "--precision=tf32"], "--precision=tf32: /gpu:0"),
                                (["--kernels", "--model=none"], "none"), (["--device=/gpu:0"], "only with --kernels")):
            with self.subTest(arguments):
                self.assert_refused(self.run_program("devices", *arguments), 2, says)


if __name__ == "__main__":
    support.main()
