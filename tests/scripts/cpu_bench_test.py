"""The benchmarks of the CPU (cluster.py, steps.py, scaling.py) with scripts in the place of distmnist and step_bench:
what they run, what they read, their ratios and tables, and what happens to a run that fails. And step_bench's settings,
where it is."""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

from script_case import support

BENCH = support.ROOT / "tests" / "bench"
sys.path.insert(0, str(BENCH))
import processes  # noqa: E402
import steps  # noqa: E402

LOG = textwrap.dedent("""\
    2026-11-28 17:47:11.6: I worker:0] first step 0.20 s after the start
    2026-11-28 17:47:11.6: I worker:1] first step 0.35 s after the start
    2026-11-28 17:47:12.3: I worker:0] trained until global_step 200 at 40.0 global steps/s
    2026-11-28 17:47:12.3: I worker:1] trained until global_step 200 at 42.0 global steps/s
    2026-11-28 17:47:12.3: I worker:0] time per step 50.0 ms: compute 30.0, push 1.0, wait 18.0, pull 1.0
    2026-11-28 17:47:12.3: I worker:1] time per step 48.0 ms: compute 32.0, push 1.0, wait 14.0, pull 1.0
    2026-11-28 17:47:12.7: I worker:0] peak memory 120 MB, 1.2 s in all
    2026-11-28 17:47:12.7: I worker:1] peak memory 101 MB, 1.2 s in all
    2026-11-28 17:47:12.7: I worker:2] peak memory 103 MB, 1.2 s in all
    2026-11-28 17:47:12.7: I ps:0] peak memory 58 MB, 1.2 s in all
    """)

# Says what it was asked, and as the tasks of a run of 20 batches/s do.
PROGRAM = """\
    #!/bin/sh
    echo "$*" >>"$RUNS"
    task=local
    for argument; do
      case $argument in
        --job_name=*) job=${argument#*=} ;;
        --task_index=*) task=$job:${argument#*=} ;;
        --fail) exit 3 ;;
      esac
    done
    echo "x: I $task] peak memory 60 MB, 1 s in all"
    [ "$job" != ps ] || exit 0
    echo "x: I $task] first step 0.25 s after the start"
    echo "x: I $task] trained until global_step 9 at 20.0 global steps/s"
    echo "x: I $task] time per step 50.0 ms: compute 30.0"
    """
# A millisecond for a sample of a resident step, half of it without the update, four times that by oneDNN.
STEP_BENCH = """\
    #!/usr/bin/env python3
    import json, sys
    for line in sys.stdin:
        mode, batch, precision, *settings = line.split()
        us = 1000.0 * int(batch) / (1 if mode == "resident" else 2) * (4 if "kernels=onednn" in settings else 1)
        refused = "kernels=avx512" in settings
        print(json.dumps({"error": "it has none"} if refused else {"us": us}), flush=True)
    """


class LogTest(support.EndToEndTest):
    def test_figures_are_of_all_workers_and_memory_of_each_role(self):
        job = processes.Job("sync", workers=3, batches_per_step=3)
        figures = processes.JobFigures(job, LOG)
        self.assertEqual((figures.rate, figures.first_step_s, figures.compute_ms), (3 * 41.0, 0.35, 31.0))
        self.assertEqual((figures.chief_mb, figures.worker_mb, figures.ps_mb), (120, 103, 58))

    def test_a_local_run_has_neither_other_workers_nor_a_ps(self):
        figures = processes.JobFigures(processes.Job("local"), "x: I local] trained until global_step 9 at 5.0 global "
                                                               "steps/s\nx: I local] peak memory 70 MB, 1 s in all\n")
        self.assertEqual((figures.chief_mb, figures.worker_mb, figures.ps_mb), (70, None, None))

    def test_without_a_rate_the_run_has_failed(self):
        with self.assertRaises(processes.RunFailed):
            processes.JobFigures(processes.Job("local"), "x: I local] peak memory 70 MB, 1 s in all\n")


class CommandsTest(support.EndToEndTest):
    def test_a_synchronous_job_has_steps_for_its_batches_and_each_task_a_port_of_its_own(self):
        job = processes.Job("sync", ["--sync_replicas"], workers=2, ps=2, batches_per_step=2)
        commands = job.commands("distmnist", "mnist", 100)
        self.assertEqual([command[-2:] for command in commands],
                         [[f"--job_name={name}", f"--task_index={index}"] for name in ("ps", "worker")
                          for index in (0, 1)])
        self.assertTrue(all("--train_steps=50" in command and "--sync_replicas" in command for command in commands))
        ports = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(commands[0]))
        self.assertEqual((len(ports), len(set(ports))), (4, 4))


class ScriptsTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.base = pathlib.Path(self.folder)
        self.program_file = self.script(self.base / "program", PROGRAM)
        self.script(self.base / "build" / "tests" / "bench" / "gpu" / "step_bench", STEP_BENCH)

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755)
        return path

    def bench(self, name, *arguments):
        """The finished process, its table rows by first cell, and the runs of the program."""
        runs = self.base / "runs"
        done = subprocess.run([sys.executable, BENCH / name, *arguments], env={**os.environ, "RUNS": str(runs)},
                              capture_output=True, text=True, timeout=support.DEADLINE_S, check=False)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()
                if line.startswith("|")]
        return done, rows, runs.read_text().splitlines() if runs.exists() else []

    def cluster(self, *arguments):
        return self.bench("cluster.py", "--binary", self.program_file, "--data_dir", self.folder, *arguments)

    def test_runs_take_turns_and_flags_after_the_dashes_reach_every_process(self):
        done, rows, runs = self.cluster("--only", "2 worker", "--rounds", "2", "--batches", "90", "--",
                                        "--precision=bf16")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(rows[2:], [["async, 2 workers", "20.0 (20.0, 20.0)", "0.25", "60", "60", "60"],
                                    ["sync, 2 workers", "40.0 (40.0, 40.0)", "0.25", "60", "60", "60"]])
        self.assertEqual(len(runs), 12)
        self.assertTrue(all("--precision=bf16" in run for run in runs))
        # Three processes of one, then of the other, and again.
        self.assertEqual(["--sync_replicas" in run for run in runs], ([False] * 3 + [True] * 3) * 2)
        self.assertEqual({re.search(r"train_steps=(\d+)", run).group(1) for run in runs[3:6]}, {"45"})

    def test_each_cluster_runs_once_more_with_keys_where_that_is_asked_for(self):
        done, rows, runs = self.cluster("--only", "1 ", "--rounds", "1", "--keys")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([row[0] for row in rows[2:]], ["local, 1 thread", "async, 1 worker", "async, 1 worker, keys",
                                                        "sync, 1 worker", "sync, 1 worker, keys"])
        self.assertRegex(runs[0], r"^keygen \S+/keys --tasks=ps:1,worker:3$")
        folder = runs[0].split()[1]
        self.assertEqual([f"--keys={folder}" in run for run in runs[1:]], [False] * 3 + [True] * 2 + [False] * 2 + [True] * 2)

    def test_a_run_that_fails_is_left_out_with_why(self):
        done, rows, _ = self.cluster("--only", "local, 1", "--rounds", "2", "--", "--fail")
        self.assertEqual((done.returncode, rows[2:]), (1, []))
        self.assertRegex(done.stderr, "local, 1 thread is left out, for a run failed: .*exit code 3")

    def test_steps_are_held_against_onednn_in_float32_and_what_is_refused_is_said(self):
        done, rows, _ = self.bench("steps.py", "--build", self.base / "build", "--rounds", "2", "--threads", "1",
                                   "--batches", "50", "--precisions", "f32", "--kernels", "avx2,avx512,onednn")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(rows[2:], [["forward + backward", "f32", "avx2", "25.00", "2000", "4.00"],
                                    ["forward + backward", "f32", "onednn", "100.00", "500", "1.00"],
                                    ["with Adam", "f32", "avx2", "50.00", "1000", "2.00"],
                                    ["with Adam", "f32", "onednn", "200.00", "250", "0.50"]])
        self.assertIn("avx512 is left out: it has none", done.stderr)

    def test_without_onednn_there_are_no_ratios(self):
        done, rows, _ = self.bench("steps.py", "--build", self.base / "build", "--rounds", "1", "--threads", "1",
                                   "--batches", "50", "--precisions", "f32", "--kernels", "avx2")
        self.assertEqual((done.returncode, rows[2][5]), (0, "-"), done.stderr)

    def test_costs_are_measured_by_batch_parameters_workers_and_ps(self):
        done, rows, runs = self.bench("scaling.py", "--build", self.base / "build", "--binary", self.program_file,
                                      "--data_dir", self.folder, "--rounds", "1", "--batches", "1,100", "--samples",
                                      "1000", "--workers", "1,2", "--ps", "1,3")
        self.assertEqual(done.returncode, 0, done.stderr)
        by_name = {row[0]: row for row in rows}
        self.assertEqual(by_name["100"], ["100", "50.000", "100.000", "2000", "60"])
        self.assertEqual(by_name["10"][:2], ["10", "16,256,170"])
        self.assertEqual(by_name["mlp"], ["mlp", "79,510", "50.000", "30.000", "60"])
        self.assertEqual(by_name["2 workers"][:3], ["2 workers", "20.0", "1.00"])
        self.assertIn("3 ps", by_name)
        steps_of = {re.search(r"batch_size=(\d+)", run).group(1): re.search(r"train_steps=(\d+)", run).group(1)
                    for run in runs if "batch_size" in run}
        self.assertEqual(steps_of, {"1": "1000", "100": "10"})


class StepBenchTest(support.EndToEndTest):
    def ask(self, *requests):
        program = os.environ.get("DISTMNIST_STEP_BENCH")
        if not program:
            self.skipTest("there is no step_bench")
        bench = steps.Peer("step_bench", [program, "cpu", "", "softmax"])
        try:
            return [bench.ask(request, support.DEADLINE_S) for request in requests]
        finally:
            bench.stop()

    def test_threads_kernels_and_a_width_can_be_chosen(self):
        for reply in self.ask("train_step 2 f32 threads=2", "resident 2 bf16 kernels=portable hidden=7",
                              "train_step 2 f32 kernels=onednn"):
            self.assertGreater(reply.get("us", 0), 0, reply)

    def test_what_is_no_setting_is_refused(self):
        for request, words in (("train_step 2 f32 thread=2", "not a setting"), ("train_step 2 f32 threads=0", "'0'"),
                               ("train_step 2 f32 kernels=mmx", "mmx"), ("load 2 f32 hidden=x", "'x'")):
            reply, = self.ask(request)
            self.assertIn(words, reply["error"])


if __name__ == "__main__":
    support.main()
