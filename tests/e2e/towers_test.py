"""In-graph replication: the towers of one process share each step's batch."""

import os
import unittest

import small_runs
import support
import tolerance

TWO_CPUS = ["--replication=in_graph", "--devices=/cpu:0,/cpu:1"]
# Without the square roots of adam, which amplify small differences.
SGD = ["--optimizer=sgd", "--learning_rate=0.1"]
SOFTMAX, MLP = 2, 4  # products that a gradient passes through


class TowersTest(small_runs.SmallRunTest):
    def test_two_towers_give_the_same_result_as_one_device(self):
        towers_dir = self.folder / "towers"
        alone = self.train(*SGD, "--log_every=25", steps=100)
        towers = self.train(*SGD, *TWO_CPUS, "--log_every=25", f"--log_dir={towers_dir}", steps=100)
        accuracy, step = support.closing_line(towers.stdout)
        self.assertEqual(step, 100)
        self.assertGreaterEqual(accuracy, 0.95, "the data set is easy")
        self.assertEqual([line[:2] for line in support.progress_lines(towers.stdout)],
                         [line[:2] for line in support.progress_lines(alone.stdout)])
        for device in (0, 1):
            self.assertRegex(towers.stderr, rf"device /device:CPU:{device}: backend .*, 10 samples per step")
        one, two = self.checkpoint(100), self.checkpoint(100, towers_dir)
        self.assertEqual(two.consumed_samples, one.consumed_samples)
        tolerance.assert_same_training(self, two.tensors, one.tensors, SOFTMAX)

    def test_devices_of_several_kinds_give_the_same_result_as_one(self):
        towers_dir = self.folder / "towers"
        flags = [*SGD, "--model=mlp", "--batch_size=7"]
        self.train(*flags, steps=5)
        self.train(*flags, "--devices=/cpu:0,/device:REFERENCE:0,/cpu:1", f"--log_dir={towers_dir}", steps=5)
        tolerance.assert_same_training(self, self.checkpoint(5, towers_dir).tensors, self.checkpoint(5).tensors, MLP)

    def test_the_same_seed_gives_the_same_bits_after_a_stop_and_a_resume(self):
        again_dir = self.folder / "again"
        flags = ["--model=mlp", "--batch_size=21", "--devices=/cpu:0,/cpu:1,/cpu:2"]
        self.train(*flags, steps=20)
        self.train(*flags, f"--log_dir={again_dir}", steps=10)
        self.train(*flags, f"--log_dir={again_dir}", steps=20)
        self.assertEqual(self.checkpoint(20, again_dir).tensors, self.checkpoint(20).tensors)

    def test_a_batch_per_tower_makes_the_steps_batch_larger(self):
        towers_dir = self.folder / "towers"
        self.train(*SGD, "--batch_size=20", steps=100)
        towers = self.train(*SGD, *TWO_CPUS, "--batch_size=10", "--batch_per_tower", f"--log_dir={towers_dir}",
                            steps=100)
        accuracy, step = support.closing_line(towers.stdout)
        self.assertEqual(step, 100)
        self.assertGreaterEqual(accuracy, 0.95)
        tolerance.assert_same_training(self, self.checkpoint(100, towers_dir).tensors, self.checkpoint(100).tensors,
                                       SOFTMAX)
        too_large = self.flags("--fresh", *TWO_CPUS, "--batch_size=201", "--batch_per_tower")
        self.assert_refused(self.run_program(*too_large), 2,
                            "--batch_size=201: a step of 402 samples is larger .* 400 images")

    def test_with_fewer_samples_than_towers_some_towers_are_idle(self):
        towers = self.train("--batch_size=2", "--devices=/cpu:0,/cpu:1,/cpu:2", steps=5)
        self.assertEqual(support.closing_line(towers.stdout)[1], 5)
        self.assertRegex(towers.stderr, "--batch_size=2: smaller than the number of towers, 1 of which stay idle")

    def test_a_worker_of_a_cluster_can_have_towers(self):
        cluster_dir = self.folder / "cluster"
        flags = ["--model=mlp", "--devices=/cpu:0,/cpu:1"]
        self.train(*flags, steps=15)
        self.train_cluster(2, 1, *flags, f"--log_dir={cluster_dir}", steps=15)
        self.assertEqual(self.checkpoint(15, cluster_dir).tensors, self.checkpoint(15).tensors)

    def test_workers_must_agree_on_the_batch_per_step_but_not_on_devices(self):
        cluster = self.cluster(1, 2, self.flags(steps=200, log_dir=False))
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 0)
        refused = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1", *self.flags(
            "--devices=/cpu:0,/cpu:1", "--batch_per_tower", steps=200, log_dir=False)])
        self.assert_refused(refused, 5, r"the batch per step \(--batch_size\) is 40 here but 20 at the chief")
        cluster.start_task("worker", 1, "--devices=/cpu:0,/cpu:1")
        cluster.assert_all_done(support.LONG_DEADLINE_S)

    @unittest.skipIf(os.path.exists("/dev/nvidia0"), "this machine has a GPU")
    def test_missing_devices(self):
        for flag in ("--num_gpus=2", "--devices=/cpu:0,/gpu:0"):
            with self.subTest(flag):
                self.assert_refused(self.run_program(*self.flags(flag)), 2, "CUDA")
                self.assertFalse(self.log_dir.exists())


if __name__ == "__main__":
    support.main()
