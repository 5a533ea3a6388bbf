#!/usr/bin/env python3
"""The GPU benchmark: training steps alternating with PyTorch on the same card, a worker's step, clusters on one host
that share the card, and seconds to 99 % test accuracy. Prints tables in Markdown.

    tests/bench/gpu/gpu_bench.py --build build --data_dir DIR [--quick] [--torch_python PYTHON] [--only steps,cluster]

If PyTorch, the GPU or the data are missing, the part that needs them is omitted, and the output says so.
tests/gpu/README.md explains the columns.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

import floors
import peers
import whole_runs

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("steps", "worker", "cluster", "accuracy")
TORCH_VARIANTS = ("graph", "eager", "compile", "compile_graph")
COMPILED = ("compile", "compile_graph")
REQUEST_LIMIT_S = 60.0
COMPILE_LIMIT_S = 120.0
RUN_LIMIT_S = 90.0
# Settings for 99 %, found by experiment: the first steps are large, and the small steps at the end of the cosine refine
# the result.
FAST_SCHEDULE = ["--batch_size=64", "--train_steps=1200", "--learning_rate=2e-3", "--learning_rate_schedule=cosine",
                 "--log_every=1200"]
WORKER_LIMIT_MS = 1.5


class Targets:
    """The targets with whether they were reached, and whether a figure of distmnist is missing."""

    def __init__(self):
        self.lines = []
        self.incomplete = False

    def add(self, what, value, limit, at_most):
        reached = value <= limit if at_most else value >= limit
        self.lines.append(f"| {what} | {'at most' if at_most else 'at least'} {limit:g} | {value:.3g} | "
                          f"{'reached' if reached else 'MISSED'} |")

    def table(self):
        return ["", "| target | | measured | |", "|---|---|---|---|", *self.lines] if self.lines else []


def cell(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def ratio(value, base):
    return "-" if value is None or not base else f"{value / base:.2f}"


def median(values):
    return statistics.median(values) if values else None


# Steps ----------------------------------------------------------------------------------------------------------------


class StepFigures:
    """Microseconds per (batch, precision) and variant. "distmnist" is our own program."""

    def __init__(self):
        self.times = {}
        self.faults = {}
        self.launches = {}  # of distmnist's steps

    def add(self, key, variant, reply):
        if reply.get("launches"):
            self.launches[key] = reply["launches"]
        if "us" in reply:
            self.times.setdefault(key, {}).setdefault(variant, []).append(reply["us"])
        else:
            self.faults.setdefault(f"{variant}: {reply['error']}", []).append(key)

    def keys(self):
        return set(self.times).union(*self.faults.values())

    def us(self, key, variant):
        return median(self.times.get(key, {}).get(variant, []))


def measure_steps(options, ours, torch, figures):
    """Runs rounds in which both programs alternate in measuring each (batch, precision)."""
    keys = [(batch, precision) for batch in options.batches for precision in options.precisions]
    variants = {key: ["graph", "eager"] for key in keys} if torch else {key: [] for key in keys}
    end = time.monotonic() + options.compile_s
    for key in sorted(keys, key=lambda key: key[0]) if torch else []:
        for variant in COMPILED:
            if time.monotonic() < end and torch.fault is None:
                reply = torch.ask(f"{variant} {key[0]} {key[1]}", COMPILE_LIMIT_S)
                if "us" in reply:
                    variants[key].append(variant)
                else:
                    figures.add(key, variant, reply)
    for _ in range(options.rounds):
        for key in keys:
            request = f"{key[0]} {key[1]}"
            figures.add(key, "distmnist", ours.ask(f"{options.step_mode} {request}", REQUEST_LIMIT_S))
            for variant in variants[key]:
                figures.add(key, variant, torch.ask(f"{variant} {request}", REQUEST_LIMIT_S))


def step_rows(options, card, figures):
    rows = []
    for batch in options.batches:
        for precision in options.precisions:
            key = batch, precision
            ours = figures.us(key, "distmnist")
            peers_us = [figures.us(key, variant) for variant in TORCH_VARIANTS]
            graph_us, eager_us = peers_us[:2]
            launches = figures.launches.get(key)
            floor = floors.floor_us(card, batch, precision, launches) if card else None
            parts = [floors.flops_us(card, batch, precision), floors.update_us(card)] if card else [None, None]
            parts.append(floors.launches_us(launches) if launches else None)
            rows.append([str(batch), precision, cell(ours), *map(cell, peers_us),
                         ratio(graph_us, ours) if ours else "-", ratio(eager_us, ours) if ours else "-",
                         *map(cell, parts), ratio(ours, floor)])
    return rows


STEP_HEADINGS = ["batch", "precision", "distmnist", "PyTorch CUDA graph", "eager", "compile", "compile + graph",
                 "graph / ours", "eager / ours", "floor: operations", "floor: Adam's bytes",
                 "floor: launches", "ours / floor"]


def markdown(headings, rows):
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return [line(headings), "|" + "---|" * len(headings), *map(line, rows)]


def step_targets(figures, targets):
    for precision, most, faster in (("bf16", 50, 2), ("f32", 120, 1.5)):
        key = 50, precision
        ours = figures.us(key, "distmnist")
        if ours is None:
            continue
        targets.add(f"step at batch 50 in {precision}, us", ours, most, at_most=True)
        for variant, times in (("graph", faster), ("eager", 8)):
            if figures.us(key, variant) is not None:
                targets.add(f"PyTorch {variant} / ours at batch 50 in {precision}", figures.us(key, variant) / ours,
                            times, at_most=False)


def steps_part(options, ours, torch, card, targets):
    figures = StepFigures()
    measure_steps(options, ours, torch, figures)
    lines = ["## One training step, microseconds", "",
             f"mnist_cnn, Adam, samples on the device; medians of {options.rounds} rounds in which the programs take "
             "turns, 0.2 s per figure at least.", ""]
    lines += markdown(STEP_HEADINGS, step_rows(options, card, figures))
    if card:
        counts = sorted(set(figures.launches.values()))
        launches = f"; {counts[0]} to {counts[-1]} launches of {floors.LAUNCH_US:g} us" if counts else ""
        lines += ["", f"Floors: {floors.step_flops(1) / 1e6:.1f} MFLOP per sample at the data sheet's rate of the "
                  f"{card.name} and {floors.ADAM_PASSES} x 6.5 MB of Adam at {card.bytes_per_s / 1e12:g} TB/s{launches}."]
    targets.incomplete |= any("distmnist" not in figures.times.get(key, {}) for key in figures.keys())
    for fault, keys in figures.faults.items():
        where = dict.fromkeys(f"{batch} {precision}" for batch, precision in keys)
        lines.append(f"\nLeft out: {fault} ({', '.join(where)})")
    step_targets(figures, targets)
    return lines


def worker_part(options, ours, targets):
    """Measures a worker's step on the device alone: the computation with the gradient on the host, and loading new
    parameters."""
    rows, faults = [], {}
    for precision in options.precisions:
        times = {}
        for mode in ("train_step", "load"):
            replies = [ours.ask(f"{mode} 50 {precision}", REQUEST_LIMIT_S) for _ in range(options.rounds)]
            times[mode] = median([reply["us"] for reply in replies if "us" in reply])
            faults.update({reply["error"]: None for reply in replies if "error" in reply})
        rows.append([precision, *(cell(None if us is None else us / 1e3, 3) for us in times.values())])
    targets.incomplete |= bool(faults)
    return ["## A worker's step at batch 50, milliseconds", "",
            *markdown(["precision", "train_step, gradient on the host", "load of all parameters"], rows),
            *(f"\nLeft out: {fault}" for fault in faults)]


# Whole runs -----------------------------------------------------------------------------------------------------------


def cluster_part(options, targets):
    rows, faults = [], []
    for num_workers in (1, 4):
        for precision in options.cluster_precisions:
            steps = options.cluster_steps * num_workers
            share = ["--per_process_gpu_memory_fraction=0.2"] if num_workers > 1 and options.device == "gpu" else []
            flags = [f"--data_dir={options.data_dir}", f"--train_steps={steps}", f"--log_every={steps}", *share,
                     *device_flags(options, precision)]
            try:
                found = whole_runs.cluster_run(options.program, num_workers, flags, options.gpus, RUN_LIMIT_S)
            except whole_runs.RunFailed as error:
                faults.append(f"\nLeft out: {num_workers} workers in {precision}: {error}")
                continue
            workers = found["workers"].values()
            outside = median([times["outside"] for times in workers])
            rows.append([str(num_workers), precision, cell(found["steps_per_s"]),
                         cell(median([times["step"] for times in workers]), 3),
                         cell(median([times["compute"] for times in workers]), 3), cell(outside, 3)])
            if num_workers == 1:
                targets.add(f"worker and ps on one host, {precision}: ms per step outside the worker's computation",
                            outside, WORKER_LIMIT_MS, at_most=True)
    targets.incomplete |= bool(faults)
    headings = ["workers", "precision", "global steps/s", "ms per step", "of it computation",
                "outside: push, wait for the ps, pull"]
    return ["## 1 ps and workers on one host that share the card, batch 50", "",
            "Milliseconds are each worker's own account, the median of the workers.", "",
            *markdown(headings, rows), *faults]


def accuracy_part(options, targets):
    rows, faults = [], []
    for seed in range(options.rounds):
        flags = [f"--data_dir={options.data_dir}", f"--seed={seed}", *options.schedule, *device_flags(options, "bf16")]
        try:
            found = whole_runs.local_run(options.program, flags, RUN_LIMIT_S)
        except whole_runs.RunFailed as error:
            faults.append(f"\nLeft out: seed {seed}: {error}")
            continue
        rows.append((seed, found["accuracy"], found["train_s"], found["wall_s"]))
    targets.incomplete |= bool(faults)
    if rows:
        targets.add("test accuracy of the schedule (median)", median([row[1] for row in rows]), 0.99, at_most=False)
        targets.add("its seconds of training (median)", median([row[2] for row in rows]), 0.3, at_most=True)
    return ["## To 99 % test accuracy", "", f"`{' '.join([*options.schedule, *device_flags(options, 'bf16')])}`", "",
            *markdown(["seed", "test accuracy", "training, s", "whole process, s"],
                      [[str(seed), f"{accuracy:.4f}", cell(train_s, 3), cell(wall_s, 2)]
                       for seed, accuracy, train_s, wall_s in rows]),
            *faults]


def device_flags(options, precision):
    if options.device != "gpu":
        return [f"--device=/device:{options.device.upper()}:0", *options.program_flags]
    return ["--device=/gpu:0", f"--precision={precision}", *options.program_flags]


# Command line ---------------------------------------------------------------------------------------------------------


def split(kind):
    return lambda text: [kind(item) for item in text.split(",") if item]


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", metavar="DIR", help="the build folder (build)")
    parser.add_argument("--data_dir", default="", metavar="DIR", help="MNIST; without it the whole runs are left out")
    parser.add_argument("--device", default="gpu", help="gpu, cpu or reference (gpu)")
    parser.add_argument("--model", default="mnist_cnn", help="of step_bench (mnist_cnn)")
    parser.add_argument("--batches", type=split(int), default=[50, 128, 512, 4096])
    parser.add_argument("--precisions", type=split(str), default=["f32", "tf32", "bf16"])
    parser.add_argument("--cluster_precisions", type=split(str), default=["f32", "bf16"])
    parser.add_argument("--cluster_steps", type=int, default=2000, metavar="N", help="per worker (2000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile_s", type=float, default=75, metavar="S",
                        help="time for all of torch.compile (75); 0 omits it")
    parser.add_argument("--schedule", type=str.split, default=FAST_SCHEDULE, metavar="FLAGS",
                        help="flags of the runs to 99 %%")
    parser.add_argument("--program_flags", type=str.split, default=[], metavar="FLAGS", help="flags for whole runs")
    parser.add_argument("--torch_python", default=sys.executable, metavar="PYTHON", help="empty omits PyTorch")
    parser.add_argument("--torch_library_path", metavar="FOLDERS",
                        help="LD_LIBRARY_PATH of PyTorch, if it differs from ours")
    parser.add_argument("--only", type=split(str), default=list(PARTS), help=f"parts: {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="two batches, one round, short runs, no torch.compile")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(PARTS)
    if unknown:
        parser.error(f"--only: {', '.join(unknown)} is not one of {', '.join(PARTS)}")
    if options.quick:
        options.batches, options.rounds, options.compile_s, options.cluster_steps = options.batches[:2], 1, 0, 300
    # Other backends have no training on the device, so only a worker's computation can be measured.
    options.step_mode = "resident" if options.device == "gpu" else "train_step"
    options.gpus = "0" if options.device == "gpu" else None
    options.program = str(pathlib.Path(options.build) / "tools" / "distmnist")
    return options


def card_name():
    """The first card's name from nvidia-smi; None without a card."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], timeout=30,
                              capture_output=True, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def make_torch(options):
    """The peer and a sentence about it; (None, reason) if there is none."""
    if not options.torch_python or options.device != "gpu":
        return None, "PyTorch is left out."
    environment = dict(os.environ)
    if options.torch_library_path is not None:
        environment["LD_LIBRARY_PATH"] = options.torch_library_path
    torch = peers.Peer("PyTorch", [options.torch_python, str(HERE / "torch_step.py")], environment)
    reply = torch.ask("eager 50 f32", COMPILE_LIMIT_S)
    if "us" in reply:
        return torch, f"PyTorch {reply['torch']}."
    torch.stop()
    return None, f"PyTorch is left out: {reply['error']}"


def main(arguments):
    options = parse_arguments(arguments)
    name = card_name()
    if options.device == "gpu" and name is None:
        print("The GPU benchmark is left out: nvidia-smi finds no GPU here.")
        return 0
    card = floors.card_called(name) if options.device == "gpu" else None
    build = pathlib.Path(options.build)
    ours = peers.Peer("step_bench", [str(build / "tests" / "bench" / "gpu" / "step_bench"), options.device,
                                     str(build / "lib"), options.model])
    torch, remark = make_torch(options) if "steps" in options.only else (None, "")
    targets = Targets()
    print("# GPU benchmark\n\n" + f"{name or options.device}. {remark}".strip())
    try:
        if "steps" in options.only:
            print_part(steps_part(options, ours, torch, card, targets))
        if "worker" in options.only:
            print_part(worker_part(options, ours, targets))
    finally:
        for peer in (ours, torch):
            if peer:
                peer.stop()
    if options.data_dir and "cluster" in options.only:
        print_part(cluster_part(options, targets))
    if options.data_dir and "accuracy" in options.only:
        print_part(accuracy_part(options, targets))
    if not options.data_dir:
        print_part(["Whole runs are left out: no --data_dir."])
    print_part(targets.table())
    # Other backends do not have kernels for some precisions.
    return 1 if targets.incomplete and options.device == "gpu" else 0


def print_part(lines):
    print("\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
