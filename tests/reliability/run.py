#!/usr/bin/env python3
"""Shows with real processes, sockets, files, disks and networks that distmnist never hangs and loses nothing: see
tests/reliability.sh."""

import argparse
import importlib
import json
import os
import pathlib
import signal
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import trial as trials  # noqa: E402
import digits  # noqa: E402
import support  # noqa: E402

MODULES = ("kills", "saves", "damage", "deterministic", "cases", "disks", "power_cuts", "stops", "links", "churn")
SCRIPT = "tests/reliability.sh"
USAGE = 2
FEWEST_FOR_GOALS = 50  # measurements for a 99th percentile
BAD = ("hang", "violation")
SHOWN = 1500  # characters of a failure; failure.txt has all
NEWLINE = "\n"
CI_S = 510  # --ci starts no trial after that


def all_parts():
    return [part for name in MODULES for part in importlib.import_module(name).PARTS]


def parse_arguments():
    parser = argparse.ArgumentParser(prog=SCRIPT, description=__doc__, allow_abbrev=False)
    parser.add_argument("--part", action="append", metavar="NAME", help="only this part; can be repeated")
    parser.add_argument("--list", action="store_true", help="print the parts and end")
    parser.add_argument("--ci", action="store_true", help="a bounded selection of all parts, within 10 minutes")
    parser.add_argument("--resume", metavar="DIR", help="folder of the results; finished trials are not repeated")
    parser.add_argument("--count", type=int, metavar="N", help="so many events of each part")
    parser.add_argument("--seed", type=int, metavar="N", help="repeat this one trial")
    return parser.parse_args()


class Results:
    """One file with a line for each finished trial of a part."""

    def __init__(self, folder, part):
        self.part, self.path = part, folder / f"{part.name}.jsonl"
        self.lines = []
        if self.path.exists():
            for text in self.path.read_text().splitlines():
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    pass  # the campaign was killed while it wrote this line

    def add(self, line, keep=True):
        self.lines.append(line)
        if keep:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")

    def events(self):
        return sum(line["events"] for line in self.lines if line["result"] != "skipped")

    def seeds(self):
        return {line["seed"] for line in self.lines}

    def count(self, *kinds):
        return sum(1 for line in self.lines if line["result"] in kinds)

    def measurements(self):
        found = {}
        for line in self.lines:
            for name, values in line["measured"].items():
                found.setdefault(name, []).extend(values)
        return found

    def missed_goals(self):
        """[text]"""
        missed = []
        for name, goal in self.part.goals.items():
            values = self.measurements().get(name, [])
            if len(values) >= FEWEST_FOR_GOALS and percentile(values, 0.99) > goal:
                missed.append(f"{self.part.name}: p99 of {name} is {percentile(values, 0.99):.2f} s, goal {goal:g} s")
        return missed


def again(line):
    """How to repeat a trial, and what it left."""
    short = " --ci" if line["ci"] else ""
    return f"again: {SCRIPT}{short} --part {line['part']} --seed {line['seed']}\n  logs: {line.get('logs')}"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Campaign:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        for kept in ("undisturbed", "saves-threads.json"):  # of a program that may have changed since
            shutil.rmtree(folder / kept, ignore_errors=True)
            (folder / kept).unlink(missing_ok=True)
        self.began_s = time.monotonic()
        self.data = digits.write_data_set(folder / "data", 400, 100)
        self.results = []
        self.without = {}  # part -> why it was skipped

    def run_part(self, part):
        results = Results(self.folder, part)
        self.results.append(results)
        if why := part.why_not():
            self.without[part.name] = why
            return say(f"{part.name}: skipped: {why}")
        if self.arguments.seed is not None:
            self.run_one(part, results, self.arguments.seed, keep=False)
            return None
        wanted = self.arguments.count or (part.ci_count if self.arguments.ci else part.count)
        seed, begin, said = 0, time.monotonic(), time.monotonic()
        while results.events() < wanted and seed < 100 * wanted:
            seed += 1
            if seed in results.seeds():
                continue
            if self.arguments.ci and time.monotonic() - self.began_s > CI_S:
                self.without[part.name] = f"{results.events()} of {wanted} {part.unit}, then there was no time left"
                break
            if not self.run_one(part, results, seed):
                break
            if results.lines[-1]["result"] == "skipped" and results.count("skipped") >= 3 and not results.events():
                break
            if time.monotonic() - said > 30:
                said = time.monotonic()
                say(f"{part.name}: {results.events()} of {wanted} {part.unit}, {results.count(*BAD)} bad")
        took_s = time.monotonic() - begin
        say(f"{part.name}: {results.events()} {part.unit} in {took_s:.0f} s, {results.count(*BAD)} bad")
        return None

    def run_one(self, part, results, seed, keep=True):
        """False if the part has no such trial."""
        line = trials.run_trial(part, seed, self.folder / "logs" / f"{part.name}-{seed}", self.data, self.arguments.ci)
        if line["result"] == "exhausted":
            return False
        results.add(line, keep)
        if line["result"] in BAD:
            say(f"{line['result'].upper()} in {part.name}: {line['message'][:SHOWN]}\n  {again(line)}")
        elif line["result"] == "skipped":
            self.without.setdefault(part.name, line["message"])
            say(f"{part.name}, seed {seed}: skipped: {line['message']}")
        elif not keep:
            say(f"{part.name}, seed {seed}: ok in {line['seconds']:.1f} s: {'; '.join(line['done'])} "
                f"{line['measured']}")
        return True

    # ---- The end ----

    def table(self):
        rows = [("part", "trials", "events", "hangs", "violations", "skipped", "p50 / p99")]
        for results in self.results:
            shown = ", ".join(f"{name} {percentile(values, 0.5):.2f} / {percentile(values, 0.99):.2f}"
                              for name, values in sorted(results.measurements().items()))
            rows.append((results.part.name, str(results.count("ok", *BAD)), f"{results.events()} {results.part.unit}",
                         *(str(results.count(kind)) for kind in ("hang", "violation", "skipped")), shown))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths)) + "  " + row[-1])
        for name, why in self.without.items():
            print(f"skipped: {name}: {why}")

    def failures(self):
        for results in self.results:
            for line in results.lines:
                if line["result"] in BAD:
                    yield f"{line['result']}: {line['message'].partition(NEWLINE)[0]}\n  {again(line)}"
            if self.arguments.seed is None:
                yield from results.missed_goals()


def choose(parts, names):
    unknown = [name for name in names or () if name not in {part.name for part in parts}]
    if unknown:
        print(f"{SCRIPT}: --part {unknown[0]}: choose from {', '.join(part.name for part in parts)}", file=sys.stderr)
        sys.exit(USAGE)
    return [part for part in parts if not names or part.name in names]


def end_in_order(*_):
    raise KeyboardInterrupt


def main():
    arguments = parse_arguments()
    parts = choose(all_parts(), arguments.part)
    if arguments.list:
        for part in parts:
            print(f"{part.name:14} {part.count:6} {part.unit}; --ci {part.ci_count}: {part.summary}")
        return 0
    if arguments.seed is not None and len(parts) != 1:
        print(f"{SCRIPT}: --seed repeats a trial of one part; name it with --part", file=sys.stderr)
        return USAGE
    machine.enter_namespace()
    support.heed_signals()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_in_order)
    folder = pathlib.Path(arguments.resume or tempfile.mkdtemp(prefix="distmnist-reliability-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    say(f"results in {folder}; an interrupted campaign continues with --resume {folder}")
    campaign = Campaign(arguments, folder)
    code = 130
    try:
        for part in parts:
            campaign.run_part(part)
        code = 0
    except KeyboardInterrupt:
        say(f"interrupted; continue with {SCRIPT} --resume {folder}")
    campaign.table()
    failures = list(campaign.failures())
    for failure in failures:
        print(failure)
    if code == 0 and not failures and not arguments.resume:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else code


if __name__ == "__main__":
    sys.exit(main())
