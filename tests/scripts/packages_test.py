"""launch/install_packages.sh with stand-ins for apt and dpkg: what it takes to go on, and how it says that it cannot."""

import os
import pathlib
import re
import shutil
import signal
import unittest

from script_case import support
import tiny_checkout

SCRIPT = support.ROOT / "launch" / "install_packages.sh"
# All that the script may call, besides the stand-ins: no compiler, no meson, no library of this machine's.
COMMANDS = ("awk", "bash", "cat", "cut", "dirname", "env", "grep", "ls", "mktemp", "readlink", "rm", "sed", "sleep", "tail",
            "timeout", "touch", "tr")
DPKG_QUERY = 'grep -qx "${@: -1}" "$FAKES/installed" && echo "ii "\n'
APT_GET = """echo "$*" >>"$FAKES/calls"
for ((line = 0; line < 600; line++)); do echo "Get:$line some package"; done
if [[ " $* " == *" install "* ]]; then . "$FAKES/on_install"; fi
"""
INSTALL_ALL = """for package in "$@"; do echo "$package" >>"$FAKES/installed"; done\n"""
OFFLINE = """echo "W: Failed to fetch http://deb.example/x  Temporary failure resolving 'deb.example'"
echo "E: Unable to fetch some archives, maybe run apt-get update?"
exit 100
"""


class PackagesTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in COMMANDS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.fake("dpkg-query", DPKG_QUERY)
        self.fake("apt-get", APT_GET)
        self.user(0)
        self.on_install(INSTALL_ALL)
        self.installed(without=())

    def fake(self, name, text):
        tiny_checkout.write_script(self.bin / name, text)

    def user(self, number, sudo=None):
        self.fake("id", f"echo {number}\n")
        if sudo:
            self.fake("sudo", sudo)

    def on_install(self, text):
        (self.folder / "on_install").write_text(text)

    def installed(self, without):
        self.assertFalse(set(without) - set(packages()), "no such package")
        (self.folder / "installed").write_text("".join(f"{name}\n" for name in packages() if name not in without))

    def run_script(self, *sets, code=0):
        """Its output, stdout and stderr together."""
        script = self.start_script(*sets)
        self.assert_exit(script, code)
        return script.stdout + script.stderr

    def start_script(self, *sets):
        return self.start([SCRIPT, *sets], env={"PATH": str(self.bin), "FAKES": str(self.folder), "TMPDIR": str(self.folder),
                                                "SSL_CERT_FILE": str(self.folder / "none"), "CXX": ""})

    def calls(self):
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def log(self):
        return next(self.folder.glob("distmnist-apt-*.log"))

    def test_where_everything_is_there_nobody_has_to_be_root(self):
        self.user(1000)
        self.assertIn("are installed", self.run_script())
        self.assertEqual(self.calls(), [])

    def test_packages_of_the_tests_keep_nobody_from_building(self):
        self.user(1000)
        self.installed(without=["catch2", "valgrind", "qemu-user", "python3-venv"])
        self.assertIn("(build run) are installed", self.run_script("build", "run"))

    def test_without_root_the_packages_are_named_for_the_administrator(self):
        self.user(1000)
        self.installed(without=["libzmq3-dev", "meson", "valgrind"])
        said = self.run_script("build", "run", code=1)
        self.assertIn("takes root or sudo: meson libzmq3-dev\n", said)
        self.assertIn("Ask an administrator for: apt-get install --no-install-recommends meson libzmq3-dev\n", said)

    def test_without_root_and_catch2_the_tests_cannot_be_built(self):
        self.user(1000)
        self.installed(without=["catch2"])
        self.assertIn("catch2", self.run_script(code=1))

    def test_what_is_only_of_use_stops_nobody(self):
        self.user(1000)
        self.installed(without=["libdnnl-dev", "ca-certificates", "valgrind", "qemu-user"])
        said = self.run_script()
        for words in ("Without libdnnl-dev the program computes", "Without ca-certificates MNIST", "Without valgrind instr",
                      "Without qemu-user tests"):
            self.assertIn(words, said)

    def test_a_sudo_that_wants_a_password_nobody_can_give_is_no_sudo(self):
        self.user(1000, sudo='echo "sudo: a password is required" >&2; exit 1\n')
        self.installed(without=["meson"])
        self.assertIn("Ask an administrator", self.run_script(code=1))

    def test_tools_that_came_otherwise_will_do(self):
        self.user(1000)
        self.installed(without=["g++", "meson", "ninja-build"])
        for name in ("c++", "meson", "ninja"):
            self.fake(name, "")
        self.run_script("build", "run")

    def test_libraries_that_came_otherwise_will_do(self):
        self.user(1000)
        self.installed(without=["libzmq3-dev", "libcereal-dev"])
        self.fake("pkg-config", '[ "$*" = "--exists libzmq" ]\n')
        self.fake("c++", "grep -q cereal/cereal.hpp\n")
        self.run_script("build")

    def test_every_library_may_come_otherwise(self):
        self.user(1000)
        names = (support.ROOT / "apt-packages.txt").read_text().split()
        libraries = [name for name in names if name.endswith("-dev")]
        self.assertGreater(len(libraries), 8)
        self.installed(without=libraries)
        for name in ("pkg-config", "c++"):
            self.fake(name, "")
        self.run_script("build")

    def test_apts_lines_go_to_a_log_that_is_named(self):
        self.installed(without=["g++", "catch2"])
        said = self.run_script("build", "run")
        self.assertLess(len(said.splitlines()), 6, said)
        self.assertIn("missing packages and what they need", said)
        self.assertIn(f"goes to {self.log()}", said)
        self.assertIn("Get:599", self.log().read_text())
        self.assertTrue(self.calls()[-1].endswith("install --no-install-recommends g++"), self.calls())

    def test_sudo_is_used_where_there_is_one(self):
        self.user(1000, sudo='[ "$1" != -n ] || shift; echo sudo >>"$FAKES/calls"; "$@"\n')
        self.fake("true", "")
        self.installed(without=["g++"])
        self.run_script("build")
        self.assertIn("sudo", self.calls())

    def test_without_a_network_one_sentence_says_so(self):
        self.installed(without=["g++"])
        self.on_install(OFFLINE)
        said = self.run_script("build", code=1)
        self.assertIn("no network: apt reached no package server", said)
        self.assertIn("E: Unable to fetch some archives", said)
        self.assertIn(str(self.log()), said)
        self.assertNotIn("Get:", said)

    def test_without_a_network_what_is_only_of_use_stops_nobody(self):
        self.installed(without=["libdnnl-dev"])
        self.on_install(OFFLINE)
        self.assertIn("no network", self.run_script("build"))

    def test_other_failures_are_told_apart(self):
        for line, code, words in (("E: You don't have enough free space in /var/cache/apt/archives/.", 7, "the disk is full"),
                                  ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by 1", 1, "another apt"),
                                  ("E: Unable to locate package g++", 1, "Unable to locate package g++")):
            with self.subTest(line=line):
                self.installed(without=["g++"])
                self.on_install(f'echo "{line}"; exit 100\n')
                said = self.run_script("build", code=code)
                self.assertIn(words, said)
                self.assertNotIn("no network", said)

    def test_a_useful_package_that_the_system_does_not_have_keeps_the_others_from_nothing(self):
        self.installed(without=["g++", "libdnnl-dev"])
        self.on_install('if [[ "$*" == *libdnnl* ]]; then echo "E: Unable to locate package libdnnl-dev"; exit 100; fi\n'
                        + INSTALL_ALL)
        said = self.run_script("build")
        self.assertIn("Without libdnnl-dev", said)
        self.assertIn("g++\n", (self.folder / "installed").read_text())

    def test_an_interrupt_ends_it_with_one_line(self):
        self.installed(without=["g++"])
        self.on_install('touch "$FAKES/at_work"; exec sleep 60\n')
        script = self.start_script("build")
        support.wait_until((self.folder / "at_work").exists, "apt to be at work")
        os.killpg(script.pid, signal.SIGINT)
        self.assert_fails(script, 130, r"interrupted; the same command continues")
        self.assertEqual(script.stderr.count("interrupted"), 1)

    def test_an_unknown_set_is_refused(self):
        self.assertIn("'tests' is not a set of packages", self.run_script("tests", code=2))


class SetsTest(unittest.TestCase):
    def test_every_package_is_in_a_set_of_its_own(self):
        self.assertEqual(len(packages()), len(set(packages())))
        text = (support.ROOT / "apt-packages.txt").read_text()
        self.assertEqual(re.findall(r"^# ([a-z]+):", text, re.MULTILINE), ["build", "run", "test", "fuzz", "style"])


def packages():
    text = pathlib.Path(support.ROOT / "apt-packages.txt").read_text()
    return [line.split("#")[0].strip() for line in text.splitlines() if line.split("#")[0].strip()]


if __name__ == "__main__":
    support.main()
