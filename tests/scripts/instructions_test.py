"""The report of instruction counts: every part of the program has a recorded count, the table shows what became more,
and only a missing count is a fault. Counts are made by a script in the place of valgrind."""

import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

from script_case import support

sys.path.insert(0, str(support.ROOT / "tests" / "bench"))
import instructions  # noqa: E402

# Stands for instruction_parts and for valgrind: a part's count is in the file of its name.
PARTS = """\
    #!/bin/sh
    case $* in
      "") cat parts ;;
      --settings) printf 'compiler=12\\nvectors=avx2\\n' ;;
    esac
    """
VALGRIND = """\
    #!/bin/sh
    for last; do :; done
    for argument; do
      case $argument in
        --version) echo valgrind-9; exit ;;
        --settings) exec ./instruction_parts --settings ;;
        --callgrind-out-file=*) profile=${argument#*=} ;;
      esac
    done
    [ -f "count_$last" ] || { echo "killed by a test" >&2; exit 1; }
    printf 'events: Ir\\nfn=x\\n1 5\\ntotals: %s\\n' "$(cat "count_$last")" >"$profile"
    """


class TableTest(support.EndToEndTest):
    def test_what_became_more_by_a_percent_is_marked(self):
        lines = instructions.table({"same": 1000, "more": 1011, "less": 900, "little": 1009},
                                   {"same": 1000, "more": 1000, "less": 1000, "little": 1000})
        self.assertEqual([line.split() for line in lines[1:]],
                         [["same", "1,000", "1,000", "1.0000"], ["more", "1,011", "1,000", "1.0110", "MORE"],
                          ["less", "900", "1,000", "0.9000", "less"], ["little", "1,009", "1,000", "1.0090"]])

    def test_a_part_on_one_side_only_is_missing_on_the_other(self):
        lines = instructions.table({"new": 5}, {"old": 7})
        self.assertEqual([line.split() for line in lines[1:]],
                         [["new", "5", "missing", "-"], ["old", "missing", "7", "-"]])
        self.assertEqual(instructions.missing({"new": 5, "both": 1}, {"old": 7, "both": 2}), ["new", "old"])

    def test_settings_that_differ_from_the_records_are_named(self):
        self.assertEqual(instructions.differences({"compiler": "12"}, {"compiler": "12"}), [])
        line, = instructions.differences({"compiler": "13", "libc": "2"}, {"compiler": "12", "libc": "2"})
        self.assertIn("compiler: 13 here, 12 in the record", line)

    def test_the_total_of_a_profile_is_read(self):
        self.assertEqual(instructions.total_of("events: Ir\n1 5\ntotals: 262427\n"), 262427)
        self.assertIsNone(instructions.total_of("events: Ir\n"))


class RecordTest(support.EndToEndTest):
    def test_every_part_of_the_program_has_a_recorded_count(self):
        parts = subprocess.run([os.environ["DISTMNIST_INSTRUCTION_PARTS"]], check=True, capture_output=True, text=True)
        settings, recorded = instructions.read_record(instructions.RECORD)
        self.assertEqual(parts.stdout.split(), list(recorded), "run tests/bench/instructions.py --record")
        self.assertTrue(all(count > 0 for count in recorded.values()))
        self.assertEqual(settings["optimized"], "yes")


class PartsTest(support.EndToEndTest):
    def test_each_part_runs_and_one_that_is_not_there_is_a_fault(self):
        program = os.environ["DISTMNIST_INSTRUCTION_PARTS"]
        for part in subprocess.run([program], check=True, capture_output=True, text=True).stdout.split():
            done = subprocess.run([program, part], timeout=support.DEADLINE_S, check=False)
            self.assertEqual(done.returncode, 0, part)
        self.assertEqual(subprocess.run([program, "nothing"], check=False).returncode, 2)


class ReportTest(support.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.bench = pathlib.Path(self.folder) / "tests" / "bench"
        self.bench.mkdir(parents=True)
        self.record = self.bench / "record.json"
        for name, text in (("instruction_parts", PARTS), ("valgrind", VALGRIND)):
            (self.bench / name).write_text(textwrap.dedent(text))
            (self.bench / name).chmod(0o755)
        self.count(one=1000, two=2000)

    def count(self, **counts):
        (self.bench / "parts").write_text("\n".join(counts) + "\n")
        for part, count in counts.items():
            (self.bench / f"count_{part}").write_text(str(count))

    def report(self, *arguments, valgrind=True):
        """(exit code, what was printed)."""
        code = textwrap.dedent(f"""\
            import sys
            sys.path.insert(0, {str(support.ROOT / "tests" / "bench")!r})
            import instructions
            instructions.shutil.which = lambda name, path: {str(self.bench / "valgrind") if valgrind else None!r}
            sys.exit(instructions.main(sys.argv[1:]))
            """)
        done = subprocess.run([sys.executable, "-c", code, "--build_dir", self.folder, "--record_file", self.record,
                               *arguments], capture_output=True, text=True, timeout=support.DEADLINE_S, check=False)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_counts_are_recorded_and_compared_with_and_more_is_no_failure(self):
        self.assertEqual(self.report("--record")[0], 0)
        self.assertEqual(json.loads(self.record.read_text()),
                         {"settings": {"compiler": "12", "vectors": "avx2", "valgrind": "valgrind-9",
                                       "libc": os.confstr("CS_GNU_LIBC_VERSION")},
                          "instructions": {"one": 1000, "two": 2000}})
        self.count(one=1000, two=3000)
        code, said = self.report()
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"one +1,000 +1,000 +1\.0000\n")
        self.assertRegex(said, r"two +3,000 +2,000 +1\.5000  MORE\n")

    def test_a_part_without_a_recorded_count_is_missing(self):
        self.report("--record")
        self.count(one=1000, two=2000, three=3000)
        code, said = self.report()
        self.assertEqual(code, 1, said)
        self.assertIn("Missing: three.", said)

    def test_a_part_that_fails_is_missing_and_nothing_is_recorded(self):
        (self.bench / "count_two").unlink()
        code, said = self.report("--record")
        self.assertEqual(code, 1, said)
        self.assertIn("two was not counted: code 1; killed by a test", said)
        self.assertRegex(said, r"one +1,000")
        self.assertFalse(self.record.exists())

    def test_without_valgrind_one_line_says_so(self):
        code, said = self.report(valgrind=False)
        self.assertEqual(code, 0)
        self.assertRegex(said, r"^Instructions are not counted: there is no valgrind[^\n]*\n$")

    def test_without_the_program_its_place_is_named(self):
        (self.bench / "instruction_parts").unlink()
        code, said = self.report()
        self.assertEqual(code, 1)
        self.assertRegex(said, re.escape(str(self.bench / "instruction_parts")) + " is not there")


if __name__ == "__main__":
    support.main()
