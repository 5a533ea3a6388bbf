"""Drives the same training run either as real processes or as threads of one process, and reads what its tasks print.
Use it for tests of replication strategies; small_runs.py is enough for a single kind of run."""

import dataclasses
import re
import signal

import small_runs
import support

PLACES = ("processes", "threads")  # where the tasks of a run are
TASK_LINE = re.compile(r"^\S+ \S+: [IWE] (\S+)\] (.*)$", re.MULTILINE)


@dataclasses.dataclass
class Pushes:
    """A worker's line `pushes: ...`."""

    accepted: int
    dropped: int
    staleness_max: int
    by_staleness: dict  # "0" or "5-8" -> pushes


class Run:
    """The output of a finished run. One process can have several tasks."""

    def __init__(self, processes, num_workers):
        self.num_workers = num_workers
        self.stdouts = [process.stdout for process in processes]
        self.stderr = "\n".join(process.stderr for process in processes)

    def log(self, task):
        """The lines of a task ("worker:1") without their prefix."""
        return "\n".join(line for name, line in TASK_LINE.findall(self.stderr) if name == task)

    def progress(self, worker):
        """The steps of its lines `Worker : ...`."""
        lines = [line for stdout in self.stdouts for line in support.progress_lines(stdout)]
        return [step for index, step, _ in lines if index == worker]

    def closings(self):
        """[(test accuracy, global step)], one for each worker."""
        if len(self.stdouts) == self.num_workers:
            return [support.closing_line(stdout) for stdout in self.stdouts]
        (stdout,) = self.stdouts
        lines = stdout.splitlines()
        closings = [match for match in map(support.CLOSING_LINE.match, lines) if match]
        accuracies = [match.group(1) for match in map(support.TEST_ACCURACY_LINE.match, lines) if match]
        assert sorted(accuracies) == sorted(match.group(1) for match in closings), stdout[-2000:]
        assert closings and lines[-1] == closings[-1].group(0), stdout[-2000:]
        return [(float(match.group(1)), int(match.group(2))) for match in closings]

    def pushes(self, worker):
        found = small_runs.PUSHES.search(self.log(f"worker:{worker}"))
        if not found:
            return Pushes(0, 0, 0, {})  # it came too late to make a step
        accepted, dropped, _, staleness_max, histogram = found.groups()
        buckets = dict(bucket.split(": ") for bucket in histogram.split(", "))
        return Pushes(int(accepted), int(dropped), int(staleness_max),
                      {staleness: int(count) for staleness, count in buckets.items()})

    def all_pushes(self):
        return [self.pushes(worker) for worker in range(self.num_workers)]


class StrategyTest(small_runs.SmallRunTest):
    def setUp(self):
        super().setUp()
        self.program()  # skips the whole case instead of each of its subtests

    def start_together(self, num_ps, num_workers, *extra, steps):
        """Starts a cluster so that all workers take part: the other workers start first, because the chief might finish
        before they arrive."""
        cluster = self.cluster(num_ps, num_workers, self.flags(*extra, steps=steps))
        for index in range(num_ps):
            cluster.start_task("ps", index)
        for index in range(1, num_workers):
            cluster.start_task("worker", index)
        steps_take_everyone = "--sync_replicas" in extra and "--replicas_to_aggregate" not in " ".join(extra)
        if not steps_take_everyone:
            for index in range(1, num_workers):
                cluster.worker(index).wait_for("has no model yet")
        cluster.start_task("worker", 0)
        return cluster

    def finish(self, cluster):
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        num_workers = len(cluster.worker_ports)
        return Run([cluster.worker(index) for index in range(num_workers)], num_workers)

    def run_cluster(self, place, num_ps, num_workers, *extra, steps):
        if place == "processes":
            return self.finish(self.start_together(num_ps, num_workers, *extra, steps=steps))
        process = self.run_program(*self.flags(f"--num_ps={num_ps}", f"--num_workers={num_workers}", *extra,
                                               steps=steps), deadline_s=support.LONG_DEADLINE_S)
        self.assert_exit(process, 0)
        return Run([process], num_workers)

    def assert_all_count(self, step, pushes):
        """Checks that each worker's batches in the checkpoint are all batches that it pushed, including dropped
        ones."""
        for worker, one in enumerate(pushes):
            self.assertEqual(sum(one.by_staleness.values()), one.accepted + one.dropped)
            self.assertEqual(self.checkpoint(step).consumed_batches.get(worker, 0), one.accepted + one.dropped)

    def wait_for_progress(self, worker, lines=1, or_end=False):
        """Waits until it has printed that many more lines or, with or_end, has ended."""
        seen = len(support.progress_lines(worker.stdout))

        def look():
            if worker.popen.poll() is not None:
                self.assertTrue(or_end, worker.tail())
                return True
            return len(support.progress_lines(worker.stdout)) >= seen + lines

        support.wait_until(look, f"progress of {worker.name}", support.LONG_DEADLINE_S)

    def stop(self, cluster):
        """Ends an endless run."""
        for task in cluster.tasks.values():
            task.send(signal.SIGTERM)
        for task in cluster.tasks.values():
            self.assert_exit(task, 143)
