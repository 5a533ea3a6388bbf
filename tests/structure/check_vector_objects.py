#!/usr/bin/env python3
"""Checks that the objects of the vector kernels hold nothing but kernels.

If a function is compiled into several objects, like an inline function from a header, the linker keeps one copy, from
the object that comes first. If that object uses instructions that the processor does not support, the whole program
crashes in that function, far from the kernels. So these objects must not define such a symbol.

  check_vector_objects.py LIBRARY...    (that contain the objects; uses nm)
  check_vector_objects.py --self_test [COMPILER...]"""

import pathlib
import subprocess
import sys
import tempfile

POINTERS = "DW.ref."  # pointers to functions of the C++ library, for exceptions; not code
SHARED = "VWu"  # nm's letters for weak objects, other weak symbols, and unique symbols; all defined here


def shared_symbols(path):
    """(object, symbol) pairs of which the linker keeps only one copy."""
    lines = subprocess.run(["nm", "-AC", path], capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for line in lines:
        place, _, rest = line.rpartition(".o:")
        kind, _, symbol = rest[17:].partition(" ")  # 16 digits or blanks of an address, and a blank
        if kind in tuple(SHARED) and not symbol.startswith(POINTERS):
            found.append((place, symbol))
    return len(lines), found


def check(path):
    symbols, found = shared_symbols(path)
    for place, symbol in found:
        print(f"{place}: {symbol} may come from here for the whole program; keep it out of the vector kernels")
    print(f"{path}: {symbols} symbols, {len(found)} that objects share")
    return 0 if symbols and not found else 1


def self_test(compiler):
    with tempfile.TemporaryDirectory() as folder:
        def symbols_of(name, text):
            source, target = pathlib.Path(folder) / f"{name}.cc", pathlib.Path(folder) / f"{name}.o"
            source.write_text(text)
            subprocess.run([*compiler, "-c", source, "-o", target], check=True)
            return [symbol for _, symbol in shared_symbols(target)[1]]

        own = symbols_of("own", "namespace { __attribute__((noinline)) int f(int x) { return x + 1; } }\n"
                                "extern int external; int g(int x) { return f(x) + external; }\n")
        shared = symbols_of("shared", "__attribute__((noinline)) inline int f(int x) { return x + 1; }\n"
                                      "template <typename T> inline T v = 1;\n"
                                      "int g(int x) { return f(x) + v<int>++; }\n")
    print("found:", ", ".join(own + shared))
    return 0 if not own and shared == ["f(int)", "v<int>"] else 1


if __name__ == "__main__":
    if sys.argv[1] == "--self_test":
        sys.exit(self_test(sys.argv[2:] or ["g++"]))
    sys.exit(max(map(check, sys.argv[1:])))
