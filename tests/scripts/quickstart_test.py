"""launch/quickstart.sh on a small checkout with the real meson: from anywhere, and however it is stopped. Nothing is
downloaded: all packages are there, and the way to MNIST leads nowhere."""

import os
import re
import shutil
import signal
import time
import unittest

from script_case import support
import terminal
import tiny_checkout

NO_NETWORK = "http://127.0.0.1:9"


class QuickstartTest(tiny_checkout.CheckoutTest):
    def setUp(self):
        super().setUp()
        self.script = self.checkout / "launch" / "quickstart.sh"
        self.data = self.folder / "my data"
        self.data.mkdir()
        self.notes = self.folder / "notes"
        self.fake("dpkg-query", 'echo "ii "\n')
        self.environment.update(TINY_NOTES=str(self.notes), XDG_CACHE_HOME=str(self.folder / "cache"), no_proxy="",
                                https_proxy=NO_NETWORK, http_proxy=NO_NETWORK, TMPDIR=str(self.folder))

    def quickstart(self, *arguments, command=None, env=None, **options):
        return self.start([*(command or [self.script]), *arguments], env={**self.environment, **(env or {})}, **options)

    def log_dir(self, quickstart):
        """What is printed: the folder, the program and the folder again."""
        return re.search(r"^Logs and checkpoints go to (.*); afterwards: (.*) evaluate --log_dir (.*)$",
                         quickstart.stderr, re.MULTILINE)

    def flags(self):
        """What the tasks were given, one after the other."""
        return self.notes.read_text().splitlines()


class StartTest(QuickstartTest):
    def test_with_a_data_folder_that_is_relative_and_has_spaces(self):
        for arguments, folder in ((["my data"], self.folder), (["--data_dir=../my data"], self.checkout)):
            with self.subTest(folder=folder):
                started = self.quickstart(*arguments, "--", "--train_steps", "7", cwd=folder)
                self.assert_exit(started, 0)
                self.assertEqual(started.stdout, "")
                self.assertEqual(self.flags()[-6], "--data_dir")
                self.assertTrue(os.path.samefile(self.flags()[-5], self.data))
                self.assertEqual(self.flags()[-2:], ["--train_steps", "7"])
                for path in self.log_dir(started).groups():  # can be typed there as they are
                    self.finish(["bash", "-c", f"ls -d {path}"], cwd=folder)

    def test_through_a_link_by_another_shell_without_a_home_and_without_a_network(self):
        link = self.folder / "qs"
        link.symlink_to(self.script)
        self.fake("python3", f'unset HOME; exec {shutil.which("python3")} "$@"\n')
        started = self.quickstart(command=["env", "-u", "HOME", "sh", link], cwd=self.folder)
        self.assert_fails(started, 0, "THIS IS NOT MNIST")
        self.assertEqual(self.flags()[-4:-2], ["--dataset", "synthetic"])

    def test_the_cuda_module_is_built_only_for_a_gpu(self):
        built = self.folder / "built"
        self.fake("python3", f'[[ "$1" != */build.py ]] || echo "$*" >"{built}"\nexec {shutil.which("python3")} "$@"\n')
        self.assert_exit(self.quickstart(self.data), 0)
        has_gpu = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")
        self.assertRegex(built.read_text(), "build$" if has_gpu else "build tools/distmnist$")

    def test_two_in_one_second_have_log_folders_of_their_own(self):
        self.fake("date", "echo 20300101-120000\n")
        for started in [self.quickstart(self.data) for _ in range(2)]:
            self.assert_exit(started, 0)
        names = ["quickstart-20300101-120000", "quickstart-20300101-120000-2"]
        self.assertEqual(sorted(os.listdir(self.checkout / "logs")), names)

    def test_a_log_dir_among_the_programs_flags_is_the_only_one(self):
        self.assert_exit(self.quickstart(self.data, "--", "--log-dir", "mine", cwd=self.folder), 0)
        self.assertNotIn("--log_dir", self.flags())
        self.assertFalse((self.checkout / "logs").exists())

    def test_help_and_wrong_flags_start_nothing(self):
        for arguments, code, says in ((["--help"], 0, r"\A\Z"), (["--build_dir"], 2, "--build_dir needs a folder"),
                                      (["--train_steps", "5"], 2, "unknown flag --train_steps: .* after a --"),
                                      (["no such"], 3, "the data folder .*no such does not exist"),
                                      ([__file__], 3, "quickstart_test.py is a file: name the folder that it is in"),
                                      (["a", "b"], 2, "two data folders: a and b")):
            with self.subTest(arguments=arguments):
                self.assert_fails(self.quickstart(*arguments, cwd="/"), code, says)
        self.assertFalse(self.build_dir.exists())

    @unittest.skipUnless(tiny_checkout.CAN_CHANGE_USER, "only root can become another user")
    def test_a_read_only_checkout(self):
        self.folder.chmod(0o755)
        (self.folder / "mine").mkdir()
        (self.folder / "mine").chmod(0o777)
        command = [*tiny_checkout.AS_NOBODY, self.script]
        self.assert_fails(self.quickstart(self.data, command=command), 2, "the build folder .* cannot be made")
        started = self.quickstart("my data", "--build_dir", "mine/b", command=command, cwd=self.folder,
                                  env={"TINY_NOTES": "/dev/null"})
        self.assert_exit(started, 0)
        self.assertRegex(self.log_dir(started).group(1), "mine/b/logs/quickstart-")


class StopTest(QuickstartTest):
    def start_slow(self):
        """A quickstart whose compiler does not end."""
        started = self.quickstart(env={"CXX": str(self.fake_slow("slow-c++"))})
        self.wait_for_slow()
        return started

    def assert_stopped(self, started, code=130):
        self.assert_fails(started, code, "continues?")
        told = re.findall("^.*(?:interrupted|interrupt:|terminated:)", started.stderr, re.MULTILINE)
        self.assertEqual(len(told), 1, started.stderr)
        self.assertNotIn("Traceback", started.stderr)
        self.assert_nothing_runs()

    def test_ctrl_c_on_a_terminal_in_the_build(self):
        env = {**os.environ, **self.environment, "CXX": str(self.fake_slow("slow-c++"))}
        shown = terminal.Terminal([self.script], env=env)
        self.addCleanup(shown.close)
        self.wait_for_slow()
        shown.type(b"\x03")
        self.assertEqual(shown.finish(), 130, shown.written)
        self.assertRegex(shown.lines()[-1], "interrupt: the same command continues where it stopped")
        self.assert_nothing_runs()

    def test_a_signal_to_the_script_alone_ends_what_it_runs(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                started = self.start_slow()
                started.send(number)
                self.assert_stopped(started, 128 + number)
                (self.folder / "at_work").unlink()

    def test_ctrl_c_in_the_download(self):
        with support.socket.create_server(("127.0.0.1", 0)) as server:
            proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
            started = self.quickstart(env={"https_proxy": proxy, "http_proxy": proxy})
            server.settimeout(support.DEADLINE_S)
            connection, _ = server.accept()
            time.sleep(0.2)
            os.killpg(started.pid, signal.SIGINT)
            self.assert_stopped(started)
            connection.close()
        self.assertNotIn("SYNTHETIC", started.stderr)


if __name__ == "__main__":
    support.main()
