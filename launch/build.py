#!/usr/bin/env python3
"""Builds the program: configures the build folder if necessary, compiles, and shows progress.

  launch/build.py                                   build/tools/distmnist, a release build
  launch/build.py -Dcuda=enabled --build_dir DIR    with options of meson (meson_options.txt), in a different folder
  launch/build.py -Dtests=true all                  also the tests

A new folder compiles the sources of each library as one (meson's unity builds), which takes a third of the time. With
-Dunity=off each source is compiled alone, which is faster after a change to one of them.

The same command continues where the last one stopped. A build folder that cannot be used as it is (from a checkout that
was copied or renamed, from a different meson, half configured) is set up again. Two builds in one folder run one after
the other.

Exit codes: 0 built, 1 not built (the compiler's messages contain the reason), 2 command line, or a folder that cannot
be written to, 5 meson or compiler too old, 6 another build does not end, 7 out of disk or memory, 130 interrupted.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from build_folder import EXIT_FAILED, EXIT_FULL, EXIT_USAGE, BuildError, BuildFolder, full_disk, is_nearly_full
from build_output import BuildOutput, say
from build_process import Interrupted, heed_signals, run

EXIT_VERSION = 5

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "tools/distmnist"
CUDA_MODULE = "lib/libdistmnist_cuda.so"
LOCK_WAIT_S = 1800
STEP_S = 2.7  # per step on one processor, approximately
INSTALL = "launch/install_packages.sh build run, as root or with sudo, installs what a build needs"

FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
OUT_OF_MEMORY = re.compile(r"Killed signal terminated program|fatal error: Killed|virtual memory exhausted"
                           r"|Cannot allocate memory|out of memory allocating")
# The folder is damaged, not the source that is built in it.
DAMAGED = re.compile(r"^Traceback|Unhandled python exception|is corrupted|is incompatible|missing and no known rule"
                     r"|^ninja: error: (loading )?'?build\.ninja|manifest 'build.ninja' still dirty", re.MULTILINE)


class DamagedFolder(Exception):
    """Building failed in a way that may not happen in a new folder."""


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="launch/build.py [flags] [-Doption=value ...] [TARGET ...]")
    parser.add_argument("--build_dir", "--build-dir", default=ROOT / "build", metavar="DIR",
                        help="the build folder (build/ in the checkout)")
    parser.add_argument("--clean", action="store_true", help="remove earlier results, then build")
    parser.add_argument("--jobs", type=int, metavar="N", help="parallel compilers (the number of processors plus two)")
    parser.add_argument("--lock_wait_s", "--lock-wait-s", type=float, default=LOCK_WAIT_S, metavar="S",
                        help=f"seconds to wait for another build in the folder ({LOCK_WAIT_S})")
    parser.add_argument("-D", action="append", default=[], dest="options", metavar="OPTION=VALUE", help="an option of meson")
    parser.add_argument("targets", nargs="*", metavar="TARGET",
                        help=f"what to build ({PROGRAM}, and the CUDA module if CUDA is installed); all: everything")
    options = parser.parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: it must be 1 or more")
    if not options.lock_wait_s >= 0:
        parser.error(f"--lock_wait_s {options.lock_wait_s}: it must be 0 or more")
    for option in options.options:
        if "=" not in option:
            parser.error(f"-D{option}: an option of meson has a value, as in -Dwerror=true")
    return options


# Tools ----------------------------------------------------------------------------------------------------------------


def find_meson():
    """(the command, its version). meson.build contains the required version."""
    path = shutil.which("meson")
    if not path:
        raise BuildError(f"there is no meson: {INSTALL}")
    result = subprocess.run([path, "--version"], capture_output=True, text=True)
    version = result.stdout.strip()
    if result.returncode != 0 or not re.match(r"\d+\.\d+", version):
        last = (result.stderr.strip().splitlines() or ["it prints no version"])[-1]
        raise BuildError(f"{path} does not work ({last})")
    wanted = re.search(r"meson_version: '>=([\d.]+)'", (ROOT / "meson.build").read_text()).group(1)
    if numbers(version) < numbers(wanted):
        raise BuildError(f"meson {version} ({path}) is too old: {wanted} or newer is needed, which Debian 12, Ubuntu 24.04 "
                         "and PyPI have", EXIT_VERSION)
    return [path], version


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)[:2]]


def find_ninja():
    for name in ("ninja", "ninja-build", "samu"):
        if shutil.which(name):
            return name
    raise BuildError(f"there is no ninja: {INSTALL}")


# Configuring ----------------------------------------------------------------------------------------------------------


def configure(folder, meson, ninja, options):
    """Prepares the folder for ninja, with these options of meson."""
    given = dict(option.split("=", 1) for option in options)
    if not folder.configured():
        settings = {"buildtype": "release", "unity": "on", **given}
        flags = [f"-D{name}={value}" for name, value in settings.items()]
        output = quiet([*meson, "setup", folder.path, ROOT, *flags], folder)
        for line in re.findall(r"^C\+\+ compiler for the host machine: (.*)$", output, re.MULTILINE):
            say(f"configured {folder.path}: {line}")
        return
    have = folder.options()
    changed = [f"-D{name}={value}" for name, value in given.items() if have.get(name) != value]
    if changed:
        quiet([*meson, "configure", folder.path, *changed], folder)
    quiet([ninja, "-C", folder.path, "build.ninja"], folder)  # runs meson again if its files have changed


def quiet(command, folder):
    """Runs meson and returns its output, which is shown only if it fails."""
    lines = []
    code = run(command, lines.append)
    output = "\n".join(lines)
    if code != 0:
        raise why_not_configured(output, folder)
    return output


def why_not_configured(output, folder):
    trouble = out_of_disk_or_memory(output, folder)
    if trouble:
        return trouble
    errors = re.findall(r"^(?:.*:\d+:\d+: )?ERROR: (.*)$", output, re.MULTILINE)
    log = folder.path / "meson-logs" / "meson-log.txt"
    if not errors and DAMAGED.search(output):
        return DamagedFolder(last_line(output))
    message = errors[0].rstrip(".") if errors else last_line(output)
    if DAMAGED.search(message):
        crash = re.findall(r"^\w+(?:Error|Exception): .*", output, re.MULTILINE)
        return DamagedFolder(crash[-1] if crash else message)
    if message.startswith("Unknown compiler"):
        named = os.environ.get("CXX")
        which = f" (CXX is {named})" if named else ""
        return BuildError(f"there is no C++ compiler that works{which}: {INSTALL} (meson's log: {log})")
    if "too old" in message:
        return BuildError(message, EXIT_VERSION)
    if "not found" in message:
        return BuildError(f"{message}: {INSTALL} (meson's log: {log})")
    usage = re.search(r"Unknown options?|is not one of the choices|not boolean|Value .* for (combo )?option", message)
    return BuildError(f"meson says: {message} (its log: {log})", EXIT_USAGE if usage else EXIT_FAILED)


def last_line(output):
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gives no reason"


# Compiling ------------------------------------------------------------------------------------------------------------


def compile_targets(folder, ninja, targets, jobs):
    command = [ninja, "-C", folder.path, *([f"-j{jobs}"] if jobs else []), *targets]
    steps = count_steps([ninja, "-C", folder.path, "-n", *targets], folder)
    if steps == 0:
        say(f"{folder.path} is up to date")
        return
    cores = len(os.sched_getaffinity(0))
    say(f"{steps} steps, {rough_time(steps * STEP_S / min(jobs or cores, cores))} on {cores} processors; Ctrl-C stops it, "
        "and the same command continues")
    output = BuildOutput()
    try:
        code = run(command, output.line, {"NINJA_STATUS": "[%f/%t] ", **output.environment()})
    finally:
        output.end()
    if code != 0:
        raise why_not_built(output.text(), folder)


def count_steps(command, folder):
    lines = []
    if run(command, lines.append, {"NINJA_STATUS": "[%f/%t] "}) != 0:
        raise why_not_built("\n".join(lines), folder)
    totals = [re.match(r"\[\d+/(\d+)\]", line) for line in lines]
    return max((int(total.group(1)) for total in totals if total), default=0)


def rough_time(seconds):
    return "less than a minute" if seconds < 50 else f"about {round(seconds / 60)} minute{'s' if seconds >= 90 else ''}"


def why_not_built(output, folder):
    trouble = out_of_disk_or_memory(output, folder)
    if trouble:
        return trouble
    if DAMAGED.search(output):
        return DamagedFolder(last_line(output))
    if "unknown target" in output:
        return BuildError(re.search(r"unknown target.*", output).group(0), EXIT_USAGE)
    if "FAILED: " in output:
        return BuildError("not built: the messages above say why; once that is fixed, the same command continues where it "
                          "stopped")
    return BuildError(f"not built: {last_line(output)}")


def out_of_disk_or_memory(output, folder):
    scratch = os.environ.get("TMPDIR") or "/tmp"
    if FULL.search(output) or is_nearly_full(folder.path) or is_nearly_full(scratch):
        return full_disk(scratch if is_nearly_full(scratch) and not is_nearly_full(folder.path) else folder.path)
    if OUT_OF_MEMORY.search(output):
        return BuildError("memory ran out while compiling: with --jobs 1 it takes about 1 GB, and with -Dunity=off as well "
                          "about 700 MB", EXIT_FULL)
    return None


def is_utf8(path):
    try:
        os.fspath(path).encode()
        return True
    except UnicodeEncodeError:
        return False


# Main -------------------------------------------------------------------------------------------------------------


def build(options):
    folder = BuildFolder(options.build_dir)
    if folder.path == ROOT:
        raise BuildError(f"--build_dir {folder.path} is the checkout itself: name a separate folder", EXIT_USAGE)
    for path in (ROOT, folder.path):
        if not is_utf8(path):
            raise BuildError(f"the path {ascii(os.fspath(path))} is not UTF-8, which meson cannot build in: rename the folder",
                             EXIT_USAGE)
    meson, version = find_meson()
    ninja = find_ninja()
    folder.make()
    with folder.locked(options.lock_wait_s, say):
        if options.clean:
            folder.clear()
        reason = folder.why_anew(ROOT, version)
        if reason:
            say(f"{folder.path} {reason}: it is set up again")
            folder.clear()
        fresh = not folder.configured()
        try:
            configure_and_compile(folder, meson, ninja, options)
        except DamagedFolder as error:
            if fresh:
                raise BuildError(f"not built: {error}") from error
            say(f"{folder.path} is damaged ({error}): it is set up again")
            folder.clear()
            try:
                configure_and_compile(folder, meson, ninja, options)
            except DamagedFolder as again:
                raise BuildError(f"not built: {again}") from again


def default_targets(folder):
    """The program, and the CUDA module if it is configured."""
    rules = (folder.path / "build.ninja").read_text(errors="replace")
    return [target for target in (PROGRAM, CUDA_MODULE) if f"build {target}:" in rules] or [PROGRAM]


def configure_and_compile(folder, meson, ninja, options):
    configure(folder, meson, ninja, options.options)
    compile_targets(folder, ninja, options.targets or default_targets(folder), options.jobs)


def main(arguments):
    options = parse_arguments(arguments)
    heed_signals()
    try:
        build(options)
        return 0
    except BuildError as error:
        say(error)
        return error.code
    except Interrupted as interrupt:
        say(f"{signal.strsignal(interrupt.number).lower()}: the same command continues where it stopped")
        return 128 + interrupt.number
    except OSError as error:
        say(f"not built: {error}")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
