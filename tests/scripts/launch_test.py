"""launch/launch.py with a stand-in for the program: what it starts, how it ends, what it leaves behind (nothing)."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from script_case import support
import digits

FAKE = support.ROOT / "tests" / "e2e" / "fake_program.py"


class LauncherTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.notes = self.folder / "notes"
        self.notes.mkdir()

    def launch(self, *flags, do=(), extra=(), binary=FAKE, env=None):
        behaviours = [f"--do={item}" for item in do]
        named = ["--binary", binary] if binary else []
        command = [support.LAUNCHER, *named, *flags, "--", "--notes", self.notes, *behaviours, *extra]
        return self.start(command, name="launch", env=env)

    def note(self, task):
        path = self.notes / f"{task}.json"
        support.wait_until(path.exists, f"{task} to start")
        return json.loads(path.read_text())

    def signals(self, task):
        path = self.notes / f"{task}.signals"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def assert_gone(self, *pids):
        for pid in pids:
            support.wait_until(lambda: not support.is_alive(pid), f"process {pid} to be gone", 10)


class StartTest(LauncherTest):
    def test_without_flags_it_is_the_cluster_of_the_seeds(self):
        if any(port_in_use(port) for port in range(2222, 2226)):
            self.skipTest("a port of 2222-2225 is in use here")
        # The only case with fixed ports; nothing listens on them, so tests that run beside this one do not mind.
        launch = self.launch(binary=None, env={"DISTMNIST": str(FAKE)})
        self.assert_exit(launch, 0)
        for task in ("ps_0", "worker_0", "worker_1", "worker_2"):
            note = self.note(task)
            self.assertEqual(note["ps_hosts"], "localhost:2222")
            self.assertEqual(note["worker_hosts"], "localhost:2223,localhost:2224,localhost:2225")
        self.assertFalse((self.notes / "worker_3.json").exists())

    def test_stdout_holds_the_tasks_lines_and_nothing_else(self):
        launch = self.launch("--num_workers", 2)
        self.assert_exit(launch, 0)
        expected = [f"Worker : {worker}, Step: {step}, Accuracy (batch): 0.9800"
                    for worker in (0, 1) for step in (100, 200, 300)]
        self.assertEqual(sorted(launch.stdout.splitlines()), expected)

    def test_the_ports_are_said_in_one_line_on_stderr(self):
        launch = self.launch("--num_workers", 1)
        self.assert_exit(launch, 0)
        note = self.note("ps_0")
        self.assertEqual(len(launch.stderr.splitlines()), 1, launch.stderr)
        self.assertIn(f"ps:0 on {note['ps_hosts']}, worker:0 on {note['worker_hosts']}", launch.stderr)

    def test_free_ports_differ_and_can_be_listened_on(self):
        self.assert_exit(self.launch("--num_ps", 2, "--num_workers", 4), 0)
        note = self.note("worker_3")
        addresses = (note["ps_hosts"] + "," + note["worker_hosts"]).split(",")
        self.assertEqual(len(set(addresses)), 6)
        self.assertFalse([a for a in addresses if port_in_use(int(a.split(":")[1]))])

    def test_base_port_counts_ps_first_then_workers(self):
        base = consecutive_free_ports(3)
        self.assert_exit(self.launch("--base_port", base, "--num-ps=2", "--num-workers", 1), 0)
        note = self.note("worker_0")
        self.assertEqual(note["ps_hosts"], f"localhost:{base},localhost:{base + 1}")
        self.assertEqual(note["worker_hosts"], f"localhost:{base + 2}")

    def test_printed_commands_that_nobody_can_read(self):
        command = [str(support.LAUNCHER), "--hosts", "a,b", "--print"]
        with open("/dev/full", "wb", buffering=0) as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (7, "launch: standard output: No space left on device\n"))
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_port_in_use_is_named_before_anything_starts(self):
        with socket.socket() as taken:
            taken.bind(("", 0))
            taken.listen()
            port = taken.getsockname()[1]
            launch = self.launch("--base_port", port)
            self.assert_fails(launch, 6, rf"port {port} for ps:0 is in use.*--base_port")
        self.assertEqual(list(self.notes.iterdir()), [])

    def test_flags_after_the_dashes_reach_every_task_unchanged(self):
        extra = ["--train_steps", "7", "--log-dir=a b", "--", "--gpus", "x"]
        self.assert_exit(self.launch("--num_workers", 1, extra=extra), 0)
        for task in ("ps_0", "worker_0"):
            self.assertEqual(self.note(task)["argv"][-len(extra):], extra)

    def test_workers_take_turns_at_the_gpus_and_the_ps_gets_none(self):
        self.assert_exit(self.launch("--gpus", "0,3"), 0)
        self.assertEqual([self.note(f"worker_{i}")["cuda"] for i in range(3)], ["0", "3", "0"])
        self.assertEqual(self.note("ps_0")["cuda"], "")

    def test_without_gpus_the_workers_keep_the_environments_devices(self):
        self.assert_exit(self.launch("--num_workers", 1, env={"CUDA_VISIBLE_DEVICES": "5"}), 0)
        self.assertEqual(self.note("worker_0")["cuda"], "5")
        self.assertEqual(self.note("ps_0")["cuda"], "")

    def test_a_missing_program_is_named(self):
        self.assert_fails(self.launch(binary="no/such/file"), 2, r"--binary no/such/file is not an executable file")

    def test_an_unknown_flag_is_refused_in_one_sentence(self):
        launch = self.start([support.LAUNCHER, "--binary", FAKE, "--train_steps", "5"])
        self.assert_fails(launch, 2, r"--train_steps is not a flag of the launcher.* -- ")
        self.assertEqual(len(launch.stderr.splitlines()), 1)

    def test_bad_values_are_refused(self):
        for flags, says in ((["--num_ps", "0"], "0 is not 1 or more"), (["--gpus", "0,,1"], "empty item"),
                            (["--base_port", "65534"], "ports end at 65535"), (["--hosts", "a,b"], "needs --print"),
                            (["--hosts", "a:22", "--print"], "without ports"), (["--hosts", "a b", "--print"], "'a b' is not a host"),
                            (["--hosts", "a;b", "--print"], "'a;b' is not a host"), (["--num_workers", "x"], "x")):
            with self.subTest(flags=flags):
                self.assert_fails(self.start([support.LAUNCHER, "--binary", FAKE, *flags]), 2, says)


class PrintTest(LauncherTest):
    def commands(self, *flags):
        result = subprocess.run([str(support.LAUNCHER), "--print", *map(str, flags)], capture_output=True, text=True,
                                timeout=support.DEADLINE_S)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [line for line in result.stdout.splitlines() if not line.startswith("#")]

    def test_two_ps_and_three_workers_as_in_the_seeds(self):
        hosts = "--ps_hosts=192.168.0.20:2222,192.168.0.80:2222 " \
                "--worker_hosts=192.168.0.20:2223,192.168.0.80:2223,192.168.0.80:2224 "
        commands = self.commands("--hosts", "192.168.0.20,192.168.0.80,192.168.0.80", "--num_ps", 2,
                                 "--gpus_per_host", 2)
        self.assertEqual(commands, [
            f"distmnist {hosts}--job_name=ps --task_index=0",
            f"distmnist {hosts}--job_name=ps --task_index=1",
            f"CUDA_VISIBLE_DEVICES=0 distmnist {hosts}--job_name=worker --task_index=0",
            f"CUDA_VISIBLE_DEVICES=0 distmnist {hosts}--job_name=worker --task_index=1",
            f"CUDA_VISIBLE_DEVICES=1 distmnist {hosts}--job_name=worker --task_index=2",
        ])

    def test_workers_go_round_the_hosts_and_ps_stand_on_the_first(self):
        last = self.commands("--hosts", "a,b,c", "--num_ps", 1, "--num_workers", 5)[-1]
        self.assertIn("--ps_hosts=a:2222 ", last)
        self.assertIn("--worker_hosts=a:2223,b:2222,c:2222,a:2224,b:2223 ", last)
        self.assertNotIn("CUDA", last)

    def test_one_worker_per_host_unless_told_otherwise(self):
        self.assertEqual(len(self.commands("--hosts", "a,b,c,d")), 1 + 4)

    def test_the_commands_survive_a_shell(self):
        printed = self.commands("--hosts", "h", "--binary", "/opt/my tools/distmnist",
                                "--", "--log_dir", "it's here")[0]
        words = subprocess.run(["sh", "-c", f"printf '%s\\n' {printed}"], capture_output=True, text=True,
                               timeout=support.DEADLINE_S).stdout.splitlines()
        self.assertEqual((words[0], words[-2:]), ("/opt/my tools/distmnist", ["--log_dir", "it's here"]))


class FailureTest(LauncherTest):
    def test_the_first_failure_is_named_and_its_code_returned(self):
        launch = self.launch(do=["worker:0=save:0", "worker:1=exit:3:0.5", "worker:2=save:0", "ps:0=save:0"])
        self.assert_fails(launch, 3, r"worker:1 exited with code 3; stopping the others \(ps:0, worker:0, worker:2\)")
        self.assertNotRegex(launch.stderr, r"(ps:0|worker:0|worker:2) exited")
        self.assertEqual(self.signals("worker_0"), [signal.SIGTERM])

    def test_a_death_by_signal_is_128_and_its_number(self):
        launch = self.launch(do=["worker:0=die:9", "worker:1=save:0", "worker:2=save:0"])
        self.assert_fails(launch, 137, r"worker:0 was killed by signal 9 \(Killed\)")

    def test_a_ps_that_fails_stops_the_workers(self):
        launch = self.launch("--num_workers", 1, do=["ps:0=exit:6", "worker:0=save:0"])
        self.assert_fails(launch, 6, r"ps:0 exited with code 6; stopping the others \(worker:0\)")

    def test_a_worker_that_is_done_early_stops_nobody(self):
        launch = self.launch("--num_workers", 2, do=["worker:0=exit:0", "worker:1=exit:0:1", "ps:0=exit:0:1.5"])
        self.assert_exit(launch, 0)
        self.assertEqual(self.signals("worker_1"), [])

    def test_a_ps_that_never_leaves_is_named_and_killed(self):
        launch = self.launch("--num_workers", 1, "--ps_wait_s", 0.5, do=["ps:0=save:0"])
        self.assert_fails(launch, 138, r"ps:0 still there 0\.5 s after the last worker was done")
        self.assert_gone(self.note("ps_0")["pid"])

    def test_what_a_task_leaves_running_goes_with_it(self):
        launch = self.launch("--num_workers", 1, do=["worker:0=leave_child", "ps:0=save:0"])
        self.assert_exit(launch, 1)
        self.assert_gone(self.note("worker_0")["child"])


class StopTest(LauncherTest):
    def start_running(self, *flags, worker="save:0.3", ps="save:0"):
        launch = self.launch("--num_workers", 2, *flags, do=[f"worker:0={worker}", f"worker:1={worker}", f"ps:0={ps}"])
        return launch, [self.note(task)["pid"] for task in ("ps_0", "worker_0", "worker_1")]

    def test_one_interrupt_lets_the_workers_save_and_stops_all(self):
        launch, pids = self.start_running()
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)
        self.assert_gone(*pids)
        for task in ("worker_0", "worker_1", "ps_0"):
            self.assertEqual(self.signals(task), [signal.SIGINT], task)
        self.assertNotIn("exited with", launch.stderr)

    def test_terminate_is_passed_on_as_such(self):
        launch, pids = self.start_running()
        launch.send(signal.SIGTERM)
        self.assert_exit(launch, 143)
        self.assert_gone(*pids)
        self.assertEqual(self.signals("worker_1"), [signal.SIGTERM])

    def test_the_ps_serves_until_the_workers_have_left(self):
        launch, _ = self.start_running(worker="save:1.5")
        launch.send(signal.SIGINT)
        support.wait_until(lambda: self.signals("worker_1"), "the signal to reach worker:1")
        self.assertEqual(self.signals("ps_0"), [])
        self.assert_exit(launch, 130)
        self.assertEqual(self.signals("ps_0"), [signal.SIGINT])

    def test_tasks_that_do_not_leave_are_killed_after_the_grace(self):
        launch, pids = self.start_running("--grace_s", 1, worker="stubborn", ps="stubborn")
        launch.send(signal.SIGINT)
        self.assert_fails(launch, 130, r"still there after 1 s, killing ps:0, worker:0, worker:1")
        self.assert_gone(*pids)

    def test_a_second_interrupt_kills_at_once(self):
        launch, pids = self.start_running("--grace_s", 600, worker="stubborn", ps="stubborn")
        launch.send(signal.SIGINT)
        support.wait_until(lambda: self.signals("worker_0"), "the signal to reach worker:0")
        time.sleep(0.5)  # Two within a third of a second count as one.
        launch.send(signal.SIGINT)
        self.assert_fails(launch, 130, r"interrupted again: killing")
        self.assert_gone(*pids)

    def test_a_signal_that_comes_twice_in_a_row_still_lets_the_workers_save(self):
        launch, pids = self.start_running(worker="save:1")
        launch.send(signal.SIGINT)
        support.wait_until(lambda: "save and leave" in launch.stderr, "the launcher to take the signal")
        launch.send(signal.SIGTERM)
        self.assert_exit(launch, 130)
        self.assertNotIn("again", launch.stderr.replace("Ctrl-C again", ""))
        self.assert_gone(*pids)

    def test_nothing_survives_a_killed_launcher(self):
        launch, pids = self.start_running(worker="stubborn", ps="stubborn")
        launch.send(signal.SIGKILL)
        self.assert_exit(launch, -signal.SIGKILL)
        self.assert_gone(*pids)

    def test_nothing_survives_a_launcher_killed_while_it_starts(self):
        launch = self.launch("--num_workers", 20, do=[f"worker:{i}=stubborn" for i in range(20)] + ["ps:0=stubborn"])
        self.note("ps_0")
        launch.send(signal.SIGKILL)
        launch.wait()
        support.wait_until(lambda: not tasks_of(self.notes), "all tasks to be gone", 10)

    def test_an_ignored_hangup_stays_ignored(self):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            launch, _ = self.start_running()
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        launch.send(signal.SIGHUP)
        time.sleep(0.3)
        self.assertIsNone(launch.popen.poll())
        launch.send(signal.SIGTERM)
        self.assert_exit(launch, 143)

    def test_a_closed_terminal_stops_all_in_order(self):
        launch, pids = self.start_running()
        launch.send(signal.SIGHUP)
        self.assert_exit(launch, 129)
        self.assert_gone(*pids)
        self.assertEqual(self.signals("worker_0"), [signal.SIGTERM])


class ProgramTest(support.EndToEndTest):
    """The launcher with the real program, on a data set of its own."""

    def launch(self, *program_flags):
        data = digits.write_data_set(self.folder / "data")
        return self.start([support.LAUNCHER, "--binary", self.program(), "--num_workers", "2", "--", "--data_dir", data,
                           "--log_dir", self.folder / "run", "--batch_size", "10", "--model", "softmax", *program_flags],
                          name="launch")

    def test_a_cluster_trains_to_its_closing_lines(self):
        launch = self.launch("--train_steps", "200", "--log_every", "50")
        self.assert_exit(launch, 0)
        self.assertTrue(support.progress_lines(launch.stdout), launch.tail())
        closing = [line for line in launch.stdout.splitlines() if support.CLOSING_LINE.match(line)]
        self.assertEqual(len(closing), 2, launch.tail())

    def test_one_interrupt_saves_and_leaves(self):
        launch = self.launch("--train_steps", "100000000", "--log_every", "100")
        launch.wait_for(r"^Worker : \d+, Step: [1-9]")
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)
        self.assertTrue(list((self.folder / "run").glob("model.ckpt-*.safetensors")), launch.tail())
        self.assertNotIn("killing", launch.stderr)
        self.assertEqual(tasks_of(self.folder), [])


class InstalledTest(support.EndToEndTest):
    """What `meson install` brings, in a folder of this test's."""

    def test_an_installed_launcher_starts_the_program_installed_with_it(self):
        build = pathlib.Path(self.program()).resolve().parent.parent
        if not (build / "build.ninja").exists() or not shutil.which("meson"):
            self.skipTest("the program is in no build folder of meson's")
        install = self.start(["meson", "install", "-C", build, "--no-rebuild", "--destdir", self.folder / "root"])
        self.assert_exit(install, 0)
        prefix = next((self.folder / "root").glob("**/bin")).parent
        program = prefix / "bin" / "distmnist"
        self.assertIn("Apache License", (prefix / "share" / "doc" / "distmnist" / "LICENSE").read_text())
        for launcher in ("bin/distmnist-launch", "share/distmnist/launch.py"):
            with self.subTest(launcher=launcher):
                launch = self.start([prefix / launcher, "--num_workers", "1", "--", "--dataset", "synthetic", "--model", "softmax",
                                     "--train_steps", "10"], env={"PATH": path_without_the_program(), "DISTMNIST": ""},
                                    cwd="/")
                self.assert_exit(launch, 0)
                self.assertIn(f"launch: starting {program}: ps:0", launch.stderr)


def path_without_the_program():
    return ":".join(folder for folder in os.environ["PATH"].split(":") if not os.path.exists(os.path.join(folder, "distmnist")))


def port_in_use(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            return False
        except OSError:
            return True


def consecutive_free_ports(count):
    for first in support.free_ports(50):
        if not any(port_in_use(first + i) for i in range(count)):
            return first
    raise AssertionError("no consecutive free ports")


def tasks_of(notes):
    """The pids of the live processes that carry this test's folder in their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(notes).encode() in (entry / "cmdline").read_bytes() and support.is_alive(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


if __name__ == "__main__":
    support.main()
