#!/usr/bin/env python3
"""Counts the instructions of the program's own hot code (the parts of instruction_parts.cc) with valgrind, and prints
them next to the recorded counts. Unlike times, the counts are the same on a busy machine, so a regression of one
percent is visible. This is a report: it fails only if a count is missing.

    tests/bench/instructions.py [--build_dir build]            prints the table
    tests/bench/instructions.py [--build_dir build] --record   also records the counts

The recorded counts are from a release build. If the compiler, the C library, valgrind or the version of the vector
loops differ from the record, a line says so, because the ratios then include this difference.
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
PART_LIMIT_S = 600.0  # seconds; other processes can use the same cores
MARKED = 0.01  # relative difference from the record at which a ratio is marked

# The whole environment of a part. Binding every symbol at the start keeps the loader out of the counts. The tunables
# make glibc use the same memcpy, exp and similar functions on every processor. Above all they disable "rep movsb", for
# which valgrind counts one instruction per byte.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "LD_BIND_NOW": "1",
    "OMP_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-ERMS,-FSRM"
                      ":glibc.cpu.x86_non_temporal_threshold=16777216",
}


class MissingCount(Exception):
    """A part without a count; the message names the part and the reason."""


class Program:
    """instruction_parts. It runs in its own folder, so that the length of a path does not change the stack."""

    def __init__(self, path, valgrind):
        self.path, self.valgrind = path.resolve(), valgrind

    def parts(self):
        return self._output([]).split()

    def settings(self):
        """The settings that counts depend on, with the processor that valgrind emulates."""
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
    """The total number of instructions in a callgrind profile; None if it has none."""
    found = re.search(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    return int(found.group(1)) if found else None


def read_record(path):
    """(settings, counts by part), both empty if nothing is recorded."""
    if not path.exists():
        return {}, {}
    record = json.loads(path.read_text())
    return record["settings"], record["instructions"]


def write_record(path, settings, counts):
    path.write_text(json.dumps({"settings": settings, "instructions": counts}, indent=2) + "\n")


def table(counts, recorded):
    """The lines of the table. A part can be missing in one of the two."""
    lines = [f"{'part':<22} {'instructions':>13} {'recorded':>13} {'ratio':>8}"]
    for part in [*counts, *(part for part in recorded if part not in counts)]:
        now, before = counts.get(part), recorded.get(part)
        ratio = now / before if now and before else None
        mark = "" if ratio is None or abs(ratio - 1) < MARKED else "  MORE" if ratio > 1 else "  less"
        cells = [f"{value:,}" if value else "missing" for value in (now, before)]
        lines.append(f"{part:<22} {cells[0]:>13} {cells[1]:>13} {f'{ratio:.4f}' if ratio else '-':>8}{mark}")
    return lines


def differences(settings, recorded):
    """A line for each setting that differs from the record."""
    return [f"{name}: {settings.get(name)} here, {value} in the record; the ratios are of this, too."
            for name, value in recorded.items() if settings.get(name) != value]


def missing(counts, recorded):
    return sorted(set(counts) ^ set(recorded))


def report(program, options):
    """Prints the table and returns the exit code."""
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
