#!/usr/bin/env python3
"""Stands in for the program in the launcher's tests: notes how it was started, then behaves as told.

  --notes DIR            each task writes DIR/worker_1.json when it runs, and DIR/worker_1.signals for what it receives
  --do worker:1=WHAT     exit:N[:SECONDS], die:SIGNAL, save:SECONDS (runs; on a signal saves that long, then leaves with
                         128 + N), stubborn (runs, ignores signals), leave_child (starts a process, then fails with 1)
Without a --do a worker prints three lines and ends; a ps ends when all workers have.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time


def parse():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--ps_hosts", "--worker_hosts", "--job_name", "--notes"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--task_index", type=int, required=True)
    parser.add_argument("--do", action="append", default=[])
    return parser.parse_known_args()


def main():
    flags, extra = parse()
    me = f"{flags.job_name}_{flags.task_index}"
    notes = pathlib.Path(flags.notes)
    tasks = dict(item.split("=", 1) for item in flags.do)
    what, *values = tasks.get(me.replace("_", ":"), "default").split(":")
    received = []

    def on_signal(number, frame):
        received.append(number)
        with open(notes / f"{me}.signals", "a") as file:
            file.write(f"{number}\n")

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    facts = {"pid": os.getpid(), "argv": sys.argv[1:], "extra": extra, "stdin": os.readlink("/proc/self/fd/0"),
             "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
             "ps_hosts": flags.ps_hosts, "worker_hosts": flags.worker_hosts}
    if what == "leave_child":
        facts["child"] = subprocess.Popen(["sleep", "600"]).pid
    temporary = notes / f"{me}.tmp"
    temporary.write_text(json.dumps(facts))
    temporary.rename(notes / f"{me}.json")

    if what == "exit":
        time.sleep(float(values[1]) if len(values) > 1 else 0)
        return int(values[0])
    if what == "die":
        os.kill(os.getpid(), int(values[0]))
    if what == "leave_child":
        return 1
    if what == "stubborn":
        while True:
            time.sleep(0.05)
    if what == "save":
        while not received:
            time.sleep(0.02)
        time.sleep(float(values[0]))
        return 128 + received[0]
    if flags.job_name == "worker":
        for step in (100, 200, 300):
            print(f"Worker : {flags.task_index}, Step: {step}, Accuracy (batch): 0.9800", flush=True)
        (notes / f"{me}.done").touch()
        return 0
    workers = len(flags.worker_hosts.split(","))
    while not received and len(list(notes.glob("worker_*.done"))) < workers:
        time.sleep(0.02)
    return 128 + received[0] if received else 0


if __name__ == "__main__":
    sys.exit(main())
