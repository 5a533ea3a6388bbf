"""launch/build.py on a small checkout, with the real meson and ninja: what it makes anew, and one sentence for what fails."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import signal
import unittest

from script_case import support
import terminal
import tiny_checkout

CANNOT_BE_MADE = "the build folder .* cannot be made .Permission denied.*--build_dir DIR"
OF_ANOTHER_USER = "cannot be written to .Permission denied: .* belongs to root.*--build_dir DIR"
AS_ROOT = os.geteuid() == 0 and shutil.which("setpriv")


class BuildTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.checkout = tiny_checkout.make(self.folder / "a checkout, größer")
        self.build_dir = self.checkout / "build"
        self.bin = self.folder / "bin"
        self.bin.mkdir()

    def build(self, *arguments, checkout=None, before=(), env=None):
        environment = {"PATH": tiny_checkout.path_with(self.bin), "PYTHONDONTWRITEBYTECODE": "1", "CCACHE_DISABLE": "1",
                       **(env or {})}
        return self.start([*before, (checkout or self.checkout) / "launch" / "build.py", *arguments], env=environment)

    def assert_builds(self, *arguments, says="^build: ", **options):
        build = self.build(*arguments, **options)
        self.assert_exit(build, 0)
        self.assertRegex(build.stderr, says)
        self.assertNotIn("Traceback", build.stderr)
        return build

    def assert_refused(self, build, code, says):
        """One sentence of ours, and no traceback of others."""
        self.assert_fails(build, code, says)
        self.assertNotIn("Traceback", build.stderr)
        self.assertRegex(build.stderr.splitlines()[-1], "^build: ")

    def fake(self, name, text):
        return tiny_checkout.write_script(self.bin / name, text)

    def fake_compiler(self, text):
        """CXX for a compiler that is the real one, except that it does `text` when it compiles the program."""
        real = shutil.which("c++")
        compiler = self.fake("tiny-c++", f'if [[ "$*" == *" -c "*distmnist.cc* ]]; then {text}; fi\nexec {real} "$@"\n')
        return {"CXX": str(compiler)}

    def program_runs(self, build_dir=None):
        process = self.start([(build_dir or self.build_dir) / "tools" / "distmnist"])
        self.assert_exit(process, 0)


class WholeTest(BuildTest):
    def test_it_builds_and_says_how_long_it_takes_and_then_that_nothing_is_left(self):
        self.assert_builds(says=r"2 steps, less than a minute on \d+ processors")
        self.program_runs()
        self.assert_builds(says="is up to date")

    def test_options_reach_a_folder_that_is_configured_already(self):
        self.assert_builds()
        self.assert_builds("-Dwerror=true", "-Dtests=false", "all")
        options = json.loads((self.build_dir / "meson-info" / "intro-buildoptions.json").read_text())
        values = {option["name"]: option["value"] for option in options}
        self.assertEqual((values["werror"], values["buildtype"]), (True, "release"))
        stamp = (self.build_dir / "build.ninja").stat().st_mtime_ns
        self.assert_builds("-Dwerror=true", "all")
        self.assertEqual((self.build_dir / "build.ninja").stat().st_mtime_ns, stamp, "configured again for nothing")

    def test_two_builds_of_one_folder_come_one_after_the_other(self):
        builds = [self.build() for _ in range(3)]
        for build in builds:
            self.assert_exit(build, 0)
        self.assertEqual(sum("2 steps" in build.stderr for build in builds), 1)
        self.program_runs()

    def test_a_build_that_does_not_end_is_not_waited_for_for_ever(self):
        self.build_dir.mkdir()
        with open_folder(self.build_dir) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            build = self.build("--lock_wait_s", "0.3")
            self.assert_refused(build, 6, "another build was still running in .* after 0.3 s: wait for it to end")
            self.assertIn("another build is running in", build.stderr)

    def test_on_a_terminal_the_progress_is_one_line(self):
        shown = terminal.Terminal([self.checkout / "launch" / "build.py"], env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.addCleanup(shown.close)
        self.assertEqual(shown.finish(), 0)
        self.assertIn(b"\r\033[K[1/2] Compiling", shown.written)
        self.assertFalse([line for line in shown.lines() if "Compiling" in line or "Linking" in line], shown.lines())


class AnewTest(BuildTest):
    def setUp(self):
        super().setUp()
        self.assert_builds()
        (self.build_dir / "notes of mine").write_text("kept")

    def assert_made_anew(self, says, checkout=None):
        checkout = checkout or self.checkout
        build = self.assert_builds(says=says + ".*: it is set up again", checkout=checkout)
        self.assertIn("2 steps", build.stderr)
        self.program_runs(checkout / "build")
        self.assertEqual((checkout / "build" / "notes of mine").read_text(), "kept")

    def test_copied_and_renamed_checkouts_build_their_own_sources(self):
        copy, moved = self.folder / "copy", self.folder / "moved"
        shutil.copytree(self.checkout, copy)
        self.assert_made_anew("was made for .*a checkout", copy)
        self.checkout.rename(self.folder / "gone")
        self.assert_builds(checkout=copy, says="is up to date")
        copy.rename(moved)
        self.assert_made_anew("was made for .*copy", moved)

    def test_folders_that_are_of_no_use_are_made_anew(self):
        for damage, says in ((self.other_meson, "was made by meson 1.99.3, but this is"),
                             (lambda: (self.build_dir / "build.ninja").unlink(), "was left half configured"),
                             (lambda: (self.build_dir / "meson-private" / "coredata.dat").unlink(), "was left half configured"),
                             (lambda: (self.build_dir / "build.ninja").write_text("rule of nothing\n"), "is damaged"),
                             (lambda: (self.build_dir / "meson-info" / "meson-info.json").write_text("{"), "is damaged"),
                             (self.no_ccache, "was made with gone-ccache, which is missing here"),
                             (self.no_library, "is damaged .*libx.so.* missing and no known rule")):
            with self.subTest(says=says):
                damage()
                self.assert_made_anew(says)

    def other_meson(self):
        path = self.build_dir / "meson-info" / "meson-info.json"
        info = json.loads(path.read_text())
        info["meson_version"]["full"] = "1.99.3"
        path.write_text(json.dumps(info))

    def no_ccache(self):
        path = self.build_dir / "build.ninja"
        lines = path.read_text().splitlines(keepends=True)
        place = lines.index("rule cpp_COMPILER\n") + 1
        lines[place] = lines[place].replace("command = ", "command = gone-ccache ")
        path.write_text("".join(lines))

    def no_library(self):
        path = self.build_dir / "build.ninja"
        text = path.read_text()
        self.assertIn("build tools/distmnist: cpp_LINKER ", text)
        path.write_text(text.replace("tools/distmnist: cpp_LINKER ", "tools/distmnist: cpp_LINKER /gone/libx.so "))

    def test_what_meson_mends_by_itself_is_no_fault(self):
        (self.build_dir / "meson-private" / "coredata.dat").write_text("no pickle")
        os.utime(self.checkout / "meson.build")  # so that meson has a look
        self.assert_builds()
        self.program_runs()

    def test_clean_builds_everything_again_and_keeps_what_is_not_its_own(self):
        self.assertIn("2 steps", self.assert_builds("--clean").stderr)
        self.assertTrue((self.build_dir / "notes of mine").exists())


class FailureTest(BuildTest):
    def test_what_the_compiler_says_is_shown_whole(self):
        (self.checkout / "tools" / "distmnist.cc").write_text("int main() { return nothing; }\n")
        build = self.build()
        self.assert_refused(build, 1, "not built: the messages above say why")
        self.assertIn("'nothing' was not declared in this scope", build.stderr.replace("‘", "'").replace("’", "'"))

    def test_a_full_disk(self):
        env = self.fake_compiler('echo "fatal error: error writing to x.o: No space left on device" >&2; exit 1')
        build = self.build(env=env)
        self.assert_refused(build, 7, r"the disk of .* is full: make room")

    def test_memory_that_runs_out(self):
        env = self.fake_compiler('echo "c++: fatal error: Killed signal terminated program cc1plus" >&2; exit 1')
        self.assert_refused(self.build(env=env), 7, "memory ran out while compiling: with --jobs 1")

    def test_an_old_meson(self):
        self.fake("meson", "echo 0.61.2\n")
        self.assert_refused(self.build(), 5, r"meson 0\.61\.2 .* is too old: 1\.0 or newer is needed")

    def test_a_missing_or_broken_meson(self):
        self.fake("meson", "echo no module mesonbuild >&2; exit 1\n")
        self.assert_refused(self.build(), 1, "meson does not work .no module mesonbuild.")
        (self.bin / "env").symlink_to(shutil.which("env"))
        (self.bin / "python3").symlink_to(sys.executable)
        (self.bin / "meson").unlink()
        self.assert_refused(self.build(env={"PATH": str(self.bin)}), 1, "there is no meson: launch/install_packages.sh")

    def test_a_compiler_that_does_not_work(self):
        self.assert_refused(self.build(env={"CXX": str(self.fake("broken", "exit 1\n"))}), 1,
                            "there is no C.. compiler that works: launch/install_packages.sh")

    def test_an_old_compiler(self):
        real = shutil.which("g++")
        old = self.fake("old", f'if [[ "$*" == *-dM* ]]; then {real} "$@" | sed "s/^#define __GNUC__ .*/#define __GNUC__ 7/"\n'
                               f'else exec {real} "$@"; fi\n')
        build = self.build("--build_dir", self.build_dir, checkout=support.ROOT, env={"CXX": str(old)})
        self.assert_refused(build, 5, r"compiler \(gcc 7\.[\d.]+\) is too old: gcc 12 or newer is needed; CXX names another")

    def test_a_missing_library(self):
        with open(self.checkout / "meson.build", "a") as file:
            file.write("dependency('no_such_library_here')\n")
        self.assert_refused(self.build(), 1, 'Dependency "no_such_library_here" not found.*: launch/install_packages.sh')
        self.assertFalse((self.build_dir / "tools" / "distmnist").exists())

    def test_a_missing_library_does_not_cost_what_is_built(self):
        self.assert_builds()
        with open(self.checkout / "meson.build", "a") as file:
            file.write("dependency('no_such_library_here')\n")
        build = self.build()
        self.assert_refused(build, 1, 'Dependency "no_such_library_here" not found')
        self.assertNotIn("anew", build.stderr)
        self.assertTrue((self.build_dir / "tools" / "distmnist").exists())

    def test_wrong_words_on_the_command_line(self):
        for arguments, says in ((["no_such_target"], "unknown target 'no_such_target'"),
                                (["-Dno_such_option=1"], "no_such_option"), (["-Dbuildtype=fastest"], "fastest"),
                                (["--build_dir", self.checkout], "is the checkout itself")):
            with self.subTest(arguments=arguments):
                self.assert_refused(self.build(*arguments), 2, says)

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
                checkout = tiny_checkout.make(self.folder / name)
                self.assert_builds(checkout=checkout)
                self.program_runs(checkout / "build")
        latin = self.folder / os.fsdecode(b"gr\xf6\xdfer")
        self.assert_refused(self.build("--build_dir", latin), 2, "is not UTF-8, which meson cannot build in: rename")

    def test_a_file_in_the_place_of_the_folder(self):
        self.build_dir.write_text("")
        self.assert_refused(self.build(), 2, "cannot be a build folder")

    @unittest.skipUnless(AS_ROOT, "only root can become another user")
    def test_a_read_only_checkout_and_the_folder_of_another_user(self):
        self.folder.chmod(0o755)
        before = tiny_checkout.as_nobody([])
        self.assert_refused(self.build(before=before), 2, CANNOT_BE_MADE)
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        elsewhere.chmod(0o777)
        self.assert_builds("--build_dir", elsewhere / "b", before=before)
        self.program_runs(elsewhere / "b")
        self.assert_builds()
        self.assert_refused(self.build(before=before), 2, OF_ANOTHER_USER)
        self.build_dir.chmod(0o777)
        self.assert_refused(self.build(before=before), 2, OF_ANOTHER_USER)


class InterruptTest(BuildTest):
    def start_slow(self, **options):
        started = self.folder / "started"
        env = self.fake_compiler(f"touch '{started}'; [ -e '{self.folder}/quick' ] || exec sleep 600")
        build = self.build(env=env, **options)
        support.wait_until(started.exists, "the compiler to be at work")
        return build

    def assert_interrupted(self, build, code=130):
        self.assert_refused(build, code, "(interrupt|terminated): the same command continues where it stopped")
        support.wait_until(lambda: not tiny_checkout.processes_of(self.folder), "all processes to be gone", 15)

    def test_ctrl_c_while_it_compiles(self):
        build = self.start_slow()
        os.killpg(build.pid, signal.SIGINT)
        self.assert_interrupted(build)
        (self.folder / "quick").touch()
        self.assert_builds(says=r"[12] steps?")
        self.program_runs()

    def test_a_signal_to_it_alone(self):
        build = self.start_slow()
        build.send(signal.SIGTERM)
        self.assert_interrupted(build, 143)

    def test_a_killed_build_leaves_no_compiler(self):
        build = self.start_slow()
        build.send(signal.SIGKILL)
        support.wait_until(lambda: not tiny_checkout.processes_of(self.folder), "all processes to be gone", 15)

    def test_ctrl_c_while_it_configures(self):
        real, started = shutil.which("meson"), self.folder / "started"
        self.fake("meson", f'if [ "$1" = setup ]; then {real} "$@"; rm "$2/build.ninja"; touch "{started}"; sleep 600; fi\n'
                           f'exec {real} "$@"\n')
        build = self.build()
        support.wait_until(started.exists, "meson to be at work")
        os.killpg(build.pid, signal.SIGINT)
        self.assert_interrupted(build)
        (self.bin / "meson").unlink()
        self.assert_builds(says="half configured: it is set up again")


@contextlib.contextmanager
def open_folder(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


if __name__ == "__main__":
    support.main()
