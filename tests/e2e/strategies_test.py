"""The effect of each replication rule on a real run: several batches per step, backup workers, stale pushes, limited
staleness, warm-up, and schedules in a cluster. matrix_test.py tests plain runs of each kind."""

import re
import signal

import small_runs
import strategy_runs
import support

SGD = ["--optimizer=sgd", "--learning_rate=0.1"]


class SynchronousTest(strategy_runs.StrategyTest):
    def test_two_workers_make_the_four_gradients_of_each_step(self):
        steps = 100
        for place in strategy_runs.PLACES:
            with self.subTest(place):
                run = self.run_cluster(place, 2, 2, "--fresh", "--sync_replicas", "--replicas_to_aggregate=4",
                                       steps=steps)
                for accuracy, step in run.closings():
                    self.assertEqual(step, steps)
                    self.assertGreaterEqual(accuracy, 0.95)
                self.assertEqual(sum(one.accepted for one in run.all_pushes()), 4 * steps)
                self.assertEqual([one.dropped for one in run.all_pushes()], [0, 0], "there are four tokens")
                self.assertEqual(sum(self.checkpoint(steps).consumed_batches.values()), 4 * steps)

    def test_a_slowed_worker_is_the_backup_of_two_others(self):
        steps = 1500
        cluster = self.start_together(2, 3, "--sync_replicas", "--replicas_to_aggregate=2", "--log_every=10",
                                      steps=steps)
        others, slow = cluster.worker(0), cluster.worker(2)
        slow.wait_for("first step")
        for _ in range(5):
            slow.send(signal.SIGSTOP)
            self.wait_for_progress(others, 2, or_end=True)
            slow.send(signal.SIGCONT)
            self.wait_for_progress(others, 1, or_end=True)
        run = self.finish(cluster)
        closings = run.closings()
        self.assertEqual(closings, [closings[0]] * 3)
        self.assertEqual(closings[0][1], steps)
        self.assertGreaterEqual(closings[0][0], 0.95)
        pushes = run.all_pushes()
        self.assertEqual(sum(one.accepted for one in pushes), 2 * steps)
        self.assertGreater(pushes[2].dropped, 0)
        self.assertGreater(pushes[2].staleness_max, 0)
        for one in pushes:
            self.assertEqual(one.by_staleness.get("0", 0), one.accepted, "only current gradients are accepted")
        self.assert_all_count(steps, pushes)

    def test_with_a_learning_rate_of_zero_the_parameters_do_not_change(self):
        before, after = self.folder / "before", self.folder / "after"
        common = [*SGD, "--sync_replicas"]
        self.run_cluster("processes", 2, 2, *common, f"--log_dir={before}", steps=10)
        self.run_cluster("processes", 2, 2, *common, "--learning_rate_schedule=staircase", "--decay_steps=10",
                         "--decay_rate=1e-30", f"--log_dir={after}", steps=20)
        self.assertEqual(self.checkpoint(20, after).tensors, self.checkpoint(10, before).tensors)
        self.assertEqual(self.checkpoint(20, after).consumed_batches, {0: 20, 1: 20})

    def test_all_workers_follow_the_batch_sizes_of_the_schedule(self):
        self.run_cluster("processes", 2, 2, "--sync_replicas", "--batch_size_schedule=0:20,4:50,8:10", steps=12)
        samples = 4 * (20 + 50 + 10)
        self.assertEqual(self.checkpoint(12).consumed_samples, {0: samples, 1: samples})


class AsynchronousTest(strategy_runs.StrategyTest):
    def last_step(self):
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        return step

    def test_stale_pushes_are_dropped_and_counted(self):
        steps = 1500
        for place in strategy_runs.PLACES:
            with self.subTest(place):
                run = self.run_cluster(place, 2, 3, "--fresh", "--staleness=drop:0", steps=steps)
                # All last gradients but one are dropped.
                self.assertEqual({step for _, step in run.closings()}, {steps})
                self.assertGreaterEqual(min(accuracy for accuracy, _ in run.closings()), 0.95)
                pushes = run.all_pushes()
                self.assertEqual(sum(one.accepted for one in pushes), steps)
                self.assertGreater(sum(one.dropped for one in pushes), 0)
                for one in pushes:
                    self.assertEqual(one.by_staleness.get("0", 0), one.accepted)
                self.assert_all_count(steps, pushes)

    def test_all_pushes_are_applied_scaled_by_their_staleness(self):
        for place in strategy_runs.PLACES:
            with self.subTest(place):
                run = self.run_cluster(place, 2, 3, "--fresh", *SGD, "--staleness=scale", steps=600)
                self.assertGreaterEqual(min(accuracy for accuracy, _ in run.closings()), 0.95)
                pushes = run.all_pushes()
                self.assertEqual(sum(one.accepted for one in pushes), self.last_step())
                self.assertEqual({one.dropped for one in pushes}, {0})

    def test_a_batch_size_schedule_is_followed_except_for_batches_in_progress(self):
        run = self.run_cluster("processes", 2, 2, "--batch_size_schedule=0:20,100:10", steps=300)
        step = self.last_step()
        self.assertIn(step, (300, 301))
        self.assertEqual(max(closing[1] for closing in run.closings()), step)
        at_least = 100 * 20 + (step - 100) * 10
        self.assertIn(sum(self.checkpoint(step).consumed_samples.values()), (at_least, at_least + 10))


class BoundedLeadTest(strategy_runs.StrategyTest):
    """--max_staleness. The rows of metrics.csv are written when a worker may continue. With two workers, global_step
    minus a worker's own batches is the number of the other worker's batches."""

    def leads(self, worker, until):
        """The worker's lead over the other one, in batches, each time it was allowed to continue while both took part.
        The head start of the worker that came first adds to its own lead and reduces the other's."""
        rows = [[(int(row["global_step"]), int(row["accepted"])) for row in small_runs.metrics(folder)]
                for folder in (self.log_dir, self.log_dir / "worker_1")]
        both_from = max(rows[0][0][0], rows[1][0][0])
        return [2 * own - step for step, own in rows[worker] if both_from <= step <= until]

    def assert_leads_at_most(self, allowed):
        cluster = self.start_together(2, 2, "--log_every=1", f"--max_staleness={allowed}", steps=small_runs.ENDLESS)
        for worker in (0, 1):
            self.wait_for_progress(cluster.worker(worker))
        for waits, slow in ((0, 1), (1, 0)):
            notice = re.compile(rf"waiting for worker:{slow}, the slowest, at batch \d+ "
                                rf"\(--max_staleness={allowed}\)$", re.MULTILINE)
            said = len(notice.findall(cluster.worker(waits).stderr))
            cluster.worker(slow).send(signal.SIGSTOP)
            support.wait_until(lambda: len(notice.findall(cluster.worker(waits).stderr)) > said, notice.pattern)
            cluster.worker(slow).send(signal.SIGCONT)
            self.wait_for_progress(cluster.worker(waits), 10)
        until = support.progress_lines(cluster.worker(0).stdout)[-1][1]  # later, one no longer waits
        self.stop(cluster)
        most = max(self.leads(0, until)) + max(self.leads(1, until))
        self.assertEqual(most, 2 * allowed, "each worker reached the largest allowed lead and no more")

    def test_lockstep(self):
        self.assert_leads_at_most(0)

    def test_a_lead_of_two_batches(self):
        self.assert_leads_at_most(2)

    def test_in_one_process(self):
        run = self.run_cluster("threads", 2, 3, "--max_staleness=1", steps=300)
        for accuracy, step in run.closings():
            self.assertIn(step, range(300, 303))
            self.assertGreaterEqual(accuracy, 0.95)
        self.assertEqual(sum(one.accepted for one in run.all_pushes()), run.closings()[-1][1])


class WarmUpTest(strategy_runs.StrategyTest):
    def test_the_others_log_which_worker_they_wait_for_and_a_signal_ends_their_wait(self):
        cluster = self.start_together(1, 2, "--warmup_steps=1000000000", "--log_every=10", steps=small_runs.ENDLESS)
        cluster.worker(1).wait_for(r"waiting for worker:0, which trains alone until global_step 1000000000 and is "
                                   r"now at \d+ \(--warmup_steps\)$")
        self.wait_for_progress(cluster.worker(0))
        self.stop(cluster)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(self.checkpoint(step).consumed_batches, {0: step})

    def assert_alone_until(self, steps, flag):
        cluster = self.start_together(2, 3, flag, "--log_every=1", steps=small_runs.ENDLESS)
        for worker in (1, 2):
            self.wait_for_progress(cluster.worker(worker))
        self.stop(cluster)
        for worker in (1, 2):
            first = small_runs.metrics(self.log_dir / f"worker_{worker}")[0]
            self.assertGreater(int(first["global_step"]), steps)
        own = [(int(row["global_step"]), int(row["accepted"])) for row in small_runs.metrics(self.log_dir)]
        self.assertEqual(own[:steps], [(step, step) for step in range(1, steps + 1)])

    def test_worker_0_makes_the_first_steps(self):
        self.assert_alone_until(150, "--warmup_steps=150")

    def test_worker_0_makes_the_first_epochs(self):
        batches = self.TRAIN // small_runs.BATCH_SIZE
        self.assert_alone_until(5 * batches // 2, "--warmup_epochs=2.5")


if __name__ == "__main__":
    support.main()
