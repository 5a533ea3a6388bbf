#!/usr/bin/env python3
"""Measures whole training steps on the CPU in wall time: forward and backward pass, and with Adam (training that stays
in the executor, like a local run). It covers numbers of threads, batch sizes and precisions, with our kernels in each
instruction set of the processor and with oneDNN alone. All variants of a batch size and a number of threads alternate.
The tables have medians, and ratios to oneDNN's forward and backward pass in float32 as the median of the rounds'
ratios.

    tests/bench/steps.py [--build build] [--rounds 5] [--threads 1,2] [--batches 50,256] [--precisions f32,bf16]
"""

import argparse
import datetime
import pathlib
import sys

from cluster import say
from report import ROOT, commit, machine, markdown, median_of, median_ratio

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "gpu"))
from peers import Peer  # noqa: E402

ANSWER_LIMIT_S = 300.0  # the first answer includes compiling, perhaps on a busy machine
MODES = {"train_step": "forward + backward", "resident": "with Adam"}
BASE = "train_step", "f32", "onednn"
HEADINGS = ["step", "precision", "kernels", "ms, median", "samples/s", "oneDNN's forward + backward in f32 to it"]


def step_bench(build, model="mnist_cnn"):
    return Peer("step_bench", [str(build / "tests" / "bench" / "gpu" / "step_bench"), "cpu", str(build / "lib"), model])


def supported(bench, names):
    """The kernels that the processor supports; reports the others."""
    able = []
    for name in names:
        reply = bench.ask(f"load 1 f32 kernels={name}", ANSWER_LIMIT_S)
        if "us" in reply:
            able.append(name)
        else:
            say(f"{name} is left out: {reply['error']}")
    return able


def measure(bench, variants, request, rounds):
    """{variant: milliseconds of each round}. `request(variant)` is the request to step_bench. Refused requests are
    omitted."""
    times = {variant: [] for variant in variants}
    for number in range(1, rounds + 1):
        for variant in list(times):
            reply = bench.ask(request(variant), ANSWER_LIMIT_S)
            if "us" in reply:
                times[variant].append(reply["us"] / 1e3)
            else:
                say(f"{' '.join(variant)} is left out: {reply['error']}")
                del times[variant]
        say(f"round {number}: {request(variants[0]).split(' ', 1)[1]} and its like")
    return times


def rows(times, batch):
    cells = []
    for (mode, precision, kernels), ms in times.items():
        median = median_of(ms, ".2f")
        cells.append([MODES[mode], precision, kernels, median, median_of([batch / each * 1e3 for each in ms], ".0f"),
                      median_ratio(times.get(BASE, []), ms)])
    return cells


def split(kind):
    return lambda text: [kind(item) for item in text.split(",") if item]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR", help="the build folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=split(int), default=[1, 2])
    parser.add_argument("--batches", type=split(int), default=[50, 256])
    parser.add_argument("--precisions", type=split(str), default=["f32", "bf16"])
    parser.add_argument("--kernels", type=split(str), default=["portable", "avx2", "avx512", "amx", "onednn"])
    parser.add_argument("--model", default="mnist_cnn")
    options = parser.parse_args(arguments)
    bench = step_bench(options.build, options.model)
    try:
        kernels = supported(bench, options.kernels)
        if not kernels:
            return 1
        print(f"`tests/bench/steps.py`: {options.model}, {options.rounds} rounds in turns, at least 0.2 s a figure. "
              f"{machine()}; {datetime.date.today()}; commit {commit()}.")
        for threads in options.threads:
            for batch in options.batches:
                variants = [(mode, precision, name) for mode in MODES for precision in options.precisions
                            for name in kernels]
                times = measure(bench, variants, lambda variant: "{0} {3} {1} kernels={2} threads={4}".format(
                    *variant, batch, threads), options.rounds)
                print(f"\nThreads: {threads}, batch {batch}.\n")
                print("\n".join(markdown(HEADINGS, rows(times, batch))), flush=True)
    finally:
        bench.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
