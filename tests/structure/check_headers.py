#!/usr/bin/env python3
"""Compiles every header alone, twice in one translation unit: it must include everything it needs and have a guard.

  check_headers.py [--self_test] [COMPILER AND FLAGS...]      (default: g++; the project's include path is added)"""

import concurrent.futures
import pathlib
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


def compile_alone(compiler, root, header):
    """The compiler's errors about the header; empty if it is correct."""
    twice = f'#include "{header}"\n' * 2
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-I", str(root), "-x", "c++", "-"]
    result = subprocess.run([*compiler, *flags], input=twice, capture_output=True, text=True)
    return "" if result.returncode == 0 else f"{header} does not compile alone:\n{result.stderr}"


def check(compiler, root, paths):
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        return [text for text in pool.map(lambda header: compile_alone(compiler, root, header), paths) if text]


def self_test(compiler):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("good.h", "#pragma once\n#include <vector>\ninline std::vector<int> f() { return {}; }\n"),
                           ("needs_more.h", "#pragma once\ninline std::vector<int> f() { return {}; }\n"),
                           ("unguarded.h", "struct Twice {};\n")):
            (pathlib.Path(folder) / name).write_text(text)
        bad = check(compiler, folder, ["good.h", "needs_more.h", "unguarded.h"])
    names = [text.split()[0] for text in bad]
    print("refused:", ", ".join(names))
    return 0 if names == ["needs_more.h", "unguarded.h"] else 1


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
