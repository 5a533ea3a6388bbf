#!/usr/bin/env python3
"""Measures how the cost of training grows: with the batch size (local runs), with the number of parameters (the step
alone, and a cluster of 1 ps and 1 worker with each model), with the number of workers, and with the number of ps tasks
(asynchronous). Uses real processes of distmnist and step_bench. The runs of a part alternate; the tables have medians.

    tests/bench/scaling.py --data_dir DIR [--build build] [--rounds 3] [--only batch,parameters,workers,ps]
        [-- --precision=bf16]

Flags after "--" are given to every process of distmnist.
"""

import argparse
import datetime
import pathlib
import sys

import processes
from cluster import add_common_arguments, say, split_arguments
from report import ROOT, commit, machine, markdown, median_of, median_ratio
from steps import ANSWER_LIMIT_S, split, step_bench

PARTS = ("batch", "parameters", "workers", "ps")
MODEL_PARAMETERS = {"softmax": 7_850, "mlp": 79_510, "mnist_cnn": 1_625_606}
FACTORS = (0.1, 0.3, 1, 3, 10, 30)  # relative to mnist_cnn's number of parameters
MOST_STEPS = 2000  # in a local run


def rates(figures):
    return [each.rate for each in figures]


def steps_in_turns(benches, requests, rounds):
    """{key: milliseconds of each round} for the requests to each bench; refused requests are omitted."""
    times = {key: [] for key in requests}
    for _ in range(rounds):
        for key, request in requests.items():
            reply = benches[key].ask(request, ANSWER_LIMIT_S)
            if "us" in reply:
                times[key].append(reply["us"] / 1e3)
            else:
                say(f"{request} is left out: {reply['error']}")
    return times


def step_times(options, requests, rounds):
    """The same with a separate program for each key, because a small step must not share memory with a large one."""
    benches = {key: step_bench(options.build) for key in requests}
    try:
        return steps_in_turns(benches, requests, rounds)
    finally:
        for bench in benches.values():
            bench.stop()


# ---- The parts: each returns the lines of its section ----


def batch_part(options, flags):
    """Runs with one thread. The steps cover --samples samples, with at most MOST_STEPS steps."""
    steps = {batch: max(3, min(MOST_STEPS, options.samples // batch)) for batch in options.batches}
    jobs = {f"batch {batch}": (batch, processes.Job(f"batch {batch}", [f"--batch_size={batch}", *flags]))
            for batch in options.batches}
    results = processes.run_in_rounds([job for _, job in jobs.values()], options.rounds,
                                      lambda job: processes.run_job(job, options, steps[jobs[job.name][0]]), say)
    alone = step_times(options, {batch: f"resident {batch} f32" for batch in options.batches}, options.rounds)
    cells = []
    for name, figures in results.items():
        batch = jobs[name][0]
        ms = [1e3 / rate for rate in rates(figures)]
        cells.append([str(batch), median_of(ms, ".3f"), median_of(alone[batch], ".3f"),
                      median_of([batch * rate for rate in rates(figures)], ".0f"),
                      median_of([each.chief_mb for each in figures], ".0f")])
    return ["## Batch size, local, 1 thread", "",
            *markdown(["batch", "ms a step, whole run", "step alone (step_bench), f32", "samples/s", "peak memory, MB"],
                      cells)]


def parameters_part(options, flags):
    hidden = {factor: round((factor * MODEL_PARAMETERS["mnist_cnn"] - 10) / 795) for factor in FACTORS}
    requests = {(mode, factor): f"{mode} 50 f32 hidden={units}" for factor, units in hidden.items()
                for mode in ("train_step", "resident")}
    bench = step_bench(options.build)
    try:
        times = steps_in_turns({key: bench for key in requests}, requests, options.rounds)
    finally:
        bench.stop()
    cells = [[f"{factor:g}", f"{795 * units + 10:,}", median_of(times["train_step", factor], ".3f"),
              median_of(times["resident", factor], ".3f"),
              median_of([1e6 * ms / (795 * units + 10) for ms in times["resident", factor]], ".2f")]
             for factor, units in hidden.items()]
    return ["## Parameters: one hidden layer, batch 50, 1 thread, f32", "",
            *markdown(["of mnist_cnn's", "parameters", "forward + backward, ms", "with Adam, ms",
                        "with Adam, ns a parameter"],
                      cells),
            "", *models_lines(options, flags)]


def models_lines(options, flags):
    jobs = [processes.Job(model, [f"--model={model}", *flags], workers=1) for model in MODEL_PARAMETERS]
    results = processes.run_in_rounds(jobs, options.rounds,
                                      lambda job: processes.run_job(job, options, options.batches_in_all), say)
    cells = [[name, f"{MODEL_PARAMETERS[name]:,}", median_of([1e3 / rate for rate in rates(figures)], ".3f"),
              median_of([each.compute_ms for each in figures], ".3f"),
              median_of([each.ps_mb for each in figures], ".0f")] for name, figures in results.items()]
    return ["1 ps + 1 worker:", "",
            *markdown(["model", "parameters", "ms a step", "of it the worker's computation",
                        "peak memory of the ps, MB"],
                      cells)]


def cluster_lines(options, jobs, heading, first_column):
    results = processes.run_in_rounds(jobs, options.rounds,
                                      lambda job: processes.run_job(job, options, options.batches_in_all), say)
    first = next(iter(results.values()), [])
    cells = [[name, median_of(rates(figures), ".1f"), median_ratio(rates(figures), rates(first)),
              median_of([each.first_step_s for each in figures], ".2f"),
              median_of([each.chief_mb for each in figures], ".0f"), median_of([each.ps_mb for each in figures], ".0f")]
             for name, figures in results.items()]
    return [heading, "", *markdown([first_column, "batches/s", "to the first row", "first step after, s",
                                    "peak memory, MB: chief", "largest ps"], cells)]


def workers_part(options, flags):
    jobs = [processes.Job(f"{workers} worker{'s' if workers > 1 else ''}", flags, workers)
            for workers in options.workers]
    return cluster_lines(options, jobs, "## Workers, 1 ps, asynchronous", "workers")


def ps_part(options, flags):
    jobs = [processes.Job(f"{ps} ps", flags, workers=2, ps=ps) for ps in options.ps]
    return cluster_lines(options, jobs, "## Parameter servers, 2 workers, asynchronous", "ps tasks")


def main(arguments=None):
    own, flags = split_arguments(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR", help="where step_bench is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=split(str), default=list(PARTS), help="parts: " + ",".join(PARTS))
    parser.add_argument("--batches", type=split(int), default=[1, 4, 16, 64, 256, 1024, 4096])
    parser.add_argument("--samples", type=int, default=20000, help="samples of a local run (default: 20000)")
    parser.add_argument("--workers", type=split(int), default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--ps", type=split(int), default=[1, 2, 3, 4])
    parser.add_argument("--batches_in_all", type=int, default=800, help="batches of a cluster's run (default: 800)")
    options = parser.parse_args(own)
    unknown = set(options.only) - set(PARTS)
    if unknown:
        parser.error(f"--only: {', '.join(unknown)} is not one of {', '.join(PARTS)}")
    print(f"`tests/bench/scaling.py {' '.join(['--', *flags] if flags else [])}`: {options.rounds} rounds in turns. "
          f"{machine()}; {datetime.date.today()}; commit {commit()}.")
    for part, lines in (("batch", batch_part), ("parameters", parameters_part), ("workers", workers_part),
                        ("ps", ps_part)):
        if part in options.only:
            print("\n" + "\n".join(lines(options, flags)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
