"""What README and docs/ name is there: every flag, exit code and subcommand; and the other way round, every exit code and
subcommand is named."""

import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = os.environ["DISTMNIST"]
# Of programs that are not ours.
FOREIGN_FLAGS = {"--benchmark", "--buildtype", "--verbose"}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# A command in a code span, or at the beginning of a line of a code block.
COMMAND = re.compile(r"(?:`|^)(?:\$ )?distmnist ([a-z]\w*)", re.MULTILINE)


def help_of(*command):
    done = subprocess.run([*map(str, command), "--help"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def subcommands():
    listed = help_of(PROGRAM).partition("\nCommands")[2].partition("\n\n")[0]
    return set(re.findall(r"^  ([a-z]\w*)", listed, re.MULTILINE))


def known_flags():
    texts = [help_of(PROGRAM), *(help_of(PROGRAM, name) for name in subcommands())]
    # Scripts say theirs in their source.
    for pattern in ("launch/*", "tools/*.py", "tests/*.sh", "tests/*/*.sh", "tests/bench/*.py", "tests/emulator/*.py"):
        texts += [path.read_text() for path in ROOT.glob(pattern) if path.is_file()]
    return {flag for text in texts for flag in FLAG.findall(text)}


def exit_codes():
    """{number: name}"""
    source = (ROOT / "lib" / "base" / "error.h").read_text()
    listed = re.search(r"enum class ExitCode : int \{(.*?)\};", source, re.DOTALL).group(1)
    return {int(number): name for name, number in re.findall(r"(k\w+) = (\d+)", listed)}


class DocumentsTest(unittest.TestCase):
    def test_every_flag_is_one(self):
        known = known_flags() | FOREIGN_FLAGS
        self.assertGreater(len(known), 100)
        for path in DOCUMENTS:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for flag in FLAG.findall(line):
                    self.assertIn(flag, known, f"{path.name}:{number}")

    def test_every_subcommand_is_one_and_all_are_named_in_the_readme(self):
        known = subcommands()
        self.assertIn("reset", known)
        for path in DOCUMENTS:
            self.assertLessEqual(set(COMMAND.findall(path.read_text())), known, path.name)
        self.assertEqual(set(COMMAND.findall((ROOT / "README.md").read_text())), known)

    def test_the_table_of_exit_codes_is_that_of_the_program(self):
        table = (ROOT / "README.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
        self.assertEqual([int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)], sorted(exit_codes()))

    def test_every_exit_code_in_the_documents_is_one(self):
        known = exit_codes()
        for path in DOCUMENTS:
            for code in re.findall(r"\(?exit(?:s with| code)? (\d+)\b", path.read_text()):
                self.assertIn(int(code), known, f"{path.name}: exit {code}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
