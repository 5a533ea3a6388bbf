"""Determinism of local training and of synchronous training with one gradient from every worker per step (R = N): the
bits are the same in every run, for processes and threads, for any number of ps tasks, and after stops and losses."""

import signal

import small_runs
import strategy_runs
import support

SYNC = ["--model=mlp", "--sync_replicas", "--seed=5"]
STEPS = 40
MORE = 20  # steps after a stop


class DeterminismTest(strategy_runs.StrategyTest):
    runs = 0

    def fresh_folder(self):
        self.runs += 1
        return self.folder / f"run{self.runs}"

    def assert_same(self, one, other):
        self.assertEqual(one.consumed_samples, other.consumed_samples)
        self.assertEqual(one.tensors.keys(), other.tensors.keys())
        differing = [name for name, values in one.tensors.items() if other.tensors[name] != values]
        self.assertEqual(differing, [])

    def undisturbed(self, num_workers, steps):
        """The checkpoint of a run in one process with one ps."""
        folder = self.fresh_folder()
        self.run_cluster("threads", 1, num_workers, *SYNC, f"--log_dir={folder}", steps=steps)
        return self.checkpoint(steps, folder)

    def stopped_at(self, cluster):
        """Stops an endless run and returns the step of its checkpoint."""
        self.stop(cluster)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertGreater(step, 0)
        return step

    def test_every_run_with_the_same_number_of_workers_gives_the_same_bits(self):
        checkpoints = {}
        for num_workers in (1, 2, 3):
            checkpoints[num_workers] = self.undisturbed(num_workers, STEPS)
            for place, num_ps in (("processes", 1), ("processes", 1), ("processes", 3), ("threads", 3)):
                with self.subTest(workers=num_workers, place=place, ps=num_ps):
                    folder = self.fresh_folder()
                    self.run_cluster(place, num_ps, num_workers, *SYNC, f"--log_dir={folder}", steps=STEPS)
                    self.assert_same(self.checkpoint(STEPS, folder), checkpoints[num_workers])
        self.assertNotEqual(checkpoints[1].tensors, checkpoints[2].tensors)
        self.assertNotEqual(checkpoints[2].tensors, checkpoints[3].tensors)

    def test_a_single_worker_with_several_batches_per_step_gives_the_same_bits_as_a_thread(self):
        # Its first gradient waits on the ps while the worker computes the second one.
        checkpoints = []
        for place, num_ps in (("processes", 1), ("threads", 1), ("threads", 2)):
            folder = self.fresh_folder()
            self.run_cluster(place, num_ps, 1, *SYNC, "--replicas_to_aggregate=3", f"--log_dir={folder}", steps=STEPS)
            checkpoints.append(self.checkpoint(STEPS, folder))
        for threads in checkpoints[1:]:
            self.assert_same(threads, checkpoints[0])

    def test_a_stop_and_a_resume_with_a_different_number_of_ps_change_no_bit(self):
        for num_workers, num_ps in ((2, 1), (3, 3)):
            with self.subTest(workers=num_workers, ps=num_ps):
                self.log_dir = self.fresh_folder()
                cluster = self.start_together(num_ps, num_workers, *SYNC, "--log_every=10", steps=small_runs.ENDLESS)
                self.wait_for_progress(cluster.worker(num_workers - 1))
                steps = self.stopped_at(cluster) + MORE
                run = self.run_cluster("processes", 4 - num_ps, num_workers, *SYNC, steps=steps)
                self.assertIn(f"restored global_step {steps - MORE}\n", run.log("worker:0"))
                self.assert_same(self.checkpoint(steps), self.undisturbed(num_workers, steps))

    def test_local_training_gives_the_same_bits_after_a_stop_and_a_resume(self):
        self.assert_same_over_a_stop("--model=mlp", "--seed=5", "--log_every=10")

    def test_augmented_training_gives_the_same_bits_after_a_stop_and_a_resume(self):
        self.assert_same_over_a_stop("--model=mlp", "--seed=5", "--log_every=10", "--augment=affine")

    def assert_same_over_a_stop(self, *flags):
        process = self.start([self.program(), *self.flags(*flags, steps=small_runs.ENDLESS)])
        self.wait_for_progress(process)
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        (stopped_at,) = small_runs.checkpoint_steps(self.log_dir)
        steps = stopped_at + MORE
        self.train(*flags, steps=steps)
        for _ in range(2):
            folder = self.fresh_folder()
            self.train(*flags, f"--log_dir={folder}", steps=steps)
            self.assert_same(self.checkpoint(steps), self.checkpoint(steps, folder))

    def test_training_on_the_device_gives_the_same_bits_and_lines_as_a_cluster_of_one(self):
        flags = ["--model=mlp", "--seed=5", "--log_every=7", "--device=/device:REFERENCE:0",
                 "--batch_size_schedule=0:20,11:30"]
        resident = self.train(*flags, steps=STEPS // 2)
        self.assertIn("training stays on the device", resident.stderr)
        resumed = self.train(*flags, steps=STEPS)
        self.assertIn(f"restored global_step {STEPS // 2}\n", resumed.stderr)

        self.log_dir, device_dir = self.fresh_folder(), self.log_dir
        cluster = self.run_cluster("processes", 1, 1, *flags, steps=STEPS)
        self.assertNotIn("training stays on the device", cluster.stderr)
        self.assert_same(self.checkpoint(STEPS, device_dir), self.checkpoint(STEPS))
        self.assertEqual(support.progress_lines(resident.stdout) + support.progress_lines(resumed.stdout),
                         support.progress_lines(cluster.stdouts[0]))

    def test_augmented_images_come_from_the_host_in_local_training_and_in_a_cluster_of_one(self):
        flags = ["--model=mlp", "--seed=5", "--augment=affine", "--device=/device:REFERENCE:0"]
        local = self.train(*flags, steps=STEPS)
        self.assertIn("--augment=affine: the host makes new images for each step", local.stderr)
        self.assertNotIn("training stays on the device", local.stderr)
        cluster_dir, plain_dir = self.fresh_folder(), self.fresh_folder()
        self.run_cluster("processes", 1, 1, *flags, f"--log_dir={cluster_dir}", steps=STEPS)
        self.assert_same(self.checkpoint(STEPS), self.checkpoint(STEPS, cluster_dir))
        self.train(*flags, "--augment=none", f"--log_dir={plain_dir}", steps=STEPS)
        self.assertNotEqual(self.checkpoint(STEPS).tensors, self.checkpoint(STEPS, plain_dir).tensors)

    def test_killed_and_restarted_tasks_change_no_bit(self):
        for num_ps, victim in ((1, 1), (2, 2), (2, 0)):
            with self.subTest(ps=num_ps, victim=f"worker:{victim}"):
                self.log_dir = self.fresh_folder()
                cluster = self.start_together(num_ps, 3, *SYNC, "--on_lost_worker=wait", "--log_every=10",
                                              steps=small_runs.ENDLESS)
                self.wait_for_progress(cluster.worker(victim))
                cluster.worker(victim).kill()
                again = cluster.start_task("worker", victim)
                for worker in range(3):
                    self.wait_for_progress(cluster.worker(worker))
                self.assertIn("the model is ready at global_step", again.stderr)
                steps = self.stopped_at(cluster)
                self.assertEqual(self.checkpoint(steps).consumed_batches, {worker: steps for worker in range(3)})
                self.assert_same(self.checkpoint(steps), self.undisturbed(3, steps))


if __name__ == "__main__":
    support.main()
