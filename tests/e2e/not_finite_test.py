"""Gradients, losses and parameters that are not finite: the run ends with 8 on every task, its model is dropped, and no
checkpoint contains such numbers. With --on_nan=skip a bad gradient is dropped."""

import math
import struct

import small_runs
import support

MODEL = ["--model=mnist_cnn", "--optimizer=momentum", "--learning_rate=0.01"]
TOO_FAST = "--learning_rate=1e6"  # diverges within about three steps


class NotFiniteTest(small_runs.SmallRunTest):
    def assert_checkpoints_finite(self, steps):
        for step in steps:
            for name, content in self.checkpoint(step).tensors.items():
                self.assertTrue(all(math.isfinite(value) for (value,) in struct.iter_unpack("<f", content)), name)

    def assert_all_end_with_8(self, cluster, *says):
        self.assertEqual(set(cluster.wait_all().values()), {8}, "\n".join(t.tail() for t in cluster.tasks.values()))
        for task in cluster.tasks.values():
            self.assertRegex(small_runs.ERROR_LINE.findall(task.stderr)[-1], "lower --learning_rate")
            for pattern in says:
                self.assertRegex(task.stderr, pattern)

    def test_a_cluster_that_diverges_ends_and_the_next_one_continues_from_the_last_good_checkpoint(self):
        step = 10
        self.train(*MODEL, steps=step)
        for num_ps, strategy in ((1, []), (2, ["--sync_replicas"]), (2, ["--on_nan=skip"])):
            with self.subTest(num_ps=num_ps, strategy=strategy):
                flags = [*MODEL, *strategy, "--save_model_secs=1"]
                diverging = self.cluster(num_ps, 2, self.flags(*flags, TOO_FAST, steps=small_runs.ENDLESS)).start()
                self.assert_all_end_with_8(diverging, *(["the 10th in a row"] if "--on_nan=skip" in flags else []))
                kept = small_runs.checkpoint_steps(self.log_dir)
                self.assertIn(step, kept)
                self.assert_checkpoints_finite(kept)
                for later in kept[kept.index(step) + 1:]:  # finite, but from a run that was already diverging
                    small_runs.checkpoint_path(self.log_dir, later).unlink()
                sane = self.train_cluster(num_ps, 2, *flags, steps=step + 10)
                self.assertIn(f"restored global_step {step}\n", sane.worker(0).stderr)
                step = small_runs.checkpoint_steps(self.log_dir)[-1]
                self.assert_checkpoints_finite([step])

    def test_a_ps_that_stays_forgets_the_model_and_serves_the_next_run_of_the_container(self):
        cluster = self.cluster(1, 2)
        cluster.start_task("ps", 0, "--ps_stay")
        for index in (0, 1):
            cluster.start_task("worker", index, *self.flags(*MODEL, TOO_FAST, "--container=a", steps=30))
        for index in (0, 1):
            self.assert_refused(cluster.worker(index), 8, "lower --learning_rate")
        cluster.ps().wait_for("container 'a': the run has failed and its model is dropped: worker:")
        for index in (0, 1):
            cluster.start_task("worker", index, *self.flags(*MODEL, "--container=a", steps=30))
        for index in (0, 1):
            self.assert_exit(cluster.worker(index), 0, support.LONG_DEADLINE_S)
        self.assertIn("initialised with seed", cluster.worker(0).stderr)
        self.assertIsNone(cluster.ps().popen.poll())

    def test_every_kind_of_local_run_that_diverges_ends_with_8(self):
        for flags in ([], ["--on_nan=skip"], ["--num_workers=2", "--num_ps=2"], ["--augment=affine"]):
            with self.subTest(flags):
                run = self.run_program(*self.flags(*MODEL, TOO_FAST, *flags, "--fresh", steps=1000))
                self.assert_fails(run, 8, "lower --learning_rate")
                self.assert_checkpoints_finite(small_runs.checkpoint_steps(self.log_dir))

    def test_skip_changes_nothing_if_all_numbers_are_finite(self):
        for num_ps in (0, 1, 2):
            with self.subTest(num_ps=num_ps):
                tensors = []
                for on_nan in ("fail", "skip"):
                    flags = ["--fresh", f"--on_nan={on_nan}"]
                    if num_ps:
                        self.train_cluster(num_ps, 2, *flags, "--sync_replicas", steps=20)
                    else:
                        self.train(*flags, steps=20)
                    tensors.append(self.checkpoint(20).tensors)
                self.assertEqual(tensors[0], tensors[1])

    def test_invalid_values_of_the_flag_are_refused(self):
        self.assert_refused(self.run_program("--on_nan=ignore"), 2, "--on_nan=ignore: choose fail or skip")


if __name__ == "__main__":
    support.main()
