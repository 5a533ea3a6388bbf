#!/usr/bin/env python3
"""Compiles every header alone, twice in one translation unit: it must include everything it needs and have a guard.
A header that the source of the same name includes first is compiled alone by every build; only its guard is checked.

  check_headers.py [--self_test] [COMPILER AND FLAGS...]      (default: g++; the project's include path is added)"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDERS = ("lib", "data", "models", "tools", "tests")
AT_A_TIME = 2


def headers():
    """All headers except CUDA's, which need its toolkit."""
    found = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.h")))
    return [path.relative_to(ROOT) for path in found if not {"cuda", "cuda_on_host"} & set(path.relative_to(ROOT).parts)]


def comes_first(root, header):
    """Whether the source of the same name includes the header before anything else."""
    source = (root / header).with_suffix(".cc")
    first = re.search(r"^#include [<\"](.*)[>\"]", source.read_text(), re.MULTILINE) if source.exists() else None
    return first is not None and first.group(1) == str(header)


def check_header(compiler, root, header):
    """What is wrong with the header; empty if it is correct."""
    if not comes_first(root, header):
        return compile_alone(compiler, root, header)
    guarded = re.search("^#pragma once$", (root / header).read_text(), re.MULTILINE)
    return "" if guarded else f"{header} has no #pragma once"


def compile_alone(compiler, root, header):
    twice = f'#include "{header}"\n' * 2
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-I", str(root), "-x", "c++", "-"]
    result = subprocess.run([*compiler, *flags], input=twice, capture_output=True, text=True)
    return "" if result.returncode == 0 else f"{header} does not compile alone:\n{result.stderr}"


def check(compiler, root, paths):
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        return [text for text in pool.map(lambda header: check_header(compiler, root, header), paths) if text]


def self_test(compiler):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("good.h", "#pragma once\n#include <vector>\ninline std::vector<int> f() { return {}; }\n"),
                           ("needs_more.h", "#pragma once\ninline std::vector<int> f() { return {}; }\n"),
                           ("unguarded.h", "struct Twice {};\n"),
                           ("first.h", "#pragma once\nstd::string not_compiled_here();\n"),
                           ("first.cc", '#include "first.h"\n#include <string>\n'),
                           ("first_unguarded.h", "struct Once {};\n"),
                           ("first_unguarded.cc", '#include "first_unguarded.h"\n'),
                           ("second.h", "#pragma once\nstd::string compiled_here();\n"),
                           ("second.cc", '#include <string>\n#include "second.h"\n')):
            (pathlib.Path(folder) / name).write_text(text)
        names = sorted(path.name for path in pathlib.Path(folder).glob("*.h"))
        bad = check(compiler, pathlib.Path(folder), names)
    refused = [text.split()[0] for text in bad]
    print("refused:", ", ".join(refused))
    return 0 if refused == ["first_unguarded.h", "needs_more.h", "second.h", "unguarded.h"] else 1


def main(arguments):
    compiler = [argument for argument in arguments if argument != "--self_test"] or ["g++"]
    if "--self_test" in arguments:
        return self_test(compiler)
    paths = headers()
    bad = check(compiler, ROOT, paths)
    print("\n".join(bad + [f"{len(paths)} headers, {len(bad)} that do not compile alone"]))
    return 0 if paths and not bad else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
