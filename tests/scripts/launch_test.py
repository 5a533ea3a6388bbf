"""launch/launch.py with a stand-in for the program: what it starts, how it ends, and that it leaves nothing behind; and
with the real program, on a small data set and as it is installed."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import time

from script_case import ScriptTest, support
import digits

FAKE = support.ROOT / "tests" / "e2e" / "fake_program.py"


class LauncherTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.notes = self.folder / "notes"
        self.notes.mkdir()

    def launch(self, *flags, do=(), extra=(), binary=("--binary", FAKE), env=None):
        behaviours = [f"--do={item}" for item in do]
        command = [support.LAUNCHER, *binary, *flags, "--", "--notes", self.notes, *behaviours, *extra]
        # The variable marks also what a task starts (processes_of).
        return self.start(command, name="launch", env={"OF_TEST": str(self.folder), **(env or {})})

    def note(self, task):
        path = self.notes / f"{task}.json"
        support.wait_until(path.exists, f"{task} to start")
        return json.loads(path.read_text())

    def signals(self, task):
        path = self.notes / f"{task}.signals"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


class StartTest(LauncherTest):
    def test_without_flags_it_is_the_cluster_of_the_seeds(self):
        if any(port_in_use(port) for port in range(2222, 2226)):
            self.skipTest("a port of 2222-2225 is in use here")
        # The only case with fixed ports; nothing listens on them, so tests that run beside this one do not mind.
        self.assert_exit(self.launch(binary=(), env={"DISTMNIST": str(FAKE)}), 0)
        for task in ("ps_0", "worker_0", "worker_1", "worker_2"):
            note = self.note(task)
            self.assertEqual(note["ps_hosts"], "localhost:2222")
            self.assertEqual(note["worker_hosts"], "localhost:2223,localhost:2224,localhost:2225")
        self.assertFalse((self.notes / "worker_3.json").exists())

    def test_stdout_belongs_to_the_tasks_and_stderr_names_the_ports_which_are_free_ones(self):
        launch = self.launch("--num_ps", 2, "--num_workers", 2)
        self.assert_exit(launch, 0)
        self.assertEqual(sorted(support.progress_lines(launch.stdout)),
                         [(worker, step, 0.98) for worker in (0, 1) for step in (100, 200, 300)])
        self.assertEqual(len(launch.stdout.splitlines()), 6)
        self.assertEqual(len(launch.stderr.splitlines()), 1, launch.stderr)
        note = self.note("worker_1")
        addresses = (note["ps_hosts"] + "," + note["worker_hosts"]).split(",")
        self.assertEqual(len(set(addresses)), 4)
        self.assertFalse([address for address in addresses if port_in_use(int(address.split(":")[1]))])
        for task, address in zip(("ps:0", "ps:1", "worker:0", "worker:1"), addresses):
            self.assertIn(f"{task} on {address}", launch.stderr)

    def test_base_port_counts_ps_first_then_workers_and_flags_after_the_dashes_reach_every_task_unchanged(self):
        base = next(port for port in support.free_ports(50) if not any(port_in_use(port + i) for i in range(3)))
        extra = ["--train_steps", "7", "--log-dir=a b", "--", "--gpus", "x"]
        self.assert_exit(self.launch("--base_port", base, "--num-ps=2", "--num-workers", 1, extra=extra), 0)
        for task in ("ps_0", "ps_1", "worker_0"):
            note = self.note(task)
            self.assertEqual(note["ps_hosts"], f"localhost:{base},localhost:{base + 1}")
            self.assertEqual(note["worker_hosts"], f"localhost:{base + 2}")
            self.assertEqual(note["argv"][-len(extra):], extra)

    def test_a_port_in_use_is_named_before_anything_starts(self):
        with socket.create_server(("", 0)) as taken:
            port = taken.getsockname()[1]
            self.assert_fails(self.launch("--base_port", port), 6, rf"port {port} for ps:0 is in use.*--base_port")
        self.assertEqual(list(self.notes.iterdir()), [])

    def test_workers_take_turns_at_the_gpus_or_keep_the_environments_and_the_ps_gets_none(self):
        for flags, devices in (("--gpus", "0,3"), ["0", "3", "0"]), ((), ["5"] * 3):
            self.assert_exit(self.launch(*flags, env={"CUDA_VISIBLE_DEVICES": "5"}), 0)
            self.assertEqual([self.note(f"worker_{i}")["cuda"] for i in range(3)], devices)
            self.assertEqual(self.note("ps_0")["cuda"], "")

    def test_what_it_cannot_do_is_refused_in_one_sentence(self):
        for flags, says in ((["--binary", "no/such/file"], r"--binary no/such/file is not an executable file"),
                            (["--train_steps", "5"], r"--train_steps is not a flag of the launcher.* -- "),
                            (["--num_ps", "0"], "0 is not 1 or more"), (["--gpus", "0,,1"], "empty item"),
                            (["--base_port", "65534"], "ports end at 65535"), (["--hosts", "a,b"], "needs --print"),
                            (["--hosts", "a:22", "--print"], "without ports"),
                            (["--hosts", "a;b", "--print"], "'a;b' is not a host")):
            with self.subTest(flags=flags):
                launch = self.finish([support.LAUNCHER, "--binary", FAKE, *flags], code=2)
                self.assertRegex(launch.stderr, rf"\A.*{says}.*\n\Z")

    def test_for_several_hosts_it_prints_commands_that_a_shell_can_read(self):
        printed = self.finish([support.LAUNCHER, "--print", "--hosts", "a,b,b", "--num_ps", 2, "--num_workers", 4,
                               "--gpus_per_host", 2, "--binary", "/my tools/distmnist", "--", "--log_dir", "my logs"])
        task = "'/my tools/distmnist' --ps_hosts=a:2222,b:2222 --worker_hosts=a:2223,b:2223,b:2224,a:2224 " \
               "--job_name={} --task_index={} --log_dir 'my logs'"
        self.assertEqual([line for line in printed.stdout.splitlines() if not line.startswith("#")], [
            task.format("ps", 0),
            task.format("ps", 1),
            "CUDA_VISIBLE_DEVICES=0 " + task.format("worker", 0),
            "CUDA_VISIBLE_DEVICES=0 " + task.format("worker", 1),
            "CUDA_VISIBLE_DEVICES=1 " + task.format("worker", 2),
            "CUDA_VISIBLE_DEVICES=1 " + task.format("worker", 3)])
        self.finish(["bash", "-c", f"{support.LAUNCHER} --print >/dev/full"], code=7)


class FailureTest(LauncherTest):
    def test_the_first_failure_is_named_stops_the_others_and_gives_its_code(self):
        for do, code, says in (
                (["worker:0=exit:0", "worker:1=exit:0:1", "ps:0=exit:0:1"], 0, "starting"),  # stops nobody
                (["worker:0=save:0", "worker:1=exit:3:0.5", "ps:0=save:0"], 3, "worker:1 exited with code 3; stopping"),
                (["worker:0=save:0", "worker:1=die:9", "ps:0=save:0"], 137, "worker:1 was killed by signal 9"),
                (["worker:0=save:0", "worker:1=save:0", "ps:0=exit:6"], 6, "ps:0 exited with code 6; stopping"),
                (["worker:0=save:0", "worker:1=leave_child", "ps:0=save:0"], 1, "worker:1 exited with code 1; stopp"),
                (["ps:0=save:0"], 138, "ps:0 still there 2 s after the last worker was done")):
            with self.subTest(do=do):
                launch = self.launch("--num_workers", 2, "--ps_wait_s", 2, do=do)
                self.assert_fails(launch, code, says)
                self.assertLessEqual(len(re.findall("exited|was killed", launch.stderr)), 1, launch.stderr)
                self.assert_nothing_runs()
                if code == 0:
                    self.assertEqual(self.signals("worker_1"), [])
        self.assertIn(signal.SIGTERM, self.signals("worker_0"))


class StopTest(LauncherTest):
    def start_running(self, *flags, worker="save:0.3", ps="save:0"):
        for path in self.notes.iterdir():
            path.unlink()
        launch = self.launch("--num_workers", 2, *flags, do=[f"worker:0={worker}", f"worker:1={worker}", f"ps:0={ps}"])
        for task in ("ps_0", "worker_0", "worker_1"):
            self.note(task)
        return launch

    def test_one_signal_lets_the_workers_save_and_stops_all(self):
        for number, passed_on, code in ((signal.SIGINT, signal.SIGINT, 130), (signal.SIGTERM, signal.SIGTERM, 143),
                                        (signal.SIGHUP, signal.SIGTERM, 129)):
            with self.subTest(number=number):
                launch = self.start_running()
                launch.send(number)
                self.assert_exit(launch, code)
                self.assert_nothing_runs()
                for task in ("worker_0", "worker_1", "ps_0"):
                    self.assertEqual(self.signals(task), [passed_on], task)
                self.assertNotIn("exited with", launch.stderr)

    def test_the_ps_serves_until_the_workers_have_left_though_a_second_signal_comes_at_once(self):
        launch = self.start_running(worker="save:1.5")
        launch.send(signal.SIGINT)
        support.wait_until(lambda: "save and leave" in launch.stderr, "the launcher to take the signal")
        launch.send(signal.SIGTERM)
        support.wait_until(lambda: self.signals("worker_1"), "the signal to reach worker:1")
        self.assertEqual(self.signals("ps_0"), [])
        self.assert_exit(launch, 130)
        self.assertEqual(self.signals("ps_0"), [signal.SIGINT])
        self.assertNotIn("killing", launch.stderr)

    def test_tasks_that_do_not_leave_are_killed_after_the_grace_or_by_a_second_interrupt(self):
        for grace_s, says in ((1, "still there after 1 s, killing ps:0, worker:0, worker:1"),
                              (600, "interrupted again: killing")):
            with self.subTest(says=says):
                launch = self.start_running("--grace_s", grace_s, worker="stubborn", ps="stubborn")
                launch.send(signal.SIGINT)
                if grace_s > 1:
                    support.wait_until(lambda: self.signals("worker_0"), "the signal to reach worker:0")
                    time.sleep(0.5)  # Two within a third of a second count as one.
                    launch.send(signal.SIGINT)
                self.assert_fails(launch, 130, says)
                self.assert_nothing_runs()

    def test_nothing_survives_a_launcher_killed_while_it_starts(self):
        stubborn = [f"{task}=stubborn" for task in ("ps:0", *(f"worker:{i}" for i in range(20)))]
        launch = self.launch("--num_workers", 20, do=stubborn)
        self.note("ps_0")
        launch.send(signal.SIGKILL)
        launch.wait()
        self.assert_nothing_runs()

    def test_an_ignored_hangup_stays_ignored(self):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        launch = self.start_running()
        launch.send(signal.SIGHUP)
        time.sleep(0.3)
        self.assertIsNone(launch.popen.poll())
        launch.send(signal.SIGTERM)
        self.assert_exit(launch, 143)


class ProgramTest(ScriptTest):
    """The launcher with the real program."""

    def test_one_interrupt_saves_and_leaves(self):
        data = digits.write_data_set(self.folder / "data")
        launch = self.start([support.LAUNCHER, "--binary", self.program(), "--num_workers=2", "--", "--data_dir", data,
                             "--log_dir", self.folder / "run", "--batch_size=10", "--model=softmax",
                             "--train_steps=100000000"])
        launch.wait_for(r"^Worker : \d+, Step: [1-9]")
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)
        self.assertTrue(list((self.folder / "run").glob("model.ckpt-*.safetensors")), launch.tail())
        self.assertNotIn("killing", launch.stderr)
        self.assert_nothing_runs()

    def test_an_installed_launcher_starts_the_program_installed_with_it(self):
        build = pathlib.Path(self.program()).resolve().parent.parent
        if not (build / "build.ninja").exists() or not shutil.which("meson"):
            self.skipTest("the program is in no build folder of meson's")
        self.finish(["meson", "install", "-C", build, "--no-rebuild", "--destdir", self.folder / "root"])
        prefix = next((self.folder / "root").glob("**/bin")).parent
        self.assertIn("Apache License", (prefix / "share" / "doc" / "distmnist" / "LICENSE").read_text())
        path = [folder for folder in os.environ["PATH"].split(":") if not os.path.exists(f"{folder}/distmnist")]
        for launcher in ("bin/distmnist-launch", "share/distmnist/launch.py"):
            with self.subTest(launcher=launcher):
                launch = self.finish([prefix / launcher, "--num_workers", "1", "--", "--dataset", "synthetic",
                                      "--model", "softmax", "--train_steps", "10"],
                                     env={"PATH": ":".join(path), "DISTMNIST": ""}, cwd="/")
                self.assertIn(f"launch: starting {prefix}/bin/distmnist: ps:0", launch.stderr)


def port_in_use(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            return False
        except OSError:
            return True


if __name__ == "__main__":
    support.main()
