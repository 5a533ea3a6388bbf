"""Prints the closing lines of tests/run.sh from meson's results: skipped cases with their reasons, failures, and
"N passed, N failed, N skipped", counted in cases.

    tests/summarize.py build/meson-logs/testlog.json

A test prints its number of cases in a line "cases: 12 passed, 0 failed, 1 skipped" (scripts omit the first word); the
last such line counts. A test without such a line counts as one case. Lines "skipped case: NAME: REASON" are listed.
"""

import collections
import json
import pathlib
import re
import sys

CASES = re.compile(r"^(?:cases: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)
SKIPPED_CASE = re.compile(r"^skipped case: (.*)$", re.MULTILINE)
GOOD = {"OK", "EXPECTEDFAIL"}


def cases_of(test):
    """A Counter of passed, failed and skipped cases."""
    said = CASES.findall(test.get("stdout", ""))
    cases = collections.Counter(dict(zip(("passed", "failed", "skipped"), (int(number or 0) for number in said[-1]))) if said else {})
    if test["result"] == "SKIP":
        cases["skipped"] = max(cases["skipped"], 1)
    elif test["result"] not in GOOD:
        cases["failed"] = max(cases["failed"], 1)  # also if it ended after the last case, or before the line
    elif not said:
        cases["passed"] = 1
    return cases


def summarize(tests):
    """The lines, and whether everything passed."""
    lines = []
    total = collections.Counter()
    for test in tests:
        name = test["name"].rpartition(" / ")[2]
        total += cases_of(test)
        reasons = SKIPPED_CASE.findall(test.get("stdout", ""))
        if test["result"] == "SKIP" and not reasons:
            said = [line for line in test.get("stdout", "").splitlines() if line.strip()]
            reasons = [said[-1] if said else "it says no reason"]
        lines += [f"Skipped: {name}: {reason}" for reason in reasons]
    failed = [f"{test['name']} ({test['result'].lower()})" for test in tests if test["result"] not in {*GOOD, "SKIP"}]
    if failed:
        lines.append("Failed: " + ", ".join(failed))
    if not tests:
        lines.append("No test ran.")
    lines.append(f"{total['passed']} passed, {total['failed']} failed" +
                 (f", {total['skipped']} skipped" if total["skipped"] else ""))
    return lines, bool(total["passed"]) and not total["failed"] and not failed


def main(path):
    log = pathlib.Path(path)
    lines, good = summarize([json.loads(line) for line in log.read_text().splitlines()] if log.exists() else [])
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
