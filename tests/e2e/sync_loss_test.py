"""Synchronous runs that lose workers, or are stopped while workers wait for each other."""

import signal

import small_runs
import strategy_runs
import support

SYNC = ["--sync_replicas", "--log_every=10"]
WORKERS = range(3)


class SyncLossTest(strategy_runs.StrategyTest):
    def start_endless(self, num_ps, *extra):
        cluster = self.start_together(num_ps, len(WORKERS), *SYNC, *extra, steps=small_runs.ENDLESS)
        for worker in WORKERS:
            self.wait_for_progress(cluster.worker(worker))
        return cluster

    def test_a_killed_worker_ends_the_run_or_makes_its_steps_smaller(self):
        # Both clusters run at the same time, because it takes about 20 s until a killed worker counts as lost.
        failing = self.start_endless(1, "--on_lost_worker=fail", f"--log_dir={self.folder / 'failing'}")
        shrinking = self.start_endless(2, "--on_lost_worker=shrink")
        for cluster in (failing, shrinking):
            cluster.worker(1).kill()

        for worker in (0, 2):
            waiting = shrinking.worker(worker)
            waiting.wait_for(r"waiting for worker:1 \(2 of 3 gradients for step \d+ have arrived\)$")
            self.assert_fails(failing.worker(worker), 138,
                              r"worker:1 lost: only 2 workers left, but a step needs 3 gradients "
                              r"\(--on_lost_worker=fail\); exit 138\n$")

        shrinking.ps().wait_for(r"W ps:0\] .*workers are lost: a step now takes 2 gradients instead of 3 "
                                r"\(--on_lost_worker=shrink\)$")
        for worker in (0, 2):
            self.wait_for_progress(shrinking.worker(worker), 2)
        shrinking.start_task("worker", 1)
        shrinking.ps().wait_for(r"workers are back: a step now takes 3 gradients instead of 2")
        for worker in WORKERS:
            self.wait_for_progress(shrinking.worker(worker), 2)
        self.stop(shrinking)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        batches = self.checkpoint(step).consumed_batches
        self.assertLess(batches[1], step, "steps were made without it")
        self.assertGreaterEqual(sum(batches.values()), 2 * step)

    def test_a_signal_ends_the_wait_for_other_workers(self):
        cluster = self.start_endless(2)
        cluster.worker(2).send(signal.SIGSTOP)
        for worker in (0, 1):
            cluster.worker(worker).wait_for(r"waiting for worker:2 \(2 of 3 gradients for step \d+ have arrived\)$")
        for worker in (0, 1):
            cluster.worker(worker).send(signal.SIGTERM)
        for worker in (0, 1):
            self.assert_exit(cluster.worker(worker), 143)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(self.checkpoint(step).consumed_batches, {worker: step for worker in WORKERS})
        cluster.worker(2).send(signal.SIGTERM)
        cluster.worker(2).send(signal.SIGCONT)
        self.assert_exit(cluster.worker(2), 143)
        cluster.ps(0).send(signal.SIGTERM)
        cluster.ps(1).send(signal.SIGTERM)
        self.assertEqual({cluster.ps(0).wait(), cluster.ps(1).wait()}, {143})

    def test_a_killed_and_restarted_chief_loses_no_step_and_makes_none_twice(self):
        cluster = self.start_endless(2, "--on_lost_worker=wait")
        cluster.worker(0).kill()
        seen = support.progress_lines(cluster.worker(1).stdout)[-1][1]
        chief = cluster.start_task("worker", 0)
        ready_at = int(chief.wait_for(r"the model is ready at global_step (\d+)").group(1))
        self.assertGreaterEqual(ready_at, seen, "the ps kept the model")
        for worker in WORKERS:
            self.wait_for_progress(cluster.worker(worker), 2)
        steps = [step for _, step, _ in support.progress_lines(cluster.worker(1).stdout)]
        self.assertEqual(steps, list(range(10, steps[-1] + 1, 10)), "the other workers saw every step")
        self.stop(cluster)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(self.checkpoint(step).consumed_batches, {worker: step for worker in WORKERS})

    def test_threads_of_one_process_end_with_one_signal(self):
        process = self.start([self.program(), *self.flags(*SYNC, "--num_workers=3", "--num_ps=2",
                                                          steps=small_runs.ENDLESS)])
        self.wait_for_progress(process)
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(self.checkpoint(step).consumed_batches, {worker: step for worker in WORKERS})


if __name__ == "__main__":
    support.main()
