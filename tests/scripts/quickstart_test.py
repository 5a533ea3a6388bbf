"""launch/quickstart.sh on a small checkout with real meson: from wherever one stands, and however one stops it. Nothing is
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

AS_ROOT = os.geteuid() == 0 and shutil.which("setpriv")
NO_NETWORK = "http://127.0.0.1:9"


class QuickstartTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.checkout = tiny_checkout.make(self.folder / "a checkout, größer")
        self.script = self.checkout / "launch" / "quickstart.sh"
        self.data = self.folder / "my data"
        self.data.mkdir()
        self.notes = self.folder / "notes"
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.fake("dpkg-query", 'echo "ii "\n')

    def fake(self, name, text):
        return tiny_checkout.write_script(self.bin / name, text)

    def environment(self, env=None):
        return {"PATH": tiny_checkout.path_with(self.bin), "TINY_NOTES": str(self.notes), "PYTHONDONTWRITEBYTECODE": "1",
                       "CCACHE_DISABLE": "1", "XDG_CACHE_HOME": str(self.folder / "cache"), "https_proxy": NO_NETWORK,
                       "http_proxy": NO_NETWORK, "no_proxy": "", "TMPDIR": str(self.folder), **(env or {})}

    def quickstart(self, *arguments, command=None, env=None, **options):
        return self.start([*(command or [self.script]), *arguments], env=self.environment(env), **options)

    def log_dir(self, quickstart):
        return re.search(r"^Logs and checkpoints go to (.*); afterwards: (.*) evaluate --log_dir (.*)$", quickstart.stderr,
                         re.MULTILINE)

    def flags(self):
        """What the tasks were given after the flags of the cluster, one after the other."""
        return self.notes.read_text().splitlines()


class StartTest(QuickstartTest):
    def test_from_elsewhere_with_a_data_folder_that_is_relative_and_has_spaces(self):
        started = self.quickstart("my data", "--", "--train_steps", "7", cwd=self.folder)
        self.assert_exit(started, 0)
        said = self.log_dir(started)
        self.assertTrue(said, started.tail())
        self.assertEqual(self.flags()[-6:-3], ["--data_dir", str(self.data), "--log_dir"])
        self.assertEqual(self.flags()[-2:], ["--train_steps", "7"])
        # What is printed can be typed where one stands.
        for path in said.groups():
            shown = self.start(["bash", "-c", f"ls -d {path}"], cwd=self.folder)
            self.assert_exit(shown, 0)
        self.assertEqual(started.stdout, "")

    def test_in_the_checkout_paths_are_short(self):
        started = self.quickstart("--data_dir=../my data", command=["launch/quickstart.sh"], cwd=self.checkout)
        self.assert_exit(started, 0)
        self.assertRegex(self.log_dir(started).group(0),
                         r"go to logs/quickstart-\d{8}-\d{6}; afterwards: build/tools/distmnist evaluate --log_dir logs/quickstart-")

    def test_through_a_link_by_another_shell_without_a_home_and_without_a_network(self):
        link = self.folder / "qs"
        link.symlink_to(self.script)
        self.fake("python3", f'unset HOME; exec {shutil.which("python3")} "$@"\n')
        started = self.quickstart(command=["env", "-u", "HOME", "sh", link], cwd=self.folder)
        self.assert_exit(started, 0)
        self.assertIn("THIS IS NOT MNIST", started.stderr)
        self.assertEqual(self.flags()[-4:-2], ["--dataset", "synthetic"])

    def test_two_in_one_second_have_folders_of_their_own(self):
        self.fake("date", "echo 20300101-120000\n")
        both = [self.quickstart(self.data) for _ in range(2)]
        for started in both:
            self.assert_exit(started, 0)
        folders = {self.log_dir(started).group(1) for started in both}
        self.assertEqual(len(folders), 2, folders)
        self.assertEqual(sorted(os.listdir(self.checkout / "logs")),
                         ["quickstart-20300101-120000", "quickstart-20300101-120000-2"])

    def test_a_log_dir_of_ones_own_is_relative_to_where_one_stands(self):
        started = self.quickstart(self.data, "--", "--log-dir", "mine", cwd=self.folder)
        self.assert_exit(started, 0)
        self.assertFalse(self.log_dir(started))
        self.assertFalse((self.checkout / "logs").exists())

    def test_help_and_wrong_flags_start_nothing(self):
        shown = self.quickstart("--help", cwd="/")
        self.assert_exit(shown, 0)
        self.assertIn("[DATA_DIR | --data_dir DATA_DIR] [--build_dir DIR] [-- flags of the program]", shown.stdout)
        for arguments, code, says in ((["--train_steps", "5"], 2, "unknown flag --train_steps: .* after a --"),
                                      (["no such"], 3, "the data folder .*no such does not exist"),
                                      ([__file__], 3, "quickstart_test.py is a file: name the folder that it is in"),
                                      (["--build_dir"], 2, "--build_dir needs a folder"),
                                      (["a", "b"], 2, "two data folders: a and b")):
            with self.subTest(arguments=arguments):
                self.assert_fails(self.quickstart(*arguments), code, says)
        self.assertFalse((self.checkout / "build").exists())

    @unittest.skipUnless(AS_ROOT, "only root can become another user")
    def test_a_read_only_checkout(self):
        self.folder.chmod(0o755)
        (self.folder / "mine").mkdir()
        (self.folder / "mine").chmod(0o777)
        command = tiny_checkout.as_nobody([self.script])
        self.assert_fails(self.quickstart(self.data, command=command), 2, "the build folder .* cannot be made .*--build_dir DIR")
        started = self.quickstart("my data", "--build_dir", "mine/b", command=command, cwd=self.folder,
                                  env={"TINY_NOTES": "/dev/null"})
        self.assert_exit(started, 0)
        self.assertRegex(self.log_dir(started).group(1), "mine/b/logs/quickstart-")


class StopTest(QuickstartTest):
    def start_slow(self, name):
        """A quickstart that stays in the tool `name`."""
        at_work = self.folder / "at_work"
        self.fake(name, f'touch "{at_work}"; exec sleep 600\n')
        started = self.quickstart(env={"CXX": str(self.bin / "slow-c++")} if name == "slow-c++" else None)
        support.wait_until(at_work.exists, f"{name} to be at work")
        return started

    def assert_stopped(self, started, code=130):
        self.assert_fails(started, code, "continues?")
        told = [line for line in started.stderr.splitlines() if re.search("interrupted|interrupt:|terminated:", line)]
        self.assertEqual(len(told), 1, started.stderr)
        self.assertNotIn("Traceback", started.stderr)
        support.wait_until(lambda: not tiny_checkout.processes_of(self.folder), "all processes to be gone", 15)

    def test_ctrl_c_in_the_build(self):
        started = self.start_slow("slow-c++")
        os.killpg(started.pid, signal.SIGINT)
        self.assert_stopped(started)

    def test_ctrl_c_typed_on_a_terminal(self):
        at_work = self.folder / "at_work"
        compiler = self.fake("slow-c++", f'touch "{at_work}"; exec sleep 600\n')
        shown = terminal.Terminal([self.script], env={**os.environ, **self.environment({"CXX": str(compiler)})})
        self.addCleanup(shown.close)
        support.wait_until(at_work.exists, "the compiler to be at work")
        shown.type(b"\x03")
        self.assertEqual(shown.finish(), 130, shown.written)
        self.assertRegex(shown.lines()[-1], "interrupt: the same command continues where it stopped")
        support.wait_until(lambda: not tiny_checkout.processes_of(self.folder), "all processes to be gone", 15)

    def test_a_signal_to_the_script_alone_ends_what_it_runs(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                started = self.start_slow("slow-c++")
                started.send(number)
                self.assert_stopped(started, 128 + number)
                (self.folder / "at_work").unlink()

    def test_ctrl_c_while_packages_are_installed(self):
        self.fake("dpkg-query", "false\n")
        self.fake("id", "echo 0\n")
        self.fake("pkg-config", "false\n")
        started = self.start_slow("apt-get")
        os.killpg(started.pid, signal.SIGINT)
        self.assert_stopped(started)

    def test_ctrl_c_in_the_download(self):
        silent = support.free_ports(1)[0]
        with support.socket.create_server(("127.0.0.1", silent)) as server:
            proxy = f"http://127.0.0.1:{silent}"
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
