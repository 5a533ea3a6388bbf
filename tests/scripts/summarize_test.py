"""tests/summarize.py: what it makes of meson's results."""

import pathlib
import subprocess
import sys
import tempfile
import json
import unittest

SUMMARIZE = pathlib.Path(__file__).resolve().parent.parent / "summarize.py"


def test(name, result, stdout=""):
    return {"name": f"distmnist:unit / {name}", "result": result, "stdout": stdout}


class SummarizeTest(unittest.TestCase):
    def summary(self, *tests):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.writelines(json.dumps(each) + "\n" for each in tests)
            file.flush()
            done = subprocess.run([sys.executable, SUMMARIZE, file.name], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_cases_are_added_up_and_a_test_that_says_nothing_is_one(self):
        self.assertEqual(self.summary(test("a", "OK", "x\ncases: 12 passed, 0 failed, 0 skipped\nAll tests passed\n"),
                                      test("b", "OK", "8 passed, 0 failed\n"), test("c", "OK")), (0, ["21 passed, 0 failed"]))

    def test_the_last_line_of_a_test_counts(self):
        self.assertEqual(self.summary(test("a", "OK", "1 passed, 9 failed\ncases: 3 passed, 0 failed, 0 skipped\n")),
                         (0, ["3 passed, 0 failed"]))

    def test_skipped_cases_and_tests_are_listed_with_their_reasons(self):
        said = "skipped case: what root does: not root\ncases: 4 passed, 0 failed, 1 skipped\n"
        self.assertEqual(self.summary(test("a", "OK", said), test("b", "SKIP", "there is no GPU\n"), test("c", "SKIP")),
                         (0, ["Skipped: a: what root does: not root", "Skipped: b: there is no GPU",
                              "Skipped: c: it says no reason", "4 passed, 0 failed, 3 skipped"]))

    def test_what_fails_is_named_and_counts_even_where_no_case_does(self):
        self.assertEqual(self.summary(test("a", "FAIL", "cases: 4 passed, 2 failed, 0 skipped\n"),
                                      test("b", "TIMEOUT", "cases: 5 passed, 0 failed, 0 skipped\n"), test("c", "ERROR")),
                         (1, ["Failed: distmnist:unit / a (fail), distmnist:unit / b (timeout), distmnist:unit / c (error)",
                              "9 passed, 4 failed"]))

    def test_nothing_is_a_failure(self):
        self.assertEqual(self.summary(), (1, ["No test ran.", "0 passed, 0 failed"]))
        self.assertEqual(self.summary(test("a", "SKIP", "why\n")), (1, ["Skipped: a: why", "0 passed, 0 failed, 1 skipped"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
