"""Signals, and standard streams that are full, closed or not read: every loss of output is reported."""

import json
import os
import resource
import signal
import subprocess

import small_runs
import support


class SignalTest(small_runs.SmallRunTest):
    def endless(self, *extra, **options):
        process = self.start([self.program(), *self.flags("--log_every=10", *extra, steps=small_runs.ENDLESS)], **options)
        process.wait_for(r"^Worker : 0, Step: 10,")
        return process

    def test_a_hangup_saves_like_sigterm(self):
        process = self.endless()
        process.send(signal.SIGHUP)
        self.assert_exit(process, 143)
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1)

    def test_a_processor_time_limit_saves_like_sigterm(self):
        process = self.endless(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 60)))
        self.assert_exit(process, 143)
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1)

    def test_a_hangup_of_a_cluster_saves_too(self):
        cluster = self.cluster(1, 1, self.flags("--log_every=10", steps=small_runs.ENDLESS)).start()
        cluster.worker(0).wait_for(r"^Worker : 0, Step: 10,")
        for task in cluster.worker(0), cluster.ps():
            task.send(signal.SIGHUP)
        self.assertEqual(cluster.wait_all(), {"ps:0": 143, "worker:0": 143})
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1)

    def test_under_nohup_a_run_continues(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            process = self.endless("--save_model_secs=1")
        finally:
            signal.signal(signal.SIGHUP, before)
        process.send(signal.SIGHUP)
        steps = len(support.progress_lines(process.stdout))
        support.wait_until(lambda: len(support.progress_lines(process.stdout)) > steps + 5, "further steps")
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)

    def test_a_command_without_anything_to_save_ends_at_once(self):
        self.train(steps=5)
        process = self.start([self.program(), "variable", "list", "--ps_hosts=localhost:1", "--recovery_wait_secs=60"])
        process.wait_for("cannot be reached")
        process.send(signal.SIGINT)
        self.assert_exit(process, 130)


class OutputTest(small_runs.SmallRunTest):
    def setUp(self):
        super().setUp()
        self.train(steps=5)
        self.file = small_runs.checkpoint_path(self.log_dir, 5)
        self.images = os.path.join(self.data, "t10k-images-idx3-ubyte")
        self.commands = {"evaluate": ["evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}"],
                         "predict": ["predict", f"--log_dir={self.log_dir}", self.images],
                         "inspect": ["inspect", self.file], "devices": ["devices"], "help": ["--help"],
                         "train": self.flags(f"--log_dir={self.folder}/second", steps=5)}

    def run_with_stdout(self, name, stdout, **options):
        return subprocess.run([self.program(), *map(str, self.commands[name])], stdout=stdout, stderr=subprocess.PIPE,
                              text=True, timeout=support.DEADLINE_S, check=False, **options)

    def assert_error(self, name, done, says):
        self.assertEqual(done.returncode, 7, f"{name}: {done.stderr}")
        errors = small_runs.ERROR_LINE.findall(done.stderr)
        self.assertEqual(errors, [f"error: standard output: {says}; exit 7"], name)

    def test_a_full_disk_is_an_error_at_the_end(self):
        for name in self.commands:
            with self.subTest(name), open("/dev/full", "wb", buffering=0) as full:
                self.assert_error(name, self.run_with_stdout(name, full),
                                  "No space left on device; not all results were written")
        # The training has run to its end and saved.
        self.assertEqual(small_runs.checkpoint_steps(self.folder / "second"), [5])

    def test_a_closed_standard_output_is_an_error_at_the_end(self):
        for name in self.commands:
            with self.subTest(name):
                done = self.run_with_stdout(name, None, preexec_fn=lambda: os.close(1))
                self.assert_error(name, done, "it is closed; not all results were written")

    def test_tasks_without_results_do_not_need_it(self):
        cluster = self.cluster(1, 1, self.flags(steps=5, log_dir=False))
        command = [self.program(), *cluster.flags(), "--job_name=ps"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1)) as ps:
            self.addCleanup(ps.kill)
            self.assert_exit(cluster.start_task("worker", 0), 0)
            self.assertEqual(ps.wait(support.DEADLINE_S), 0)

    def test_a_closed_pipe_ends_commands_without_an_error(self):
        for name in self.commands:
            with self.subTest(name):
                reading, writing = os.pipe()
                os.close(reading)
                done = self.run_with_stdout(name, writing)
                os.close(writing)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertNotIn("output", done.stderr)
        self.assertEqual(small_runs.checkpoint_steps(self.folder / "second"), [5])

    def test_output_can_be_piped_to_head(self):
        done = subprocess.run(f"{self.program()} inspect {self.file} | head -n 1", shell=True, capture_output=True,
                              text=True, timeout=support.DEADLINE_S, check=False)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertEqual(done.stderr, "")

    def test_control_characters_in_a_path_do_not_reach_the_terminal(self):
        process = self.run_program(f"--data_dir={self.folder}/a\nb\x1b[31m\u00e9")
        self.assert_refused(process, 3, r"/a\\x0ab\\x1b\[31m\u00e9")

    def test_json_logs_are_utf8_whatever_bytes_a_path_has(self):
        odd = os.fsencode(self.folder) + b"/caf\xe9 \xff\xed\xa0\x80 \xc3\xa9\xf0\x9f\x98\x80 \"\\ \x01"
        done = subprocess.run([self.program(), "--log_format=json", b"--data_dir=" + odd], capture_output=True,
                              timeout=support.DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 3)
        for line in done.stderr.splitlines():
            entry = json.loads(line.decode())  # strict
        self.assertIn("/caf\ufffd \ufffd\ufffd\ufffd\ufffd \u00e9\U0001f600 \"\\ \x01", entry["message"])


if __name__ == "__main__":
    support.main()
