#!/usr/bin/env python3
"""Measures the time to a given accuracy: whole local runs of a preset, one per seed, from the start of the process to
its end.

    tests/bench/accuracy.py --binary build/tools/distmnist --data_dir DIR --preset fast [--seeds 10] [-- FLAGS...]
    tests/bench/accuracy.py ... --torch PYTHON       # alternates with the same settings in PyTorch

Prints a line per run, and then how many runs reached --target (for fast 0.99, for best 0.994). FLAGS are passed to the
program and have priority over the preset. PyTorch uses the values in the program's log.
"""

import argparse
import concurrent.futures
import pathlib
import re
import statistics
import sys

from gpu import whole_runs

TARGETS = {"seeds": 0.98, "fast": 0.99, "best": 0.994}
RUN_LIMIT_S = 3600.0
TORCH_RUN = pathlib.Path(__file__).with_name("torch_accuracy.py")
PRESET_LINE = re.compile(r"\] preset (\w+): (.*)$", re.MULTILINE)


def recipe_in(log):
    """The flags in the program's log, for torch_accuracy.py."""
    line = PRESET_LINE.search(log)
    if not line:
        raise whole_runs.RunFailed(f"the log names no preset:\n{log[-1000:]}")
    return ["--" + "=".join(pair.split(" ", 1)) for pair in line.group(2).split(", ")]


def program_run(options, seed):
    """(accuracy, wall seconds, recipe) of one run of the program."""
    command = [options.binary, "--progress=none", f"--data_dir={options.data_dir}", f"--preset={options.preset}",
               f"--seed={seed}", *options.flags]
    if options.threads:
        command.append(f"--intra_op_parallelism_threads={options.threads}")
    out, err, wall_s = whole_runs.run(command, RUN_LIMIT_S)
    accuracy = whole_runs.ACCURACY.search(out)
    if not accuracy:
        raise whole_runs.RunFailed(f"no closing line:\n{out[-500:]}{err[-1000:]}")
    return float(accuracy.group(1)), wall_s, recipe_in(err)


def torch_run(options, seed, recipe):
    """(accuracy, wall seconds) of one run of PyTorch."""
    threads = [f"--threads={options.threads}"] if options.threads else []
    command = [options.torch, str(TORCH_RUN), f"--data_dir={options.data_dir}", f"--seed={seed}", *threads, *recipe]
    out, _, wall_s = whole_runs.run(command, RUN_LIMIT_S)
    return float(whole_runs.ACCURACY.search(out).group(1)), wall_s


def runs_of(options, seed):
    """{name: (accuracy, wall seconds)} for one seed; prints each result when it is available."""
    results = {}
    accuracy, wall_s, recipe = program_run(options, seed)
    results["distmnist"] = (accuracy, wall_s)
    if options.torch:
        results["torch"] = torch_run(options, seed, recipe)
    for name, (accuracy, wall_s) in results.items():
        print(f"seed {seed}: {name} {accuracy:.4f} in {wall_s:.1f} s", flush=True)
    return results


def summary(name, results, target):
    accuracies, times = zip(*results)
    reached = sum(accuracy >= target for accuracy in accuracies)
    return (f"{name}: {reached} of {len(results)} reach {target:.4f}; accuracy: median "
            f"{statistics.median(accuracies):.4f}, least {min(accuracies):.4f}; from start to end: median "
            f"{statistics.median(times):.1f} s, longest {max(times):.1f} s")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--preset", choices=sorted(TARGETS), default="fast")
    parser.add_argument("--seeds", type=int, default=10, help="runs; the seeds start at --first_seed (default: 10)")
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--target", type=float, help="accuracy, 0 to 1 (default: the preset's target)")
    parser.add_argument("--threads", type=int, default=0, help="threads of each run (default: all cores)")
    parser.add_argument("--at_once", type=int, default=1,
                        help="parallel runs, to search for settings but not to measure times (default: 1)")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with PyTorch, which runs with the same settings")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="after --: flags for the program")
    return parser.parse_args()


def main():
    options = parse()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    try:
        with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
            results = list(pool.map(lambda seed: runs_of(options, seed), seeds))
    except whole_runs.RunFailed as failure:
        sys.exit(str(failure))
    target = TARGETS[options.preset] if options.target is None else options.target
    for name in results[0]:
        print(summary(name, [result[name] for result in results], target))


if __name__ == "__main__":
    main()
