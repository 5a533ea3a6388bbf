#!/usr/bin/env python3
"""Counts the instructions of the program's own hot code (the parts of instruction_parts.cc) with valgrind, and prints
them beside the recorded ones. Unlike times they are the same on a busy machine, so a regression of a percent shows. A
report: it fails only where a count is missing.

    tests/bench/instructions.py [--build_dir build]            the table
    tests/bench/instructions.py [--build_dir build] --record   and makes the counts the recorded ones

The recorded counts are of a release build. Where compiler, C library, valgrind or the version of vector loops are not
those of the record, a line says so: the ratios are then of both.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

RECORD = pathlib.Path(__file__).with_name("instructions.json")
FUNCTION = "distmnist_counted"
PART_LIMIT_S = 600.0  # seconds of work, and other processes may want the same cores
MARKED = 0.01  # of the recorded count: what a ratio is away from 1 when it is marked

# All that a part sees of the machine. Binding every symbol at the start keeps the loader out of the counts, and the
# tunables have glibc take the same memcpy, exp and the like on every processor. Without "rep movsb" above all: valgrind
# counts an instruction for each of its bytes.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "LD_BIND_NOW": "1",
    "OMP_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-ERMS,-FSRM"
                      ":glibc.cpu.x86_non_temporal_threshold=16777216",
}


class MissingCount(Exception):
    """A part without a count; the message says which and why."""


class Program:
    """instruction_parts. It is called from its own folder, so that the length of a path changes no stack."""

    def __init__(self, path, valgrind):
        self.path, self.valgrind = path.resolve(), valgrind

    def parts(self):
        return self._output([]).split()

    def settings(self):
        """What counts depend on, with the processor that valgrind shows."""
        lines = self._output([self.valgrind, "--tool=none", "-q"], ["--settings"]).splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        return {**settings, "libc": os.confstr("CS_GNU_LIBC_VERSION"),
                "valgrind": self._run([self.valgrind, "--version"]).stdout.strip()}

    def count(self, part):
        with tempfile.TemporaryDirectory() as folder:
            profile = pathlib.Path(folder) / "profile"
            result = self._run([self.valgrind, "-q", "--tool=callgrind", f"--toggle-collect={FUNCTION}",
                                f"--callgrind-out-file={profile}", f"./{self.path.name}", part])
            total = total_of(profile.read_text()) if profile.exists() else None
        if result.returncode != 0 or not total:
            raise MissingCount(f"{part} was not counted: code {result.returncode}; {result.stderr.strip()[-500:]}")
        return total

    def _output(self, before, arguments=()):
        result = self._run([*before, f"./{self.path.name}", *arguments])
        if result.returncode != 0:
            raise MissingCount(f"{self.path.name} failed with code {result.returncode}: {result.stderr.strip()[-500:]}")
        return result.stdout

    def _run(self, command):
        return subprocess.run(command, cwd=self.path.parent, env=ENVIRONMENT, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=PART_LIMIT_S, check=False)


def total_of(profile):
    """The instructions of a profile of callgrind; None where it has none."""
    found = re.search(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    return int(found.group(1)) if found else None


def read_record(path):
    """(settings, counts by part), both empty where nothing is recorded."""
    if not path.exists():
        return {}, {}
    record = json.loads(path.read_text())
    return record["settings"], record["instructions"]


def write_record(path, settings, counts):
    path.write_text(json.dumps({"settings": settings, "instructions": counts}, indent=2) + "\n")


def table(counts, recorded):
    """The lines of the table; a part may be in one of the two only."""
    lines = [f"{'part':<22} {'instructions':>13} {'recorded':>13} {'ratio':>8}"]
    for part in [*counts, *(part for part in recorded if part not in counts)]:
        now, before = counts.get(part), recorded.get(part)
        ratio = now / before if now and before else None
        mark = "" if ratio is None or abs(ratio - 1) < MARKED else "  MORE" if ratio > 1 else "  less"
        cells = [f"{value:,}" if value else "missing" for value in (now, before)]
        lines.append(f"{part:<22} {cells[0]:>13} {cells[1]:>13} {f'{ratio:.4f}' if ratio else '-':>8}{mark}")
    return lines


def differences(settings, recorded):
    """A line for each setting that is not the recorded one."""
    return [f"{name}: {settings.get(name)} here, {value} in the record; the ratios are of this, too."
            for name, value in recorded.items() if settings.get(name) != value]


def missing(counts, recorded):
    return sorted(set(counts) ^ set(recorded))


def report(program, options):
    """Prints the table; the exit code."""
    faults, counts = [], {}
    for part in program.parts():
        try:
            counts[part] = program.count(part)
        except (MissingCount, subprocess.TimeoutExpired) as error:
            faults.append(str(error))
    settings = program.settings()
    recorded_settings, recorded = read_record(options.record_file)
    print("\n".join(["Instructions, counted by valgrind:", *table(counts, recorded),
                     *differences(settings, recorded_settings), *faults]))
    if faults:
        return 1
    if options.record:
        write_record(options.record_file, settings, counts)
        print(f"{options.record_file.name} has these counts now.")
        return 0
    lacking = missing(counts, recorded)
    if lacking:
        print(f"Missing: {', '.join(lacking)}. `tests/bench/instructions.py --record` writes what is there now.")
    return 1 if lacking else 0


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build_dir", "--build-dir", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--record", action="store_true", help="write the counts to instructions.json")
    parser.add_argument("--record_file", type=pathlib.Path, default=RECORD, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    valgrind = shutil.which("valgrind", path=ENVIRONMENT["PATH"])
    if valgrind is None:
        print("Instructions are not counted: there is no valgrind (apt-packages.txt).")
        return 0
    path = options.build_dir / "tests" / "bench" / "instruction_parts"
    if not os.access(path, os.X_OK):
        print(f"Instructions are not counted: {path} is not there; build it, or name its folder with --build_dir.")
        return 1
    try:
        return report(Program(path, valgrind), options)
    except MissingCount as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
