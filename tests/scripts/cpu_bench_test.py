"""The benchmarks of the CPU (cluster.py, steps.py, scaling.py) with scripts in the place of distmnist and step_bench:
what they run and read, their tables, and what happens to a run that fails; and step_bench's settings."""

import os
import re

from script_case import support, write_script
from bench_case import BENCH, BenchTest
import steps

# A millisecond for a sample of a resident step, half of it without the update, four times that by oneDNN.
STEP_BENCH = """\
    while read -r mode batch precision settings; do
      us=$((1000 * batch))
      [ "$mode" = resident ] || us=$((us / 2))
      case $settings in
        *kernels=onednn*) us=$((us * 4)) ;;
        *kernels=avx512*) echo '{"error": "it has none"}'; continue ;;
      esac
      echo "{\\"us\\": $us}"
    done
    """


class TablesTest(BenchTest):
    def setUp(self):
        super().setUp()
        self.build = self.folder / "build"
        write_script(self.build / "tests" / "bench" / "gpu" / "step_bench", STEP_BENCH)

    def cluster(self, *arguments, code=0):
        return self.bench(BENCH / "cluster.py", "--binary", self.program_file, "--data_dir", self.folder, *arguments,
                          code=code)

    def test_runs_take_turns_and_flags_after_the_dashes_reach_every_process(self):
        _, rows, runs = self.cluster("--only", "2 worker", "--rounds", "2", "--batches", "90", "--", "--precision=bf16")
        self.assertEqual(rows[2:], [["async, 2 workers", "20.0 (20.0, 20.0)", "0.25", "80", "60", "40"],
                                    ["sync, 2 workers", "40.0 (40.0, 40.0)", "0.25", "80", "60", "40"]])
        self.assertTrue(all("--precision=bf16" in run for run in runs))
        # Three processes of one, then of the other, and again.
        self.assertEqual(["--sync_replicas" in run for run in runs], ([False] * 3 + [True] * 3) * 2)
        self.assertEqual({re.search(r"train_steps=(\d+)", run).group(1) for run in runs[3:6]}, {"45"})
        self.assertEqual(len(set(re.findall(r"127\.0\.0\.1:\d+", runs[0]))), 3)

    def test_each_cluster_runs_once_more_with_keys_where_that_is_asked_for(self):
        _, rows, runs = self.cluster("--only", "1 ", "--rounds", "1", "--keys")
        self.assertEqual([row[0] for row in rows[2:]], ["local, 1 thread", "async, 1 worker", "async, 1 worker, keys",
                                                        "sync, 1 worker", "sync, 1 worker, keys"])
        self.assertEqual(rows[2][3:], ["60", "-", "-"])  # MB of other workers and of the ps: there are none
        folder = re.fullmatch(r"distmnist keygen (\S+/keys) --tasks=ps:1,worker:3", runs[0]).group(1)
        self.assertEqual([f"--keys={folder}" in run for run in runs[1:]], [False] + ([False] * 2 + [True] * 2) * 2)

    def test_a_run_that_fails_is_left_out_with_why(self):
        done, rows, _ = self.cluster("--only", "local, 1", "--rounds", "2", "--", "--fail", code=1)
        self.assertEqual(rows[2:], [])
        self.assertRegex(done.stderr, "local, 1 thread is left out because a run failed: .*exit code 3")

    def test_steps_are_compared_with_onednn_in_float32_and_what_is_refused_is_said(self):
        for kernels, ratios in (("avx2,avx512,onednn", ["4.00", "1.00", "2.00", "0.50"]), ("avx2", ["-", "-"])):
            done, rows, _ = self.bench(BENCH / "steps.py", "--build", self.build, "--rounds", "2", "--threads", "1",
                                       "--batches", "50", "--precisions", "f32", "--kernels", kernels)
            self.assertEqual([row[5] for row in rows[2:]], ratios)
            self.assertEqual(rows[2][:5], ["forward + backward", "f32", "avx2", "25.00", "2000"])
            self.assertEqual("avx512 is left out: it has none" in done.stderr, "avx512" in kernels)

    def test_costs_are_measured_by_batch_parameters_workers_and_ps(self):
        _, rows, runs = self.bench(BENCH / "scaling.py", "--build", self.build, "--binary", self.program_file,
                                   "--data_dir", self.folder, "--rounds", "1", "--batches", "1,100", "--samples",
                                   "1000", "--workers", "1,2", "--ps", "1,3")
        for expected in (["100", "50.000", "100.000", "2000", "60"], ["10", "16,256,170"],
                         ["mlp", "79,510", "50.000", "0.100", "40"], ["2 workers", "20.0", "1.00"], ["3 ps"]):
            self.assertIn(expected, [row[:len(expected)] for row in rows])
        steps_of = [re.search(r"train_steps=(\d+).*batch_size=(\d+)", run).groups() for run in runs if "batch_s" in run]
        self.assertEqual(steps_of, [("1000", "1"), ("10", "100")])

    def test_settings_of_step_bench_can_be_chosen_and_what_is_no_setting_is_refused(self):
        program = os.environ.get("DISTMNIST_STEP_BENCH")
        if not program:
            self.skipTest("there is no step_bench")
        bench = steps.Peer("step_bench", [program, "cpu", "", "softmax"])
        self.addCleanup(bench.stop)
        for request, refusal in (("train_step 2 f32 threads=2", None), ("train_step 2 f32 kernels=onednn", None),
                                 ("resident 2 bf16 kernels=portable hidden=7", None),
                                 ("train_step 2 f32 thread=2", "not a setting"), ("train_step 2 f32 threads=0", "'0'"),
                                 ("train_step 2 f32 kernels=mmx", "mmx"), ("load 2 f32 hidden=x", "'x'")):
            with self.subTest(request=request):
                reply = bench.ask(request, support.DEADLINE_S)
                self.assertIn(refusal or "", reply.get("error", ""))
                self.assertEqual(reply.get("us", 0) > 0, not refusal, reply)


if __name__ == "__main__":
    support.main()
