"""tests/bench/compare.sh where no peer is: what it reads from each program, its medians and table, its place in the
page, and whole runs with scripts in the place of all programs."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import unittest.mock

from script_case import support

BENCH = support.ROOT / "tests" / "bench"
sys.path.insert(0, str(BENCH))
import compare  # noqa: E402

DISTMNIST = """\
    2026-11-21 14:02:04.416722: I worker:0] first step 0.20 s after the start
    2026-11-21 14:02:04.416722: I worker:1] first step 0.35 s after the start
    2026-11-21 14:02:08.104881: I worker:0] trained until global_step 1000 at 54.0 global steps/s
    2026-11-21 14:02:08.104881: I worker:1] trained until global_step 1000 at 56.0 global steps/s
    2026-11-21 14:02:09.341344: I worker:0] peak memory 130 MB, 5.1 s in all
    2026-11-21 14:02:09.341344: I ps:0] peak memory 58 MB, 5.1 s in all
    """
TENSORFLOW = """\
    Test-Accuracy: 0.8695
    RATE worker 0 global_steps/s 20.00 local 8.00 wall 9.40
    RATE worker 1 global_steps/s 22.00 local 7.00 wall 9.40
    RATE worker 2 global_steps/s 30.00 local 9.00 wall 7.40
    ps VmHWM:   972800 kB
    worker0 peak memory 921600 KB, user 6.01 s, system 3.41 s
    """
MXNET = """\
    mxnet dist_async worker 1: 10.50 local steps/s
    mxnet dist_async worker 0: 11.00 local steps/s
    Test-Accuracy 0.8428
    """
PYTORCH = "torch 2.9.1+cpu threads 1 bf16=False compile=False cl=False: median 20.00 ms -> 50.0 steps/s\n"

RUN_SH = """\
    #!/bin/sh
    echo "$1 $3" >>runs
    [ ! -e "fail_$1" ] || { echo "no such port"; exit 3; }
    echo "RATE worker 0 global_steps/s 20.00 local 20.00 wall 9.40"
    echo "worker0 peak memory 921600 KB, user 6.01 s, system 3.41 s"
    """
PROGRAM = """\
    #!/bin/sh
    echo "distmnist $*" >>"$PEERS/../runs"
    echo "x: I worker:0] trained until global_step 9 at 30.0 global steps/s"
    echo "x: I worker:0] peak memory 100 MB, 5.1 s in all"
    """


def program(name_part, comparison):
    return next(each for each in compare.COMPARISONS[comparison] if name_part in each.name)


def figures(*rates):
    return [compare.Figures(rate, 100) for rate in rates]


class ParsingTest(support.EndToEndTest):
    ASYNC, SYNC = "1 ps + 3 workers, async", "1 ps + 3 workers, sync"

    def read(self, name_part, comparison, text):
        read = program(name_part, comparison).figures(textwrap.dedent(text), 77.0)
        return read.rate, read.memory_mb, read.first_step_s

    def test_distmnists_figures_are_of_all_workers(self):
        self.assertEqual(self.read("distmnist", self.ASYNC, DISTMNIST), (55.0, 130.0, 0.35))

    def test_a_synchronous_step_is_a_batch_of_each_worker(self):
        self.assertEqual(self.read("distmnist", self.SYNC, DISTMNIST)[0], 3 * 55.0)
        self.assertEqual(self.read("TensorFlow", self.SYNC, TENSORFLOW)[0], 3 * 22.0)

    def test_tensorflows_global_rate_is_read_and_the_memory_of_the_ps_too(self):
        self.assertEqual(self.read("TensorFlow", self.ASYNC, TENSORFLOW), (22.0, 950.0, None))

    def test_mxnets_workers_are_added_up_and_memory_is_the_largest_process_where_none_is_printed(self):
        for comparison in (self.ASYNC, self.SYNC):
            self.assertEqual(self.read("MXNet", comparison, MXNET), (21.5, 77.0, None))

    def test_pytorchs_median_step_is_read(self):
        self.assertEqual(self.read("PyTorch", "one process, 1 thread", PYTORCH), (50.0, 77.0, None))

    def test_what_prints_no_rate_is_a_failed_run(self):
        for comparison, programs in compare.COMPARISONS.items():
            for each in programs:
                with self.assertRaises(compare.RunFailed, msg=(comparison, each.name)):
                    each.figures("Killed\n", 77.0)


class TableTest(support.EndToEndTest):
    def test_a_row_has_the_median_and_the_median_of_the_rounds_ratios(self):
        # The machine was busy in the second round, and in the third for the peer only.
        results = {"distmnist": figures(40, 20, 44), "distmnist, bf16": figures(60, 10, 55),
                   "peer": figures(20, 10, 11)}
        cells = compare.rows("sync", results, {"distmnist": 90, "distmnist, bf16": 90, "peer": 30})
        self.assertEqual(cells, [["sync: distmnist", "90", "40.0 (40.0, 20.0, 44.0)", "-", "1.25", "100", "-"],
                                 ["sync: distmnist, bf16", "90", "55.0 (60.0, 10.0, 55.0)", "0.80", "-", "100", "-"],
                                 ["sync: peer", "30", "11.0 (20.0, 10.0, 11.0)", "2.00", "3.00", "100", "-"]])
        table = compare.markdown(compare.HEADINGS, cells)
        self.assertEqual({line.count("|") for line in table}, {8})

    def test_without_one_of_ours_its_ratios_are_left_open(self):
        cells = compare.rows("sync", {"distmnist": figures(40), "peer": figures(20)}, {"distmnist": 90, "peer": 30})
        self.assertEqual(cells[1][3:5], ["2.00", "-"])

    def test_the_first_step_is_of_the_rounds_that_have_one(self):
        ours = [compare.Figures(1, 100, 0.2), compare.Figures(1, 300, None), compare.Figures(1, 200, 0.4)]
        self.assertEqual(compare.rows("x", {"distmnist": ours}, {"distmnist": 90})[0][5:], ["200", "0.30"])


class PageTest(support.EndToEndTest):
    def test_without_git_the_commit_is_unknown(self):
        with unittest.mock.patch.dict(os.environ, PATH=str(self.folder)):
            self.assertEqual(compare.commit(), "an unknown commit")

    def test_markers_are_made_once_and_only_what_is_between_them_changes(self):
        page = "# Measurements\n\nText.\n"
        first = compare.with_section(page, ["one"])
        self.assertEqual(first, page + f"\n{compare.HEADING}\n\n{compare.BEGIN}\none\n{compare.END}\n")
        second = compare.with_section(first + "\n## After\n", ["two", "three"])
        self.assertEqual(second, first.replace("one", "two\nthree") + "\n## After\n")

    def test_half_a_pair_of_markers_is_not_guessed_at(self):
        with self.assertRaises(SystemExit):
            compare.with_section(f"text\n{compare.BEGIN}\nmore text\n", ["x"])


class WholeRunTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.base = pathlib.Path(self.folder)
        self.peers, self.environments = self.base / "peers", self.base / "environments"
        self.page = self.base / "page.md"
        self.page.write_text("# Measurements\n")
        (self.base / "mnist").mkdir()
        self.script(self.peers / "run.sh", RUN_SH.replace("runs", str(self.base / "runs")))
        self.script(self.base / "program", PROGRAM)
        self.script(self.environments / "tf" / "bin" / "python", "#!/bin/sh\n")

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755)

    def compare(self, *arguments):
        """The finished process, and the runs that it made."""
        done = subprocess.run([BENCH / "compare.sh", self.peers, "--binary", self.base / "program", "--page", self.page,
                               "--time_program", sys.executable, *arguments],
                              env={**os.environ, "PEERS": str(self.environments), "MNIST_DIR": ""}, capture_output=True,
                              text=True, timeout=support.DEADLINE_S, check=False)
        runs = self.base / "runs"
        return done, runs.read_text().splitlines() if runs.exists() else []

    def test_programs_take_turns_and_the_table_is_written(self):
        done, runs = self.compare("--only", "1 thread", "--rounds", "5", "--steps", "90", "--write",
                                  "--data_dir", self.base / "mnist")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([run.split()[0] for run in runs], ["distmnist", "distmnist", "tf-local"] * 5)
        self.assertIn("--train_steps=90", runs[0])
        self.assertEqual([re.findall(r"--(?:precision|wire_dtype)=\w+", run) for run in runs[:2]],
                         [[], ["--precision=bf16"]])
        self.assertEqual(runs[2], "tf-local 90")
        rates = ", ".join(["20.0"] * 5)
        row = f"| one process, 1 thread: TensorFlow | 90 | 20.0 ({rates}) | 1.50 | 1.50 | 900 | - |"
        self.assertIn(row, done.stdout)
        page = self.page.read_text()
        self.assertIn(row, page)
        self.assertRegex(page, r"5 rounds in turns, .*; \d{4}-\d\d-\d\d; commit ")

    def test_peers_that_are_not_set_up_are_left_out_with_a_line_each(self):
        done, _ = self.compare("--only", "1 thread", "--rounds", "1", "--data_dir", self.base / "mnist")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name, folder in (("PyTorch", "pt"), ("MXNet", "mx")):
            python = self.environments / folder / "bin" / "python"
            self.assertIn(f"thread: {name} is left out: {python} is not there; README.md in", done.stderr)
            self.assertNotIn(name, done.stdout)
        self.assertEqual(self.page.read_text(), "# Measurements\n")

    def test_without_time_peers_that_need_it_are_left_out(self):
        done, runs = self.compare("--only", "1 thread", "--data_dir", self.base / "mnist", "--time_program",
                                  self.base / "time")
        self.assertEqual((done.returncode, runs), (1, []))
        self.assertRegex(done.stderr, r"TensorFlow is left out: .*/time, which measures its memory, is not there")
        self.assertIn("there are not two programs to compare", done.stderr)

    def test_synchronous_runs_have_a_third_of_the_steps_and_each_cluster_all_its_tasks(self):
        done, runs = self.compare("--only", "workers, sync", "--rounds", "1", "--steps", "90",
                                  "--data_dir", self.base / "mnist")
        self.assertEqual(done.returncode, 0, done.stderr)
        both = [[run for run in runs[:-1] if ("bf16" in run) == bf16] for bf16 in (False, True)]
        for ours in both:
            tasks = sorted(re.findall(r"--job_name=(\w+) --task_index=(\d)", "\n".join(ours)))
            self.assertEqual(tasks, [("ps", "0"), ("worker", "0"), ("worker", "1"), ("worker", "2")])
        for run in both[1]:
            self.assertIn("--precision=bf16 --sync_replicas --wire_dtype=bf16", run)
        self.assertEqual({re.search(r"--train_steps=(\d+)", run).group(1) for run in runs[:-1]}, {"30"})
        self.assertEqual(runs[-1], "tf-sync 30")
        self.assertIn("1 ps + 3 workers, sync: distmnist | 90 | 90.0 (90.0) | - | 1.00 |", done.stdout)

    def test_each_program_has_batches_of_its_own_and_some_can_be_left_out(self):
        done, runs = self.compare("--only", "async", "--rounds", "1", "--without", "bf16", "--without", "MXNet",
                                  "--data_dir", self.base / "mnist")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotRegex("".join(runs), "bf16|mxnet")
        self.assertEqual({re.search(r"--train_steps=(\d+)", run).group(1) for run in runs[:-1]}, {"1200"})
        self.assertEqual(runs[-1], "tf-async 1800")
        self.assertIn("TensorFlow | 1800 | 20.0", done.stdout)

    def test_a_peer_whose_run_fails_is_left_out_and_why_is_said(self):
        (self.peers / "fail_tf-local").touch()
        done, runs = self.compare("--only", "1 thread", "--rounds", "3", "--data_dir", self.base / "mnist")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"TensorFlow is left out, .*: exit code 3\nno such port")
        self.assertEqual(len(runs), 3)

    def test_when_one_of_ours_fails_the_other_is_compared(self):
        self.script(self.base / "program", PROGRAM + '    case "$*" in *bf16*) exit 2 ;; esac\n')
        done, _ = self.compare("--only", "1 thread", "--rounds", "2", "--steps", "90", "--data_dir",
                               self.base / "mnist")
        self.assertEqual(done.returncode, 0)
        self.assertIn("distmnist, bf16 is left out, for a run failed", done.stderr)
        self.assertRegex(done.stdout, r"TensorFlow \| 90 \| .* \| 1\.50 \| - \|")

    def test_a_signal_ends_what_was_started_too(self):
        self.script(self.peers / "run.sh", f"#!/bin/sh\nsleep 600 &\necho $! >{self.base}/child\nwait\n")
        command = [BENCH / "compare.sh", self.peers, "--binary", self.base / "program", "--time_program",
                   sys.executable, "--data_dir", self.base / "mnist", "--only", "1 thread"]
        started = support.Process("compare", command, self.folder, env={"PEERS": str(self.environments)})
        child = self.base / "child"
        pid = int(support.wait_until(lambda: child.exists() and child.read_text().strip(), "the peer's process"))
        started.send(signal.SIGTERM)
        self.assertEqual(started.popen.wait(support.DEADLINE_S), 128 + signal.SIGTERM)
        support.wait_until(lambda: not support.is_alive(pid), "the end of the peer's process")

    def test_what_cannot_be_asked_for_is_refused(self):
        for arguments, words in ((["--write", "--rounds", "4"], "at least 5 rounds"),
                                 (["--only", "nothing"], "no comparison has 'nothing'"),
                                 (["--binary", self.base / "none"], "build it"),
                                 (["--data_dir", self.base / "none"], "--data_dir")):
            done, runs = self.compare("--data_dir", self.base / "mnist", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(words, done.stderr)
            self.assertEqual(runs, [])


if __name__ == "__main__":
    support.main()
