"""launch/install_packages.sh with stand-ins for apt and dpkg: what it needs to go on, and how it fails."""

import os
import re
import shutil
import signal

from script_case import ScriptTest, support

SCRIPT = support.ROOT / "launch" / "install_packages.sh"
# All that the script may call, besides the stand-ins: no compiler, no meson, no library of this machine's.
COMMANDS = ("awk", "bash", "cat", "cut", "dirname", "env", "grep", "ls", "mktemp", "readlink", "rm", "sed", "sleep",
            "tail", "timeout", "touch", "tr")
APT_GET = """echo "$*" >>"$FAKES/calls"
for ((line = 0; line < 600; line++)); do echo "Get:$line some package"; done
if [[ " $* " == *" install "* ]]; then . "$FAKES/on_install"; fi
"""
INSTALL_ALL = 'for package in "$@"; do echo "$package" >>"$FAKES/installed"; done\n'
OFFLINE = """echo "W: Failed to fetch http://deb.example/x  Temporary failure resolving 'deb.example'"
echo "E: Unable to fetch some archives, maybe run apt-get update?"
exit 100
"""
ONLY_USEFUL = ("libdnnl-dev", "ca-certificates", "valgrind", "qemu-user", "python3-venv")
TEXT = (support.ROOT / "apt-packages.txt").read_text()
PACKAGES = re.findall(r"^[^#\s]+", TEXT, re.MULTILINE)


class PackagesTest(ScriptTest):
    def setUp(self):
        super().setUp()
        for name in COMMANDS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.fake("dpkg-query", 'grep -qx "${@: -1}" "$FAKES/installed" && echo "ii "')
        self.fake("apt-get", APT_GET)
        self.fake("id", "echo 0")

    def prepare(self, missing, on_install=INSTALL_ALL):
        self.assertFalse(set(missing) - set(PACKAGES), "no such package")
        (self.folder / "installed").write_text("".join(f"{name}\n" for name in PACKAGES if name not in missing))
        (self.folder / "on_install").write_text(on_install)

    def start_script(self, *sets):
        return self.start([SCRIPT, *sets], env={"PATH": str(self.bin), "FAKES": str(self.folder), "CXX": "",
                                                "TMPDIR": str(self.folder), "SSL_CERT_FILE": str(self.folder / "none")})

    def run_script(self, *sets, code=0):
        """Its output, stdout and stderr together."""
        script = self.start_script(*sets)
        self.assert_exit(script, code)
        return script.stdout + script.stderr

    def test_without_root_it_goes_on_where_all_that_is_needed_is_there_in_some_way(self):
        self.fake("id", "echo 1000")
        libraries = [name for name in PACKAGES if name.endswith("-dev")]
        self.assertGreater(len(libraries), 8)
        no_password = 'echo "sudo: a password is required" >&2; exit 1'
        for missing, sets, fakes, code, says in (
                ((), (), {}, 0, "are installed"),
                (("catch2", *ONLY_USEFUL[2:]), ("build", "run"), {}, 0, "(build run) are installed"),
                (("catch2",), (), {}, 1, "catch2"),
                (("meson", "libzmq3-dev", "valgrind"), ("build", "run"), {"sudo": no_password}, 1,
                 "an administrator for: apt-get install --no-install-recommends meson libzmq3-dev\n"),
                (ONLY_USEFUL, (), {}, 0, "Without libdnnl-dev the program computes"),
                (("g++", "meson", "ninja-build"), ("build",), {"c++": "", "meson": "", "ninja": ""}, 0, "installed"),
                (("libzmq3-dev", "libcereal-dev"), ("build",),
                 {"pkg-config": '[ "$*" = "--exists libzmq" ]', "c++": "grep -q cereal/cereal.hpp"}, 0, "installed"),
                (libraries, ("build",), {"pkg-config": "", "c++": ""}, 0, "installed")):
            with self.subTest(missing=missing):
                self.prepare(missing)
                for name, text in fakes.items():
                    self.fake(name, text)
                self.assertIn(says, self.run_script(*sets, code=code))
                for name in fakes:
                    (self.bin / name).unlink()
        self.assertFalse((self.folder / "calls").exists())

    def test_apt_installs_what_is_missing_by_sudo_where_there_is_one_and_its_lines_go_to_a_log(self):
        self.fake("id", "echo 1000")
        self.fake("sudo", '[ "$1" != -n ] || shift; echo sudo >>"$FAKES/calls"; "$@"')
        self.fake("true", "")
        self.prepare(["g++", "catch2"])
        said = self.run_script("build", "run")
        log = next(self.folder.glob("distmnist-apt-*.log"))
        self.assertLess(len(said.splitlines()), 6, said)
        self.assertIn(f"goes to {log}", said)
        self.assertIn("Get:599", log.read_text())
        calls = (self.folder / "calls").read_text().splitlines()
        self.assertIn("sudo", calls)
        self.assertTrue(calls[-1].endswith("install --no-install-recommends g++"), calls)

    def test_why_apt_failed_is_said_and_only_what_is_needed_makes_it_a_failure(self):
        no_onednn = 'if [[ "$*" == *libdnnl* ]]; then echo "E: Unable to locate package"; exit 100; fi\n' + INSTALL_ALL
        for missing, on_install, code, says in (
                (["g++"], OFFLINE, 1, "no network: apt reached no package server"),
                (["libdnnl-dev"], OFFLINE, 0, "no network"),
                (["g++", "libdnnl-dev"], no_onednn, 0, "Without libdnnl-dev"),
                (["g++"], 'echo "E: You don\'t have enough free space in /var"; exit 100', 7, "the disk is full"),
                (["g++"], 'echo "E: Could not get lock /var/lib/x."; exit 100', 1, "another apt"),
                (["g++"], 'echo "E: Unable to locate package g++"; exit 100', 1, "E: Unable to locate package g++")):
            with self.subTest(says=says):
                self.prepare(missing, on_install)
                said = self.run_script("build", code=code)
                self.assertIn(says, said)
                self.assertNotIn("Get:", said)
                self.assertEqual("no network" in said, on_install == OFFLINE)
                self.assertEqual("g++\n" in (self.folder / "installed").read_text(), code == 0)

    def test_an_interrupt_ends_it_with_one_line(self):
        self.prepare(["g++"], 'touch "$FAKES/at_work"; exec sleep 60')
        script = self.start_script("build")
        support.wait_until((self.folder / "at_work").exists, "apt to be at work")
        os.killpg(script.pid, signal.SIGINT)
        self.assert_fails(script, 130, r"interrupted; the same command continues")
        self.assertEqual(script.stderr.count("interrupted"), 1)

    def test_every_package_is_in_one_of_the_sets_and_another_set_is_refused(self):
        self.assertEqual(len(PACKAGES), len(set(PACKAGES)))
        self.assertEqual(re.findall(r"^# ([a-z]+):", TEXT, re.MULTILINE),
                         ["build", "run", "test", "fuzz", "reliability", "style"])
        self.prepare([])
        self.assertIn("'tests' is not a set of packages", self.run_script("tests", code=2))


if __name__ == "__main__":
    support.main()
