"""Checks that no test case ends early and counts as passed: a bare `return` in the body of a TEST_CASE is refused.
SKIP_CASE from tests/support/catch.h records why a case cannot run, and the case is counted as skipped.

    check_skips.py [FOLDER]     the folder of the tests (default: in this checkout)
    check_skips.py --self_test
"""

import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
CASE = re.compile(r"^(TEST_CASE|TEMPLATE_TEST_CASE|SCENARIO)\b")
RETURN = re.compile(r"(^|[\s){])return;")
LAMBDA = re.compile(r"\[[^\[\]]*\]\s*(\([^()]*\)\s*)?(mutable\s*)?(->\s*[\w:<>*& ]+)?\{")


def indent(line):
    return len(line) - len(line.lstrip(" "))


def faults(text):
    """Line numbers of faults, counted from 1. The text must be formatted by clang-format."""
    lines, found, begin = text.splitlines(), [], None
    for number, line in enumerate(lines):
        if CASE.match(line):
            begin = number
        elif line.startswith("}"):
            begin = None
        elif begin is not None and RETURN.search(line) and not in_lambda(lines, begin, number):
            found.append(number + 1)
    return found


def in_lambda(lines, begin, number):
    """True if a lambda opens on the line, or on one that the line continues."""
    depth = indent(lines[number]) + 1
    for line in reversed(lines[begin + 1:number + 1]):
        if line.strip() and indent(line) < depth:
            depth = indent(line)
            if LAMBDA.search(line):
                return True
    return False


def self_test():
    def case(body):
        return faults(f'TEST_CASE("x") {{\n{body}\n}}\n')

    assert case("  if (geteuid() != 0) return;") == [2]
    assert case('  if (a) {\n    WARN("skipped");\n    return;\n  }') == [4]
    assert case("  for (int i : all) {\n    {\n      const Limit limit;\n      if (!limit.works()) return;\n    }\n  }") == [5]
    assert case('  if (a) SKIP_CASE("why");') == []
    assert case("  pool.run([&](int part) {\n    if (part > 0) return;\n    work();\n  });") == []
    assert case("  const auto f = [] { return; };") == []
    assert case("  const auto f = [&](int i) -> void {\n    if (i) {\n      return;\n    }\n  };\n  return;") == [7]
    assert case("  return 1;") == []
    assert faults("void help() {\n  if (x) return;\n}\n") == []
    print("self-test passed")


def main(arguments):
    if arguments == ["--self_test"]:
        return self_test()
    folder = pathlib.Path(arguments[0]) if arguments else TESTS
    files = sorted(folder.rglob("*.cc"))
    bad = [f"{file.relative_to(folder)}:{number}" for file in files for number in faults(file.read_text())]
    for place in bad:
        print(f"{place}: leaves a test case early; use SKIP_CASE with the reason")
    print(f"{len(files)} files, {len(bad)} cases that end early")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
