"""The GPU benchmark where there is no GPU: its arithmetic and tables, what it reads from logs, its peers, and a whole run
on the reference backend."""

import os
import re
import subprocess
import sys
import textwrap

from script_case import support
import small_runs

BENCH = support.ROOT / "tests" / "bench" / "gpu"
sys.path.insert(0, str(BENCH))
import floors  # noqa: E402
import gpu_bench  # noqa: E402
import peers  # noqa: E402
import whole_runs  # noqa: E402

ANSWER_LIMIT_S = 60.0


class FloorsTest(support.EndToEndTest):
    H200 = floors.card_called("NVIDIA H200")

    def test_a_sample_takes_72_mflop(self):
        # 12,235,400 multiply-adds forward, as many for weights and for inputs, without those of conv1's input.
        self.assertEqual(floors.step_flops(1), 2 * (3 * 12_235_400 - 627_200))
        self.assertEqual(floors.step_flops(50), 50 * floors.step_flops(1))

    def test_f32_is_bound_by_operations_and_bf16_by_bytes_at_batch_50(self):
        self.assertAlmostEqual(floors.flops_us(self.H200, 50, "f32"), 53.85, places=2)
        self.assertAlmostEqual(floors.update_us(self.H200), 9.48, places=2)
        self.assertAlmostEqual(floors.floor_us(self.H200, 50, "f32"), 53.85, places=2)
        self.assertAlmostEqual(floors.floor_us(self.H200, 50, "bf16"), 9.48, places=2)
        self.assertAlmostEqual(floors.floor_us(self.H200, 50, "bf16", launches=20), 40.0)

    def test_a_card_that_is_not_known_has_no_floor(self):
        self.assertIsNone(floors.card_called("NVIDIA T4"))


class TablesTest(support.EndToEndTest):
    def figures(self):
        figures = gpu_bench.StepFigures()
        for us in (60.0, 40.0, 50.0):
            figures.add((50, "bf16"), "distmnist", {"us": us, "launches": 22})
        figures.add((50, "bf16"), "graph", {"us": 120.0})
        figures.add((50, "bf16"), "eager", {"us": 350.0})
        figures.add((50, "bf16"), "compile", {"error": "no compiler"})
        return figures

    def test_a_row_has_medians_ratios_and_floors(self):
        options = gpu_bench.parse_arguments(["--batches=50", "--precisions=bf16"])
        rows = gpu_bench.step_rows(options, FloorsTest.H200, self.figures())
        self.assertEqual(rows, [["50", "bf16", "50.0", "120.0", "350.0", "-", "-", "2.40", "7.00", "3.6", "9.5", "44.0",
                                 "1.14"]])
        table = gpu_bench.markdown(gpu_bench.STEP_HEADINGS, rows)
        self.assertEqual({line.count("|") for line in table}, {14})

    def test_targets_are_reached_or_missed(self):
        targets = gpu_bench.Targets()
        gpu_bench.step_targets(self.figures(), targets)
        self.assertEqual([line.split("|")[-2].strip() for line in targets.lines], ["reached", "reached", "MISSED"])

    def test_what_was_not_measured_is_named(self):
        self.assertEqual(self.figures().faults, {"compile: no compiler": [(50, "bf16")]})


class LogsTest(support.EndToEndTest):
    LOG = textwrap.dedent("""\
        2026-11-21 13:00:10.2: I worker:1] trained until global_step 600 at 1899.1 global steps/s
        2026-11-21 13:00:10.2: I worker:1] time per step 0.709 ms: compute 0.451, push 0.025, wait 0.213 (for other workers 0.100), pull 0.020; sent 1.5 MB, received 1.5 MB
        2026-11-21 13:00:10.2: I worker:0] time per step 12.4 ms: compute 10.0, push 0.4, wait 1.5 (for other workers 0.0), pull 0.5; sent 1.5 MB, received 1.5 MB
        """)

    def test_each_workers_time_outside_its_computation_is_read(self):
        times = whole_runs.worker_times(self.LOG)
        self.assertEqual(sorted(times), ["worker:0", "worker:1"])
        self.assertAlmostEqual(times["worker:0"]["outside"], 2.4)
        self.assertAlmostEqual(times["worker:1"]["outside"], 0.158)  # not the time for which others kept it waiting
        self.assertEqual(times["worker:1"]["compute"], 0.451)

    def test_a_run_that_fails_is_told_with_its_last_words(self):
        command = [sys.executable, "-c", "import sys; sys.exit('out of paper')"]
        with self.assertRaisesRegex(whole_runs.RunFailed, "exit code 1: .*\n*.*out of paper"):
            whole_runs.run(command, ANSWER_LIMIT_S)


class PeersTest(support.EndToEndTest):
    def peer(self, body, program=sys.executable):
        peer = peers.Peer("the peer", [program, "-u", "-c", body])
        self.addCleanup(peer.stop)
        return peer

    def test_chatter_is_passed_over(self):
        peer = self.peer("import sys\nfor line in sys.stdin: print('warning: ' + line + '{\"us\": 3}')")
        self.assertEqual(peer.ask("a", ANSWER_LIMIT_S), {"us": 3})
        self.assertEqual(peer.ask("b", ANSWER_LIMIT_S), {"us": 3})

    def test_a_peer_that_dies_is_the_answers_fault_from_then_on(self):
        peer = self.peer("import sys; sys.stdin.readline(); sys.exit('no card')")
        first = peer.ask("a", ANSWER_LIMIT_S)["error"]
        self.assertIn("the peer: ended with code 1 at 'a': no card", first)
        self.assertEqual(peer.ask("b", ANSWER_LIMIT_S), {"error": first})

    def test_a_silent_peer_is_not_waited_for(self):
        peer = self.peer("import time; time.sleep(1000)")
        self.assertIn("no answer in time", peer.ask("a", 0.3)["error"])

    def test_a_program_that_is_not_there_is_a_fault(self):
        self.assertIn("No such file", self.peer("", "/nonexistent/program").ask("a", 1)["error"])


class TorchTest(support.EndToEndTest):
    def test_without_pytorch_or_a_gpu_every_answer_says_so(self):
        (self.folder / "torch").mkdir()
        (self.folder / "torch" / "__init__.py").write_text("raise ImportError('a stand-in')")
        done = subprocess.run([sys.executable, str(BENCH / "torch_step.py")], input="eager 50 f32\n", text=True,
                              capture_output=True, timeout=ANSWER_LIMIT_S, env={**os.environ, "PYTHONPATH": str(self.folder)})
        self.assertEqual(done.stdout, '{"error": "no PyTorch: a stand-in"}\n', done.stderr)


class WholeBenchmarkTest(small_runs.SmallRunTest):
    def bench(self, *arguments, **environment):
        done = subprocess.run([sys.executable, str(BENCH / "gpu_bench.py"), *arguments], text=True, capture_output=True,
                              timeout=support.LONG_DEADLINE_S, env={**os.environ, **environment})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_without_a_gpu_it_is_left_out(self):
        self.assertEqual(self.bench(PATH=str(self.folder)),
                         "The GPU benchmark is left out: nvidia-smi finds no GPU here.\n")

    def test_another_backend_is_measured_in_the_same_way(self):
        step_bench = os.environ.get("DISTMNIST_STEP_BENCH", "")
        if not os.access(step_bench, os.X_OK):
            self.skipTest("step_bench is not built")
        build = self.folder / "build"
        for place, file in (("tools/distmnist", self.program()), ("tests/bench/gpu/step_bench", step_bench)):
            (build / place).parent.mkdir(parents=True)
            (build / place).symlink_to(file)
        text = self.bench(f"--build={build}", "--device=reference", "--model=softmax", "--quick", "--batches=20,4",
                          "--precisions=f32,bf16", "--cluster_precisions=f32", f"--data_dir={self.data}",
                          "--schedule=--train_steps=50 --batch_size=20",
                          "--program_flags=--model=softmax --intra_op_parallelism_threads=1")
        for row in (r"\| 20 \| f32 \| \d+\.\d \| - \|", r"\| 4 \| bf16 \| - \| - \|",  # bf16: has no kernel there
                    r"Left out: .*has no kernel in the reference backend.*\(20 bf16, 4 bf16\)",
                    r"\| f32 \| \d+\.\d{3} \| \d+\.\d{3} \|", r"\| bf16 \| - \| - \|",
                    r"\| 1 \| f32 \| \d+\.\d \|", r"\| 4 \| f32 \| \d+\.\d \|", r"\| 0 \| [01]\.\d{4} \| \d+\.\d{3} \|",
                    r"\| worker and ps on one host, f32: .* \|"):
            self.assertRegex(text, re.compile("^" + row, re.MULTILINE), text)
        self.assertNotIn("exit code", text)


if __name__ == "__main__":
    support.main()
