"""tests/bench/compare.sh where no peer is: what it reads from each program, its medians and table, its place in the
page, and whole runs with scripts in the place of all programs."""

import re
import signal
import sys

from script_case import support, write_script
from bench_case import BENCH, BenchTest
import compare

TENSORFLOW = """RATE worker 0 global_steps/s 20.00 local 8.00 wall 9.40
RATE worker 1 global_steps/s 22.00 local 7.00 wall 9.40
RATE worker 2 global_steps/s 30.00 local 9.00 wall 7.40
ps VmHWM:   972800 kB
worker0 peak memory 921600 KB, user 6.01 s, system 3.41 s
"""
MXNET = """mxnet dist_async worker 1: 10.50 local steps/s
mxnet dist_async worker 0: 11.00 local steps/s
"""
PYTORCH = "torch 2.9.1+cpu threads 1 bf16=False compile=False cl=False: median 20.00 ms -> 50.0 steps/s\n"
RUN_SH = """\
    echo "$1 $3" >>"$RUNS"
    [ "$1" != "${FAILING_PEER:-}" ] || { echo "no such port"; exit 3; }
    echo "RATE worker 0 global_steps/s 16.00 local 16.00 wall 9.40"
    echo "worker0 peak memory 921600 KB, user 6.01 s, system 3.41 s"
    """
ONE, ASYNC, SYNC = "one process, 1 thread", "1 ps + 3 workers, async", "1 ps + 3 workers, sync"


def figures(*rates):
    return [compare.Figures(rate, 100) for rate in rates]


class PartsTest(BenchTest):
    def test_rates_are_batches_of_all_workers_and_memory_is_of_the_largest_process(self):
        for name, comparison, text, rate, memory_mb in (
                ("TensorFlow", ASYNC, TENSORFLOW, 22.0, 950.0), ("TensorFlow", SYNC, TENSORFLOW, 3 * 22.0, 950.0),
                ("MXNet", ASYNC, MXNET, 21.5, 77.0), ("MXNet", SYNC, MXNET, 21.5, 77.0),
                ("PyTorch", ONE, PYTORCH, 50.0, 77.0)):
            with self.subTest(name=name, comparison=comparison):
                program = next(each for each in compare.COMPARISONS[comparison] if name in each.name)
                read = program.figures(text, 77.0)
                self.assertEqual((read.rate, read.memory_mb), (rate, memory_mb))
                with self.assertRaises(compare.RunFailed):
                    program.figures("Killed\n", 77.0)

    def test_a_row_has_the_median_and_the_median_of_the_rounds_ratios(self):
        # The machine was busy in the second round, and in the third for the peer only.
        results = {"distmnist": figures(40, 20, 44), "distmnist, bf16": figures(60, 10, 55),
                   "peer": figures(20, 10, 11)}
        results["distmnist"][0].first_step_s, results["distmnist"][2].first_step_s = 0.2, 0.4
        cells = compare.rows("sync", results, {"distmnist": 90, "distmnist, bf16": 90, "peer": 30})
        self.assertEqual(cells, [["sync: distmnist", "90", "40.0 (40.0, 20.0, 44.0)", "-", "1.25", "100", "0.30"],
                                 ["sync: distmnist, bf16", "90", "55.0 (60.0, 10.0, 55.0)", "0.80", "-", "100", "-"],
                                 ["sync: peer", "30", "11.0 (20.0, 10.0, 11.0)", "2.00", "3.00", "100", "-"]])

    def test_only_what_is_between_the_markers_of_the_page_changes(self):
        page = "# Measurements\n\nText.\n"
        first = compare.with_section(page, ["one"])
        self.assertEqual(first, page + f"\n{compare.HEADING}\n\n{compare.BEGIN}\none\n{compare.END}\n")
        second = compare.with_section(first + "\n## After\n", ["two", "three"])
        self.assertEqual(second, first.replace("one", "two\nthree") + "\n## After\n")
        with self.assertRaises(SystemExit):  # half a pair of markers
            compare.with_section(f"text\n{compare.BEGIN}\nmore text\n", ["x"])


class WholeRunTest(BenchTest):
    def setUp(self):
        super().setUp()
        self.page, peers, environments = (self.folder / name for name in ("page.md", "peers", "environments"))
        self.page.write_text("# Measurements\n")
        (self.folder / "mnist").mkdir()
        self.run_sh = write_script(peers / "run.sh", RUN_SH)
        write_script(environments / "tf" / "bin" / "python", "")
        self.command = [BENCH / "compare.sh", peers, "--binary", self.program_file, "--page", self.page, "--data_dir",
                        self.folder / "mnist", "--time_program", sys.executable]
        self.peers_variable = {"PEERS": str(environments)}

    def compare(self, *arguments, code=0, **environment):
        return self.bench(*self.command, *arguments, code=code, **self.peers_variable, **environment)

    def test_programs_take_turns_and_the_table_is_written(self):
        done, rows, runs = self.compare("--only", "1 thread", "--rounds", "5", "--steps", "90", "--write")
        self.assertEqual([run.split()[0] for run in runs], ["distmnist", "distmnist", "tf-local"] * 5)
        self.assertIn("--train_steps=90", runs[0])
        self.assertEqual(["bf16" in run for run in runs[:2]], [False, True])
        self.assertEqual(runs[2], "tf-local 90")
        self.assertEqual(rows[-1], ["one process, 1 thread: TensorFlow", "90", f"16.0 ({', '.join(['16.0'] * 5)})",
                                    "1.25", "1.25", "900", "-"])
        self.assertIn("| 1.25 | 1.25 | 900 |", self.page.read_text())
        self.assertRegex(self.page.read_text(), r"5 rounds in turns; (.|\n)*; \d{4}-\d\d-\d\d;\scommit\s")
        self.assertLess(max(map(len, self.page.read_text().splitlines())), 120)
        for name in ("PyTorch", "MXNet"):
            self.assertRegex(done.stderr, f"thread: {name} is left out: .*/bin/python is not there; README.md in")

    def test_synchronous_runs_have_a_third_of_the_steps_and_each_cluster_all_its_tasks(self):
        _, rows, runs = self.compare("--only", "workers, sync", "--rounds", "1", "--steps", "90")
        tasks = re.findall(r"--job_name=(\w+) --task_index=(\d)", "\n".join(runs))
        self.assertEqual(sorted(tasks), sorted([("ps", "0"), ("worker", "0"), ("worker", "1"), ("worker", "2")] * 2))
        self.assertEqual(sum("--precision=bf16 --sync_replicas --wire_dtype=bf16" in run for run in runs), 4)
        self.assertEqual({re.search(r"--train_steps=(\d+)", run).group(1) for run in runs[:-1]}, {"30"})
        self.assertEqual(runs[-1], "tf-sync 30")
        self.assertEqual([row[1:6] for row in rows[2:]], [["90", "60.0 (60.0)", "-", "1.00", "80"],
                                                          ["90", "60.0 (60.0)", "1.00", "-", "80"],
                                                          ["90", "48.0 (48.0)", "1.25", "1.25", "900"]])
        self.assertEqual(self.page.read_text(), "# Measurements\n")  # without --write

    def test_a_program_that_fails_is_left_out_and_two_are_needed(self):
        done, _, runs = self.compare("--only", "1 thread", "--rounds", "3", code=1, FAILING_PEER="tf-local")
        self.assertRegex(done.stderr, r"TensorFlow is left out because .*: exit code 3\nno such port")
        self.assertEqual(len(runs), 3)
        done, rows, _ = self.compare("--only", "1 thread", "--rounds", "2", FAILS_WITH="--precision=bf16")
        self.assertIn("distmnist, bf16 is left out because a run failed", done.stderr)
        self.assertEqual(rows[-1][3:5], ["1.25", "-"])

    def test_a_signal_ends_what_was_started_too(self):
        write_script(self.run_sh, f"sleep 600 & touch {self.folder}/at_work; wait")
        started = self.start([*self.command, "--only", "1 thread"], env={"RUNS": str(self.runs), **self.peers_variable})
        support.wait_until((self.folder / "at_work").exists, "the peer's process")
        started.send(signal.SIGTERM)
        self.assert_exit(started, 128 + signal.SIGTERM)
        self.assert_nothing_runs()

    def test_what_cannot_be_asked_for_is_refused(self):
        for arguments, words in ((["--write", "--rounds", "4"], "at least 5 rounds"),
                                 (["--only", "nothing"], "no comparison has 'nothing'"),
                                 (["--binary", self.folder / "none"], "build it")):
            with self.subTest(words=words):
                done, _, runs = self.compare(*arguments, code=2)
                self.assertIn(words, done.stderr)
                self.assertEqual(runs, [])


if __name__ == "__main__":
    support.main()
