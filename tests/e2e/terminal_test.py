"""The output of several tasks on one terminal: worker 0 rewrites its progress line, and no other line is mixed into
it."""

import re
import unittest

import digits
import support
import terminal

WHOLE_LINE = re.compile(r"|".join([
    r"Worker : \d+, Step: \d+, Accuracy \(batch\): [01]\.\d{4}", r"Test-Accuracy: [01]\.\d{4}",
    r"test_accuracy=[01]\.\d{4} global_step=\d+", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}: [IWE] (ps|worker|local):?\d*\] .*",
    r"launch: .*", r""]))
PROGRESS = rb"step \d+/\d+, "
CTRL_C = b"\x03"


class TerminalTest(support.EndToEndTest):
    def run_on_terminal(self, command, **options):
        """Runs until the progress line was shown four times, then types Ctrl-C."""
        data = digits.write_data_set(self.folder / "data")
        flags = ["--data_dir", data, "--log_dir", self.folder / "run", "--batch_size", "10", "--model", "mlp",
                 "--log_every", "50", "--train_steps", "100000000"]
        shown = terminal.Terminal([*command, *flags], **options)
        self.addCleanup(shown.close)
        shown.read_until(rb"(?s)" + rb".*".join([PROGRESS] * 4), support.LONG_DEADLINE_S)
        shown.type(CTRL_C)
        self.assertEqual(shown.finish(support.LONG_DEADLINE_S), 130, shown.written[-3000:])
        return shown

    def assert_whole_lines(self, shown):
        for line in shown.lines():
            self.assertTrue(WHOLE_LINE.fullmatch(line), f"two lines are mixed: {line!r}")
            self.assertNotRegex(line, r"steps/s, loss .* left.")

    def test_the_processes_of_a_launcher(self):
        shown = self.run_on_terminal([support.LAUNCHER, "--binary", self.program(), "--num_workers", "3", "--"])
        self.assert_whole_lines(shown)
        self.assertTrue([line for line in shown.lines() if line.startswith("Worker : 2")], shown.lines())

    def test_a_cluster_of_threads(self):
        self.assert_whole_lines(self.run_on_terminal([self.program(), "--num_workers", "3", "--num_ps", "1"]))

    def test_progress_fits_in_one_line_of_a_narrow_terminal(self):
        shown = self.run_on_terminal([self.program()], columns=30)
        pieces = re.findall(rb"\r(step [^\r\033\n]*)", shown.written)
        self.assertTrue(pieces)
        for piece in pieces:
            self.assertLess(len(piece), 30)

    def test_redirected_output_has_no_terminal_codes(self):
        run = self.run_program("--dataset", "synthetic", "--train_steps", "20", "--log_every", "10", "--model", "softmax")
        self.assert_exit(run, 0)
        self.assertNotIn("\033", run.stdout + run.stderr)
        self.assertNotIn("\r", run.stdout + run.stderr)


class EmulatorTest(unittest.TestCase):
    def test_the_emulator_shows_what_a_terminal_would(self):
        self.assertEqual(terminal.shown_lines("ab\rc\r\n\033[32md\033[0me\r\033[Kf\r\ng"), ["cb", "f", "g"])
        self.assertEqual(terminal.shown_lines("step 1 leftWorker\r\n"), ["step 1 leftWorker"])


if __name__ == "__main__":
    support.main()
