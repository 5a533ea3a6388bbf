"""The GPU benchmark where there is no GPU: its arithmetic and tables, what it reads from logs, its peers, and a whole
run on the reference backend."""

import os
import sys

from script_case import ScriptTest, support
from bench_case import BENCH
import floors
import gpu_bench
import peers
import small_runs

ANSWER_LIMIT_S = 60.0

class FiguresTest(ScriptTest):
    def test_a_row_has_medians_ratios_and_floors_and_what_was_not_measured_is_named(self):
        figures, targets = gpu_bench.StepFigures(), gpu_bench.Targets()
        for us in (60.0, 40.0, 50.0):
            figures.add((50, "bf16"), "distmnist", {"us": us, "launches": 22})
        figures.add((50, "bf16"), "graph", {"us": 120.0})
        figures.add((50, "bf16"), "eager", {"us": 350.0})
        figures.add((50, "bf16"), "compile", {"error": "no compiler"})
        rows = gpu_bench.step_rows(gpu_bench.parse_arguments(["--batches=50", "--precisions=bf16"]),
                                   floors.card_called("NVIDIA H200"), figures)
        self.assertEqual(rows, [["50", "bf16", "50.0", "120.0", "350.0", "-", "-", "2.40", "7.00", "3.6", "9.5", "44.0",
                                 "1.14"]])
        self.assertEqual(figures.faults, {"compile: no compiler": [(50, "bf16")]})
        gpu_bench.step_targets(figures, targets)
        self.assertEqual([line.split("|")[-2].strip() for line in targets.lines], ["reached", "reached", "MISSED"])

    def test_a_peer_that_dies_or_keeps_silent_is_the_answers_fault_from_then_on(self):
        answer = "read -r; echo chatter; echo '{\"us\": 3}'; read -r; "
        for then, limit_s, says in (("echo no card >&2; exit 1", ANSWER_LIMIT_S, "ended with code 1 at 'b': no card"),
                                    ("exec sleep 1000", 0.3, "no answer in time")):
            with self.subTest(says=says):
                peer = peers.Peer("the peer", [str(self.fake("peer", answer + then))])
                self.addCleanup(peer.stop)
                self.assertEqual(peer.ask("a", ANSWER_LIMIT_S), {"us": 3})
                fault = peer.ask("b", limit_s)["error"]
                self.assertIn(says, fault)
                self.assertEqual(peer.ask("c", limit_s), {"error": fault})
        self.assertIn("No such file", peers.Peer("the peer", ["/nonexistent/program"]).ask("a", 1)["error"])


class WholeBenchmarkTest(small_runs.SmallRunTest):
    def bench(self, *arguments, **environment):
        process = self.start([sys.executable, BENCH / "gpu" / "gpu_bench.py", *arguments], env=environment)
        self.assert_exit(process, 0, support.LONG_DEADLINE_S)
        return process.stdout

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
            self.assertRegex(text, "(?m)^" + row)
        self.assertNotIn("exit code", text)


if __name__ == "__main__":
    support.main()
