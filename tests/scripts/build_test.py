"""launch/build.py on a small checkout, with the real meson and ninja: what it makes anew, and how it fails."""

import fcntl
import json
import os
import re
import shutil
import signal
import sys
import unittest

from script_case import support
import tiny_checkout

FULL = "fatal error: error writing to x.o: No space left on device"
KILLED = "c++: fatal error: Killed signal terminated program cc1plus"


class BuildTest(tiny_checkout.CheckoutTest):
    def build(self, *arguments, checkout=None, before=(), **env):
        script = (checkout or self.checkout) / "launch" / "build.py"
        return self.start([*before, script, *arguments], env={**self.environment, **env})

    def assert_builds(self, *arguments, says="^build: ", checkout=None):
        build = self.build(*arguments, checkout=checkout)
        self.assert_fails(build, 0, says)
        self.assertNotIn("Traceback", build.stderr)
        self.finish([(checkout or self.checkout) / "build" / "tools" / "distmnist"])
        return build.stderr

    def assert_refused(self, build, code, says):
        """One sentence of ours at the end, and no traceback."""
        self.assert_fails(build, code, says)
        self.assertNotIn("Traceback", build.stderr)
        self.assertRegex(build.stderr.splitlines()[-1], "^build: ")

    def fake_compiler(self, text):
        """CXX for the real compiler, except that it does `text` when it compiles the program."""
        return str(self.fake("tiny-c++", f'if [[ "$*" == *" -c "*distmnist-unity0.cpp ]]; then {text}; fi\n'
                                         f'exec {shutil.which("c++")} "$@"\n'))


class WholeTest(BuildTest):
    def test_options_reach_a_folder_that_is_configured_already_and_nothing_is_done_twice(self):
        self.assert_builds(says=r"2 steps, less than a minute")
        self.assert_builds(says="is up to date")
        self.assert_builds("-Dwerror=true", "all")
        options = json.loads((self.build_dir / "meson-info" / "intro-buildoptions.json").read_text())
        values = {option["name"]: option["value"] for option in options}
        self.assertEqual((values["werror"], values["buildtype"], values["unity"]), (True, "release", "on"))
        stamp = (self.build_dir / "build.ninja").stat().st_mtime_ns
        self.assert_builds("-Dwerror=true", "all")
        self.assertEqual((self.build_dir / "build.ninja").stat().st_mtime_ns, stamp, "configured again for nothing")

    def test_two_builds_of_one_folder_come_one_after_the_other(self):
        builds = [self.build() for _ in range(3)]
        for build in builds:
            self.assert_exit(build, 0)
        self.assertEqual(sum("2 steps" in build.stderr for build in builds), 1)

    def test_a_build_that_does_not_end_is_not_waited_for_for_ever(self):
        self.build_dir.mkdir()
        handle = os.open(self.build_dir, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self.assert_refused(self.build("--lock_wait_s", "0.3"), 6, "another build was still running in .* after 0.3 s")


class AnewTest(BuildTest):
    def setUp(self):
        super().setUp()
        self.assert_builds()
        (self.build_dir / "notes of mine").write_text("kept")

    def assert_made_anew(self, *arguments, says, checkout=None):
        checkout = checkout or self.checkout
        self.assertIn("2 steps", self.assert_builds(*arguments, says=says, checkout=checkout))
        self.assertEqual((checkout / "build" / "notes of mine").read_text(), "kept")

    def test_copied_and_renamed_checkouts_build_their_own_sources(self):
        copy, moved = self.folder / "copy", self.folder / "moved"
        shutil.copytree(self.checkout, copy)
        self.assert_made_anew(says="was made for .*a checkout.*: it is set up again", checkout=copy)
        self.checkout.rename(self.folder / "gone")
        self.assert_builds(checkout=copy, says="is up to date")
        copy.rename(moved)
        self.assert_made_anew(says="was made for .*copy.*: it is set up again", checkout=moved)

    def test_folders_that_are_of_no_use_are_made_anew(self):
        everything = r"(?s)\A.*\Z"
        for name, replaced, text, says in (
                ("meson-info/meson-info.json", r'"full": "[^"]+"', '"full": "1.99.3"', "was made by meson 1.99.3, but"),
                ("meson-private/coredata.dat", None, None, "was left half configured"),
                ("build.ninja", None, None, "was left half configured"),
                ("build.ninja", everything, "rule of nothing\n", "is damaged"),
                ("build.ninja", r"rule cpp_COMPILER\n command = ", r"\g<0>gone-ccache ", "was made with gone-ccache"),
                ("build.ninja", r"build tools/distmnist: cpp_LINKER ", r"\g<0>/gone/libx.so ", "is damaged .*libx.so")):
            with self.subTest(says=says):
                path = self.build_dir / name
                if replaced:
                    damaged, count = re.subn(replaced, text, path.read_text())
                    self.assertGreater(count, 0)
                    path.write_text(damaged)
                else:
                    path.unlink()
                self.assert_made_anew(says=says + ".*: it is set up again")

    def test_clean_builds_everything_again_and_keeps_what_is_not_its_own(self):
        self.assert_made_anew("--clean", says="2 steps")


class FailureTest(BuildTest):
    def test_why_the_compiler_failed_is_shown_and_a_full_disk_or_memory_is_told_apart(self):
        for said, code, says in (("x.cc:1: error: nothing", 1, "not built: the messages above say why"),
                                 (FULL, 7, "the disk of .* is full: make room"),
                                 (KILLED, 7, "memory ran out while compiling")):
            with self.subTest(says=says):
                build = self.build(CXX=self.fake_compiler(f'echo "{said}" >&2; exit 1'))
                self.assert_refused(build, code, says)
                self.assertIn(said, build.stderr)

    def test_tools_that_are_missing_broken_or_old(self):
        self.assert_refused(self.build(CXX=str(self.fake("broken", "exit 1"))), 1, "there is no C.. compiler")
        for text, code, says in (("echo 0.61.2", 5, r"meson 0\.61\.2 .* is too old: 1\.0 or newer"),
                                 ("echo no module >&2; exit 1", 1, "meson does not work .no module.")):
            with self.subTest(meson=text):
                self.fake("meson", text)
                self.assert_refused(self.build(), code, says)
        (self.bin / "env").symlink_to(shutil.which("env"))
        (self.bin / "python3").symlink_to(sys.executable)
        (self.bin / "meson").unlink()
        self.assert_refused(self.build(PATH=str(self.bin)), 1, "there is no meson: launch/install_packages.sh")

    def test_a_missing_library_or_an_old_compiler_does_not_cost_what_is_built(self):
        self.assert_builds()
        text = (self.checkout / "meson.build").read_text()
        for line, code, says in (("error('gcc 7 is too old: take gcc 12')", 5, "gcc 7 is too old: take gcc 12"),
                                 ("dependency('no_such_thing')", 1, '"no_such_thing" not found.*: launch/install_')):
            with self.subTest(line=line):
                (self.checkout / "meson.build").write_text(text + line)
                build = self.build()
                self.assert_refused(build, code, says)
                self.assertTrue((self.build_dir / "tools" / "distmnist").exists(), build.tail())

    def test_wrong_words_on_the_command_line(self):
        file = self.folder / "file"
        file.write_text("")
        latin = self.folder / os.fsdecode(b"gr\xf6\xdfer")
        for argument, says in (("no_such_target", "unknown target 'no_such_target'"), ("-Dno_such_option=1", "no_such"),
                               ("-Dbuildtype=fastest", "fastest"), (f"--build_dir={self.checkout}", "checkout itself"),
                               (f"--build_dir={file}", "cannot be a build folder"),
                               (f"--build_dir={latin}", "is not UTF-8")):
            with self.subTest(argument=argument):
                self.assert_refused(self.build(argument), 2, says)

    def test_a_folder_of_other_things_is_left_alone(self):
        mine = self.folder / "mine"
        (mine / "data").mkdir(parents=True)
        for flags in ([], ["--clean"]):
            build = self.build("--build_dir", mine, *flags)
            self.assert_refused(build, 2, "mine is not a build folder and not empty .data.*--build_dir")
        self.assertEqual([path.name for path in mine.iterdir()], ["data"])

    def test_odd_paths(self):
        for name in ("a'b $c", 'a:"d"#e', "-x;&\\%"):
            with self.subTest(name=name):
                self.assert_builds(checkout=tiny_checkout.make(self.folder / name))

    @unittest.skipUnless(tiny_checkout.CAN_CHANGE_USER, "only root can become another user")
    def test_the_folder_of_another_user(self):
        self.folder.chmod(0o755)
        self.assert_builds()
        for mode in (0o755, 0o777):
            self.build_dir.chmod(mode)
            build = self.build(before=tiny_checkout.AS_NOBODY)
            self.assert_refused(build, 2, "cannot be written to .*belongs to root")


class InterruptTest(BuildTest):
    def start_slow(self):
        self.fake_slow("sleep-for-ever")
        build = self.build(CXX=self.fake_compiler(f'[ -e "{self.folder}/quick" ] || exec "{self.bin}/sleep-for-ever"'))
        self.wait_for_slow()
        return build

    def assert_interrupted(self, build, code=130):
        self.assert_refused(build, code, "(interrupt|terminated): the same command continues where it stopped")
        self.assert_nothing_runs()

    def test_ctrl_c_while_it_compiles(self):
        build = self.start_slow()
        os.killpg(build.pid, signal.SIGINT)
        self.assert_interrupted(build)
        (self.folder / "quick").touch()
        self.assert_builds(says=r"[12] steps?")

    def test_a_signal_to_it_alone_leaves_no_compiler(self):
        build = self.start_slow()
        build.send(signal.SIGTERM)
        self.assert_interrupted(build, 143)
        (self.folder / "at_work").unlink()
        build = self.start_slow()
        build.send(signal.SIGKILL)
        self.assert_nothing_runs()

    def test_ctrl_c_while_it_configures(self):
        self.fake_slow("meson", then=f'[ "$1" = --version ] && exec {shutil.which("meson")} "$@"\n'
                                     f'{shutil.which("meson")} "$@"; rm "$2/build.ninja"; touch "{self.folder}/half"; ')
        build = self.build()
        support.wait_until((self.folder / "half").exists, "meson to be at work")
        os.killpg(build.pid, signal.SIGINT)
        self.assert_interrupted(build)
        (self.bin / "meson").unlink()
        self.assert_builds(says="half configured: it is set up again")


if __name__ == "__main__":
    support.main()
