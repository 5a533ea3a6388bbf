"""The report of instruction counts: every part of the program has a recorded count, the table shows what became more,
and only a missing count is a fault. Counts are made by a script in the place of valgrind."""

import contextlib
import io
import json
import os
import unittest.mock

from script_case import ScriptTest, support, write_script
import bench_case  # noqa: F401 (puts tests/bench on the path)
import instructions

# Stands for instruction_parts and for valgrind: a part's count is in the file of its name.
PARTS = """\
    case $* in
      "") cat parts ;;
      --settings) printf 'compiler=12\\nvectors=avx2\\n' ;;
    esac
    """
VALGRIND = """\
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


class PartsTest(ScriptTest):
    def test_every_part_of_the_program_runs_and_has_a_recorded_count(self):
        program = os.environ["DISTMNIST_INSTRUCTION_PARTS"]
        parts = self.finish([program]).stdout.split()
        settings, recorded = instructions.read_record(instructions.RECORD)
        self.assertEqual(parts, list(recorded), "run tests/bench/instructions.py --record")
        self.assertTrue(all(count > 0 for count in recorded.values()))
        self.assertEqual(settings["optimized"], "yes")
        for part in parts:
            self.finish([program, part])
        self.finish([program, "nothing"], code=2)


class ReportTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.bench = self.folder / "tests" / "bench"
        self.record = self.bench / "record.json"
        write_script(self.bench / "instruction_parts", PARTS)
        self.valgrind = write_script(self.bench / "valgrind", VALGRIND)
        self.count(one=1000, two=2000)

    def count(self, **counts):
        (self.bench / "parts").write_text("\n".join(counts) + "\n")
        for part, count in counts.items():
            (self.bench / f"count_{part}").write_text(str(count))

    def report(self, *arguments, code=0, valgrind=True):
        """What was printed."""
        found = str(self.valgrind) if valgrind else None
        with unittest.mock.patch("shutil.which", return_value=found), contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(instructions.main(["--build_dir", str(self.folder), "--record_file", str(self.record),
                                                *arguments]), code)
        return said.getvalue()

    def test_counts_are_recorded_and_compared_with_and_more_is_no_failure_but_a_missing_one_is(self):
        self.count(one=1000, two=2000, three=1000, four=1000)
        self.report("--record")
        self.assertEqual(json.loads(self.record.read_text()),
                         {"settings": {"compiler": "12", "vectors": "avx2", "valgrind": "valgrind-9",
                                       "libc": os.confstr("CS_GNU_LIBC_VERSION")},
                          "instructions": {"one": 1000, "two": 2000, "three": 1000, "four": 1000}})
        self.count(one=1000, two=3000, three=900, four=1009)
        write_script(self.bench / "instruction_parts", PARTS.replace("compiler=12", "compiler=13"))
        said = self.report()
        for line in (r"one +1,000 +1,000 +1\.0000", r"two +3,000 +2,000 +1\.5000  MORE",
                     r"three +900 +1,000 +0\.9000  less", r"four +1,009 +1,000 +1\.0090",
                     "compiler: 13 here, 12 in the record; .*"):
            self.assertRegex(said, rf"(?m)^{line}$")
        self.count(one=1000, two=2000, three=1000, five=3000)
        said = self.report(code=1)
        self.assertRegex(said, r"five +3,000 +missing +-\n")
        self.assertIn("Missing: five, four.", said)

    def test_a_part_that_fails_is_missing_and_nothing_is_recorded(self):
        (self.bench / "count_two").unlink()
        said = self.report("--record", code=1)
        self.assertIn("two was not counted: code 1; killed by a test", said)
        self.assertRegex(said, r"one +1,000")
        self.assertFalse(self.record.exists())

    def test_without_valgrind_or_the_program_one_line_says_so(self):
        self.assertRegex(self.report(valgrind=False), r"\AInstructions are not counted: there is no valgrind.*\n\Z")
        (self.bench / "instruction_parts").unlink()
        self.assertRegex(self.report(code=1), r"\AInstructions are not counted: .*_parts is not there.*\n\Z")


if __name__ == "__main__":
    support.main()
