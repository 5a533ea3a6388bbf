"""Each worker's report about its run: the lines at the end of its log, and the columns of metrics.csv. Also batch sizes
that follow a schedule."""

import re
import signal

import small_runs
import support

NUMBER = r"(\d+(?:\.\d+)?)"
TIME = re.compile(rf"time per step {NUMBER} ms: compute {NUMBER}, push {NUMBER}, wait {NUMBER} "
                  rf"\(for other workers {NUMBER}\), pull {NUMBER}; sent {NUMBER} [kMG]B, received {NUMBER} [kMG]B$")
LOCAL_TIME = re.compile(rf"time per step {NUMBER} ms: compute {NUMBER}$")
BOUND = re.compile(r"bound by (computation \(\d+ % of the time\)|communication \(\d+ % of the time in push, wait and "
                   r"pull\)(: one process alone would do about \d+(\.\d)? steps/s where this run did \d+(\.\d)?)?)$")
COUNTS = ("accepted", "dropped", "staleness_max", "sent_bytes", "received_bytes")
SECONDS = ("compute_s", "push_s", "wait_s", "pull_s")


def report(process):
    """The log lines of the report after the end of the training, without time and task."""
    lines = [line.partition("] ")[2] for line in process.stderr.splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith(("trained until", "stopped by a signal"))) + 1
    last = first
    while last < len(lines) and lines[last].startswith(("pushes: ", "time per step ", "bound by ")):
        last += 1
    return lines[first:last]


class AccountingTest(small_runs.SmallRunTest):
    def assert_rises(self, rows):
        """Checks that totals never decrease from row to row, and that every column is a number."""
        for name in COUNTS + SECONDS:
            values = [(int if name in COUNTS else float)(row[name]) for row in rows]
            self.assertEqual(values, sorted(values), name)
            self.assertGreaterEqual(values[0], 0, name)
        for row in rows:
            self.assertLessEqual(float(row["staleness_mean"]), int(row["staleness_max"]))

    def test_a_local_run_reports_the_time_of_its_steps(self):
        process = self.train("--log_every=10", steps=60)
        lines = report(process)
        self.assertEqual(len(lines), 2, lines)
        total, compute = LOCAL_TIME.match(lines[0]).groups()
        self.assertEqual(total, compute)
        self.assertGreater(float(total), 0)
        self.assertEqual(lines[1], "bound by computation (100 % of the time)")
        rows = small_runs.metrics(self.log_dir)
        self.assert_rises(rows)
        self.assertEqual([int(row["accepted"]) for row in rows], list(range(10, 61, 10)))
        for name in ("dropped", "staleness_max", "sent_bytes", "received_bytes"):
            self.assertEqual({row[name] for row in rows}, {"0"}, name)

    def test_the_last_step_has_a_row_however_short_the_run(self):
        self.train("--log_every=100", steps=7)
        self.assertEqual([row["global_step"] for row in small_runs.metrics(self.log_dir)], ["7"])
        self.train("--log_every=10", f"--log_dir={self.folder}/second", steps=20)
        self.assertEqual([row["global_step"] for row in small_runs.metrics(self.folder / "second")], ["10", "20"])

    def test_the_pushes_of_all_workers_add_up_to_the_steps_of_the_run(self):
        cluster = self.cluster(1, 2, self.flags("--log_every=1", steps=1500))
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 1).wait_for("has no model yet")  # the chief might finish first
        cluster.start_task("worker", 0)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        said, written = 0, 0
        for index, folder in ((0, self.log_dir), (1, self.log_dir / "worker_1")):
            lines = report(cluster.worker(index))
            self.assertEqual(len(lines), 3, lines)
            accepted, dropped, mean, most, histogram = small_runs.PUSHES.match(lines[0]).groups()
            self.assertEqual(dropped, "0")
            said += int(accepted)
            buckets = dict(bucket.split(": ") for bucket in histogram.split(", "))
            self.assertEqual(sum(map(int, buckets.values())), int(accepted))
            self.assertGreaterEqual(int(list(buckets)[-1].rpartition("-")[2]), int(most))
            self.assertLessEqual(float(mean), int(most))
            total, compute, push, wait, others, pull, sent, received = map(float, TIME.match(lines[1]).groups())
            self.assertAlmostEqual(total, compute + push + wait + pull, delta=0.5)
            self.assertGreater(compute, 0)
            self.assertGreater(wait, 0)
            self.assertEqual(others, 0)
            self.assertRegex(lines[2], BOUND)

            rows = small_runs.metrics(folder)
            self.assert_rises(rows)
            last = rows[-1]
            self.assertEqual(last["accepted"], accepted)
            self.assertEqual(last["staleness_max"], most)
            written += int(last["accepted"])
            block = (28 * 28 * 10 + 10) * 4  # bytes of softmax's parameters
            for name in ("sent_bytes", "received_bytes"):
                self.assertGreater(int(last[name]), int(accepted) * block)
                self.assertLess(int(last[name]), int(accepted) * block * 2 + 1_000_000)
        step = support.closing_line(cluster.worker(0).stdout)[1]
        self.assertEqual(said, step)
        self.assertEqual(written, step)

    def test_a_stopped_run_also_reports(self):
        process = self.start([self.program(), *self.flags("--log_every=10", steps=small_runs.ENDLESS, log_dir=False)])
        process.wait_for(r"^Worker : 0, Step: 10,")
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        self.assertRegex(report(process)[0], LOCAL_TIME)

    def test_a_run_without_a_step_reports_nothing(self):
        self.train(steps=5)
        again = self.train(steps=5)
        self.assertNotIn("time per step", again.stderr)
        self.assertNotIn("bound by", again.stderr)


class BatchSizeScheduleTest(small_runs.SmallRunTest):
    SCHEDULE = "--batch_size_schedule=0:20,4:50,8:10"
    SAMPLES = 4 * 20 + 4 * 50 + 4 * 10  # in 12 steps

    def test_the_number_of_samples_follows_the_schedule(self):
        self.train(self.SCHEDULE, steps=12)
        whole = self.checkpoint(12)
        self.assertEqual(whole.consumed_samples, {0: self.SAMPLES})
        cluster_dir = self.folder / "cluster"
        self.train_cluster(2, 1, self.SCHEDULE, f"--log_dir={cluster_dir}", steps=12)
        self.assertEqual(self.checkpoint(12, cluster_dir).consumed_samples, {0: self.SAMPLES})
        self.assertEqual(self.checkpoint(12, cluster_dir).tensors, whole.tensors)

    def test_a_stop_changes_no_bit_and_config_toml_has_the_schedule(self):
        self.train(self.SCHEDULE, steps=12)
        whole = self.checkpoint(12)
        stopped_dir = self.folder / "stopped"
        self.train(self.SCHEDULE, f"--log_dir={stopped_dir}", steps=6)
        again = self.run_program(f"--config={stopped_dir}/config.toml", f"--data_dir={self.data}",
                                 f"--log_dir={stopped_dir}", "--train_steps=12", "--intra_op_parallelism_threads=1")
        self.assert_exit(again, 0)
        self.assertEqual(self.checkpoint(12, stopped_dir).tensors, whole.tensors)
        self.assertEqual(self.checkpoint(12, stopped_dir).consumed_samples, {0: self.SAMPLES})

    def test_an_invalid_schedule_is_refused(self):
        for flag, says in (("--batch_size_schedule=5:20", "it starts at global_step 5, not at 0"),
                           ("--batch_size_schedule=0:20,5:30,5:40", "global_step 5 comes after 5"),
                           ("--batch_size_schedule=0:20,5:0", "a batch has 1 to 1048576 samples, not 0"),
                           ("--batch_size_schedule=0:30", r"--batch_size=20 is not what --batch_size_schedule=0:30")):
            with self.subTest(flag):
                self.assert_refused(self.run_program(*self.flags(flag)), 2, says)


if __name__ == "__main__":
    support.main()
