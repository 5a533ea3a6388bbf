"""Tests tests/bench/accuracy.py with scripts in place of the program and PyTorch: the commands that it runs and its
summary."""

import pathlib
import subprocess
import sys
import textwrap

import support

ACCURACY = support.ROOT / "tests" / "bench" / "accuracy.py"

PROGRAM = """\
    #!/bin/sh
    echo "program $*" >>"$0.runs"
    case "$*" in *seed=3*) [ ! -e "$0.fails" ] || { echo "no memory" >&2; exit 7; } ;; esac
    echo "x: I local] preset fast: batch_size 64, train_steps 9, learning_rate 0.003, augment none" >&2
    accuracy=0.9910
    case "$*" in *seed=2*) accuracy=0.9890 ;; esac
    echo "test_accuracy=$accuracy global_step=9"
    """
PYTORCH = """\
    #!/bin/sh
    shift
    echo "torch $*" >>"$0.runs"
    echo "test_accuracy=0.9930 global_step=9"
    """


class AccuracyTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.program, self.torch = self.script("program", PROGRAM), self.script("python", PYTORCH)

    def script(self, name, text):
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755)
        return path

    def measure(self, *flags):
        return subprocess.run([sys.executable, str(ACCURACY), f"--binary={self.program}", "--data_dir=DIR", *flags],
                              capture_output=True, text=True, timeout=60)

    def runs(self, script):
        return pathlib.Path(f"{script}.runs").read_text().splitlines()

    def test_each_seed_is_run_and_those_that_reach_the_target_are_counted(self):
        done = self.measure("--preset=fast", "--seeds=4", "--", "--learning_rate=0.5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.runs(self.program),
                         [f"program --progress=none --data_dir=DIR --preset=fast --seed={seed} --learning_rate=0.5"
                          for seed in range(4)])
        self.assertRegex(done.stdout, r"seed 2: distmnist 0\.9890 in \d+\.\d s\n")
        self.assertIn("distmnist: 3 of 4 reach 0.9900; accuracy: median 0.9910, least 0.9890; ", done.stdout)

    def test_the_target_can_be_set(self):
        self.assertIn("4 of 4 reach 0.9800", self.measure("--seeds=4", "--target=0.98").stdout)
        self.assertIn("0 of 4 reach 0.9940", self.measure("--seeds=4", "--preset=best").stdout)

    def test_pytorch_gets_the_settings_from_the_programs_log(self):
        done = self.measure("--seeds=2", "--first_seed=5", f"--torch={self.torch}", "--threads=2")
        self.assertEqual(self.runs(self.torch),
                         [f"torch --data_dir=DIR --seed={seed} --threads=2 --batch_size=64 --train_steps=9 "
                          "--learning_rate=0.003 --augment=none" for seed in (5, 6)])
        self.assertIn("distmnist: 2 of 2 reach", done.stdout)
        self.assertIn("torch: 2 of 2 reach 0.9900; accuracy: median 0.9930", done.stdout)

    def test_a_failed_run_ends_the_measurement_with_its_message(self):
        pathlib.Path(f"{self.program}.fails").touch()
        done = self.measure("--seeds=5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("exit code 7", done.stderr)
        self.assertIn("no memory", done.stderr)


if __name__ == "__main__":
    support.main()
