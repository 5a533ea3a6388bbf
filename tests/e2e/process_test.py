"""The program as a process: launcher, signals, pipes, streams, and the order in which tasks start."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest.mock

import small_runs
import support


class LaunchedTest(small_runs.SmallRunTest):
    """Real training with launch/launch.py."""

    def launch(self, *flags, steps=small_runs.ENDLESS, num_ps=2, num_workers=2):
        return self.start([support.LAUNCHER, "--binary", self.program(), "--num_ps", num_ps,
                           "--num_workers", num_workers, "--", *self.flags("--log_every=10", *flags, steps=steps)],
                          name="launch")

    def tasks(self, count):
        """The pids of the launcher and its tasks, once all of them train."""
        pids = processes_that_name(self.log_dir)
        self.assertEqual(len(pids), count + 1, "the launcher and its tasks")
        return pids

    def assert_nothing_left(self):
        support.wait_until(lambda: not processes_that_name(self.log_dir), "all processes to be gone", 20)

    def test_one_interrupt_ends_all_tasks_and_the_next_launch_continues(self):
        launch = self.launch()
        for worker in (0, 1):
            launch.wait_for(rf"^Worker : {worker}, Step: \d+0,")
        self.tasks(4)
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)
        self.assert_nothing_left()
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        again = self.launch(steps=step + 40, num_ps=1, num_workers=3)
        self.assert_exit(again, 0, support.LONG_DEADLINE_S)
        self.assertIn(f"restored global_step {step}\n", again.stderr)
        self.assertEqual(len(re.findall(r"(?m)^test_accuracy=", again.stdout)), 3)
        self.assert_nothing_left()

    def test_a_task_that_is_killed_ends_the_launch_with_its_code(self):
        launch = self.launch(num_ps=1)
        launch.wait_for(r"^Worker : 1, Step: \d+0,")
        (victim,) = (pid for pid in self.tasks(3) if b"--job_name=worker\0--task_index=1" in command_line(pid))
        os.kill(victim, signal.SIGKILL)
        self.assert_fails(launch, 137, r"worker:1 was killed by signal 9")
        self.assert_nothing_left()
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1, "the chief was stopped and has saved")

    def test_the_launcher_ends_with_the_code_of_a_failed_worker(self):
        launch = self.launch(*small_runs.DIVERGING)
        self.assert_fails(launch, 8, r"worker:\d exited with code 8", r"lower --learning_rate")
        self.assert_nothing_left()

    def test_a_killed_launcher_leaves_no_processes(self):
        launch = self.launch()
        launch.wait_for(r"^Worker : 1, Step: \d+0,")
        self.tasks(4)
        launch.send(signal.SIGKILL)
        launch.wait()
        self.assert_nothing_left()


class OrderTest(small_runs.SmallRunTest):
    def test_tasks_can_start_in_any_order(self):
        jobs = [("worker", 1), ("ps", 1), ("worker", 0), ("ps", 0)]
        for order in (jobs, jobs[::-1], [jobs[0], jobs[2], jobs[1], jobs[3]]):
            with self.subTest(order):
                cluster = self.cluster(2, 2, self.flags("--log_every=10", steps=60, log_dir=False))
                for job, index in order:
                    task = cluster.start_task(job, index)
                    task.wait_for(r"listening on|model softmax")
                cluster.assert_all_done(support.LONG_DEADLINE_S)
                support.closing_line(cluster.worker(0).stdout)
                support.closing_line(cluster.worker(1).stdout)


class ThreadsTest(small_runs.SmallRunTest):
    """oneDNN's threads are libgomp's. They spin for a time that the environment sets when the library is loaded."""

    def environment_of_run(self, *extra):
        process = self.start([self.program(), *self.flags("--intra_op_parallelism_threads=2", *extra, log_dir=False,
                                                          steps=small_runs.ENDLESS)])
        process.wait_for("first step")
        own = pathlib.Path(f"/proc/{process.pid}")
        variables = dict(pair.partition("=")[::2] for pair in (own / "environ").read_text().split("\0") if pair)
        name = (own / "comm").read_text().strip()
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        return name, variables

    def test_waiting_threads_sleep_soon_and_the_process_keeps_its_name(self):
        name, variables = self.environment_of_run()
        self.assertEqual(name, "distmnist")
        self.assertLess(int(variables["GOMP_SPINCOUNT"]), 10_000)

    def test_the_users_setting_is_kept(self):
        with unittest.mock.patch.dict(os.environ, {"OMP_WAIT_POLICY": "active"}):
            _, variables = self.environment_of_run()
        self.assertNotIn("GOMP_SPINCOUNT", variables)

    def test_a_single_thread_needs_no_setting(self):
        self.assertNotIn("GOMP_SPINCOUNT", self.environment_of_run("--intra_op_parallelism_threads=1")[1])


class StreamTest(small_runs.SmallRunTest):
    """stdout has only the documented lines; stderr is for people and their tools."""

    def test_a_closed_pipe_does_not_stop_the_training(self):
        command = [self.program(), *self.flags("--log_every=1", steps=5000)]
        with open(self.folder / "err", "wb") as err:
            reader, writer = os.pipe()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=err)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            os.close(writer)
            with os.fdopen(reader) as lines:
                first = lines.readline()
            self.assertRegex(first.rstrip("\n"), support.PROGRESS_LINE)
            self.assertEqual(process.wait(support.DEADLINE_S), 0, (self.folder / "err").read_text())
        self.assertEqual(self.checkpoint(5000).global_step, 5000)

    def test_closed_streams_do_not_end_up_in_files(self):
        process = self.start(["sh", "-c", 'exec "$0" "$@" >&- 2>&-', self.program(), *self.flags(steps=20)])
        self.assert_exit(process, 7)
        self.assertEqual(self.checkpoint(20).global_step, 20)
        small_runs.read_checkpoint(small_runs.checkpoint_path(self.log_dir, 20))
        for name, content in small_runs.contents(self.log_dir).items():
            self.assertNotIn(b"Test-Accuracy", content, name)
            self.assertNotIn(b": I local]", content, name)

    def test_stdout_has_only_the_documented_lines(self):
        contract = (support.PROGRESS_LINE, support.TEST_ACCURACY_LINE, support.CLOSING_LINE)
        for progress in ("auto", "plain", "none"):
            with self.subTest(progress):
                process = self.train(f"--progress={progress}", "--log_every=20", steps=200, log_dir=False)
                lines = process.stdout.splitlines()
                self.assertEqual(len(lines), 200 // 20 + 2)
                for line in lines:
                    self.assertTrue(any(form.match(line) for form in contract), line)
                self.assertNotIn("\r", process.stderr + process.stdout, "no terminal, no rewriting")

    def slow_run_with_progress(self, progress):
        # The reference backend is slow enough for several progress lines.
        return self.start([self.program(), *self.flags(f"--progress={progress}", "--device=/device:REFERENCE:0",
                                                       "--model=mnist_cnn", "--batch_size=1",
                                                       steps=small_runs.ENDLESS, log_dir=False)])

    def test_plain_progress_prints_whole_lines_and_none_prints_nothing(self):
        plain, none = (self.slow_run_with_progress(progress) for progress in ("plain", "none"))
        plain.wait_for(r"I local\] step \d+/1000000000, \d+\.\d steps/s, loss \d+\.\d{4}, [\d:]+ left$")
        self.assertNotIn("steps/s", none.stderr)
        for process in (plain, none):
            process.send(signal.SIGTERM)
            self.assert_exit(process, 143)

    def test_a_terminal_gets_one_line_that_is_rewritten_and_erased(self):
        try:
            terminal, stderr = os.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal here: {error}")
        with open(self.folder / "out", "wb") as out:
            process = subprocess.Popen([self.program(), *self.flags("--progress=auto", "--log_every=1000000",
                                                                    steps=small_runs.ENDLESS, log_dir=False)],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=stderr)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(stderr)
        seen = b""
        while seen.count(b" left\x1b[K") < 2:
            seen += os.read(terminal, 4096)
        self.assertRegex(seen.decode(), r"\rstep \d+/1000000000, \d+\.\d steps/s, loss \d+\.\d{4}, [\d:]+ left"
                                        r"\x1b\[K\rstep")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # reading fails after the last writer has ended
            while more := os.read(terminal, 4096):
                seen += more
        os.close(terminal)
        self.assertEqual(process.wait(support.DEADLINE_S), 130)
        self.assertRegex(seen.decode(), r"\r\x1b\[K\S+ \S+: I local\] stopped by a signal")

    def test_json_logs_are_json_to_the_last_line(self):
        cluster = self.train_cluster(1, 2, "--log_format=json", "--log_every=10", steps=50)
        for name, task in cluster.tasks.items():
            records = [json.loads(line) for line in task.stderr.splitlines()]
            self.assertEqual({record["task"] for record in records}, {name})
            self.assertEqual({tuple(record) for record in records}, {("time", "level", "task", "message")})
            if name != "ps:0":
                support.closing_line(task.stdout)
        bad = self.run_program(*self.flags("--log_format=json", f'--data_dir={self.folder}/"no" \\folder'))
        self.assert_exit(bad, 3)
        (record,) = (json.loads(line) for line in bad.stderr.splitlines())
        self.assertEqual(record["level"], "E")
        self.assertIn('/"no" \\folder: there is no such folder', record["message"])

    def test_help_and_version_go_to_stdout(self):
        for arguments, says in ((["--help"], "--train_steps"), (["evaluate", "--help"], "--log_dir"),
                                (["--version"], r"^distmnist \d+\.\d+\.\d+\n$")):
            process = self.run_program(*arguments)
            self.assert_exit(process, 0)
            self.assertRegex(process.stdout, says)
            self.assertEqual(process.stderr, "")


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def processes_that_name(path):
    """The pids of live processes with this path in their command line, except this process."""
    found = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found
            if pid != os.getpid() and str(path).encode() in command_line(pid) and support.is_alive(pid)]


if __name__ == "__main__":
    support.main()
