#!/usr/bin/env python3
"""Attacks a job from every possible position and reports the results: see tests/security.sh."""

import argparse
import os
import random
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import campaign as campaigns  # noqa: E402
import curve  # noqa: E402
import job as jobs  # noqa: E402
import kinds  # noqa: E402
import network  # noqa: E402
import powers  # noqa: E402
import sealed  # noqa: E402
from campaign import Campaign  # noqa: E402

IN_CI, LONG = 2_000, 100_000  # connections in total
# The job's rate under attack relative to the undisturbed rate. A long run measures it to about one percent. A short run
# on a machine that does other work measures it to about ten percent and only has to detect an attack that blocks the
# job.
LEAST_RATE, LEAST_RATE_IN_CI = 0.95, 0.8
SKIPPED = 77


def named(functions):
    return {function.__name__: function for function in functions}


def mixtures():
    return {"before_any_message": kinds.mixture(kinds.EARLY), "frames": kinds.mixture(kinds.FRAMES),
            "messages": kinds.mixture(kinds.MESSAGES)}


def campaigns_of(total):
    """The campaigns, and {position: reason} for those that are impossible here."""
    def share(part):
        return round(part * total)

    root = os.geteuid() == 0
    nobody = campaigns.attacker.NOBODY
    without = {}
    found = [Campaign("allowed address", named(kinds.ALL), share(0.5)),
             Campaign("same user, Unix socket", mixtures(), share(0.1), unix=True)]
    if root:
        found += [Campaign("other user, TCP", mixtures(), share(0.1), user=nobody),
                  Campaign("other user, Unix socket", mixtures(), share(0.1), unix=True, user=nobody, heard=False)]
    else:
        without["other user"] = "only root can become a different user"
    if why := network.why_no_link():
        without["address not allowed"] = why
    else:
        found.append(Campaign("address not allowed", mixtures(), share(0.1), network.OURS, link=network.Link(), heard=False))
    found.append(Campaign("keys: none", mixtures(), share(0.05), secure=True, heard=False))
    if curve.SODIUM:
        found.append(Campaign("keys: unknown ones", named(sealed.ALL), share(0.05), secure=True, made_up_keys=True, heard=False))
    else:
        without["keys: unknown ones"] = "libsodium was not found"
    return found, without


# ---- Output ----

def print_rows(rows):
    head = ("position", "attack", "connections", "messages", "MiB", "rate", "what happened")
    lines = [head] + [(row.position, row.kind, str(row.connections), str(row.messages), f"{row.memory_kib / 1024:.1f}",
                       f"{campaigns.ratio_of(row.rates):.2f}", row.what_happened()) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)) + "  " + line[-1], flush=True)


class Score:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0

    def note(self, name, faults):
        if faults:
            self.failed += 1
            print(f"FAILED: {name}")
            for fault in faults:
                print("  " + str(fault).replace("\n", "\n  "))
        else:
            self.passed += 1
        sys.stdout.flush()

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped: {name}: {why}", flush=True)

    def line(self):
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


# ---- Actions ----

def run_powers(program, hello, only, score):
    for power in powers.ALL:
        if only and only not in power.__name__:
            continue
        said = power.__doc__.strip()
        begin = time.monotonic()
        try:
            power(program, hello)
        except powers.Unfit as why:
            score.skip(said, why)
            continue
        except Exception:
            score.note(f"{power.__name__}: {said}", [traceback.format_exc(limit=4)])
            continue
        print(f"shown: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
        score.note(power.__name__, [])


def run_campaigns(program, hello, arguments, score):
    found, without = campaigns_of(arguments.connections)
    for position, why in without.items():
        score.skip(position, why)
    for campaign in found:
        campaign.least_rate = LEAST_RATE if arguments.connections >= LONG else LEAST_RATE_IN_CI
        if arguments.only and arguments.only not in campaign.position:
            campaign.narrow(arguments.only)
    found = [campaign for campaign in found if campaign.kinds]
    dice = random.Random(arguments.seed)
    for campaign in found:
        try:
            campaign.run(program, hello, dice.getrandbits(32))
        except Exception:
            campaign.faults.append(traceback.format_exc(limit=4))
    reference = jobs.Reference(program)
    try:
        for campaign in sorted(found, key=lambda one: one.step):
            campaign.compare(reference)
    finally:
        reference.close()
    print_rows([row for campaign in found for row in campaign.rows])
    for campaign in found:
        print(f"{campaign.position}: {campaigns.ratio_of(campaign.rates()):.3f} of the rate, "
              f"{campaign.memory_kib / 1024:.1f} MiB more, step {campaign.step}")
        score.note(f"attacks from: {campaign.position}", campaign.faults)
    print(f"{sum(row.connections for campaign in found for row in campaign.rows)} connections in all")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--connections", type=int, default=IN_CI, help=f"total number (default: {IN_CI})")
    parser.add_argument("--long", action="store_true", help=f"{LONG} connections")
    parser.add_argument("--only", default="", metavar="NAME", help="positions, attacks, statements with this in their name")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="random seed (default: the time)")
    arguments = parser.parse_args()
    if arguments.long:
        arguments.connections = LONG
    return arguments


def main():
    arguments = parse_arguments()
    program = jobs.support.find_program()
    if not program:
        print("the program is not built")
        return SKIPPED
    jobs.support.heed_signals()
    print(f"--seed {arguments.seed}", flush=True)
    score = Score()
    hello = jobs.hello_of_a_worker(program)
    run_powers(program, hello, arguments.only, score)
    run_campaigns(program, hello, arguments, score)
    print(score.line())
    return 0 if score.passed and not score.failed else 1


if __name__ == "__main__":
    sys.exit(main())
