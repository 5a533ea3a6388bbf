#!/usr/bin/env python3
"""Checks who includes whom: the direction between folders, and which files may know a third-party library.

The two tables below are the rule of docs/architecture.md; change both together. Run with --self_test, the check proves
that it finds each kind of mistake."""

import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# base <- math <- {cluster, wire, optim, graph, data} <- {ps, backend, models} <- supervisor <- worker <- tools
# Siblings do not include each other. A folder may include itself and what stands here.
BASE = {"lib/base", "lib/math"}
LOW = {"lib/cluster", "lib/wire", "lib/optim", "lib/graph", "data"}
MIDDLE = {"lib/ps", "lib/backend", "models"}
MAY_INCLUDE = {
    "lib/base": set(),
    "lib/math": {"lib/base"},
    **{folder: BASE for folder in LOW},
    "lib/ps": BASE | {"lib/cluster", "lib/wire", "lib/optim"},
    "lib/backend": BASE | {"lib/graph", "lib/optim"},
    "models": BASE | {"lib/graph"},
    "lib/supervisor": BASE | LOW | MIDDLE,
    "lib/worker": BASE | LOW | MIDDLE | {"lib/supervisor"},
    "tools": BASE | LOW | MIDDLE | {"lib/supervisor", "lib/worker"},
    "tests": BASE | LOW | MIDDLE | {"lib/supervisor", "lib/worker", "tools"},
}

# Third-party headers -> the files that may include them. Whatever is not named here is refused.
THIRD_PARTY = {
    "fmt/*": ["*"],
    "spdlog/*": ["lib/base/log.cc"],
    "zmq*": ["lib/wire/transport*.cc", "lib/wire/transport*.h"],
    "sodium.h": ["lib/wire/keys.cc", "lib/wire/curve.cc", "tests/support/curve_client.h",
                 "tests/fuzz/zmtp_curve_fuzz.cc"],
    "cereal/*": ["lib/wire/*"],
    "CLI/*": ["tools/flags.cc", "tools/command_line.*", "tools/admin_flags.*", "tools/device_flags.*",
              "tools/key_flags.*", "tools/number_option.h"],
    "oneapi/*": ["lib/backend/cpu/*"],
    "dnnl*": ["lib/backend/cpu/*"],
    "cuda*": ["lib/backend/cuda/*", "tests/support/cuda_on_host/*"],
    "cublasLt.h": ["lib/backend/cuda/*", "tests/support/cuda_on_host/*"],
    "cudnn*": ["lib/backend/cuda/*", "tests/support/cuda_on_host/*"],
    "nccl.h": ["lib/backend/cuda/*", "tests/support/cuda_on_host/*"],
    "nlohmann/*": ["lib/cluster/cluster_spec.cc", "lib/supervisor/safetensors_header.cc"],
    "zlib.h": ["data/gzip_reader.cc", "tests/support/*"],
    "png.h": ["tools/png_picture.cc"],
    "jpeglib.h": ["tools/jpeg_picture.cc"],
    "jerror.h": ["tools/jpeg_picture.cc"],
    "md5.h": ["data/mnist.cc"],
    "catch2/*": ["tests/support/*"],
    "catch*.hpp": ["tests/support/*"],
}
STANDARD_HEADER = re.compile(r"^[a-z][a-z0-9_]*$")  # <vector>, <cstdint>
SYSTEM_HEADERS = {  # POSIX, Linux, the compiler's own
    "sys/*", "netinet/*", "arpa/*", "net/*", "linux/*", "cpuid.h", "*intrin.h", "arm_neon.h", "dirent.h", "dlfcn.h",
    "errno.h", "fcntl.h", "fnmatch.h", "ifaddrs.h", "netdb.h", "omp.h", "poll.h", "pthread.h", "pwd.h", "sched.h", "setjmp.h",
    "signal.h", "spawn.h", "stdio.h", "stdlib.h", "termios.h", "ucontext.h", "unistd.h",
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = ("*.h", "*.cc", "*.cu", "*.cuh")


def folder_of(path):
    """The row of MAY_INCLUDE that a path belongs to, or None."""
    parts = pathlib.PurePosixPath(path).parts
    name = "/".join(parts[:2]) if parts[0] == "lib" else parts[0]
    return name if name in MAY_INCLUDE else None


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def problem_of_own(path, header, exists):
    """What is wrong with `#include "header"` in the file `path`; None when nothing is."""
    if not exists(header):
        return f'"{header}" is not a file of the project: name it from the repository root'
    source, target = folder_of(path), folder_of(header)
    if target is None:
        return f'"{header}" is in a folder that check_includes.py does not know'
    if source != target and target not in MAY_INCLUDE[source]:
        return f"{source} must not include {target} (\"{header}\")"
    return None


def problem_of_foreign(path, header):
    """What is wrong with `#include <header>` in the file `path`; None when nothing is."""
    for pattern, files in THIRD_PARTY.items():
        if fnmatch.fnmatchcase(header, pattern):
            return None if matches(path, files) else f"<{header}> may be included only from {', '.join(files)}"
    if STANDARD_HEADER.match(header) or matches(header, SYSTEM_HEADERS):
        return None
    if path.startswith("lib/backend/cuda/"):
        return None  # CUDA's many headers stay in that one folder.
    return f"<{header}> is not a header that check_includes.py knows: if it is a library's, add it to THIRD_PARTY"


def problems_in(path, text, exists):
    if folder_of(path) is None:
        return [f"{path}: in a folder that check_includes.py does not know"]
    found = []
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        kind, header = match.groups()
        problem = problem_of_own(path, header, exists) if kind == '"' else problem_of_foreign(path, header)
        if problem:
            found.append(f"{path}:{line}: {problem}")
    return found


def sources():
    """Repository-relative paths of all C++ and CUDA files of the project."""
    for top in sorted({folder.split("/")[0] for folder in MAY_INCLUDE}):
        for pattern in SOURCES:
            for file in sorted((ROOT / top).rglob(pattern)):
                yield file.relative_to(ROOT).as_posix()


def check_tree():
    files = list(sources())
    found = [p for path in files for p in problems_in(path, (ROOT / path).read_text(), lambda h: (ROOT / h).is_file())]
    print("\n".join(found + [f"{len(files)} files, {len(found)} bad includes"]))
    return 0 if files and not found else 1


def self_test():
    """(path, text, whether it must be refused): one of each kind of mistake, beside its correct twin."""
    cases = [
        ("lib/base/x.cc", '#include "lib/math/y.h"', True),
        ("lib/math/x.cc", '#include "lib/base/y.h"', False),
        ("lib/wire/x.h", '#include "lib/optim/y.h"', True),  # a sibling
        ("lib/ps/x.cc", '#include "lib/wire/y.h"', False),
        ("lib/ps/x.cc", '#include "lib/graph/y.h"', True),
        ("lib/backend/cpu/x.cc", '#include "lib/ps/y.h"', True),
        ("lib/backend/cpu/x.cc", '#include "lib/backend/y.h"', False),
        ("models/x.cc", '#include "lib/backend/y.h"', True),
        ("lib/supervisor/x.cc", '#include "lib/worker/y.h"', True),
        ("lib/worker/x.cc", '#include "lib/supervisor/y.h"', False),
        ("lib/worker/x.cc", '  #  include "tools/y.h"', True),
        ("lib/base/x.cc", '#include "missing.h"', True),
        ("other/x.cc", "", True),
        ("lib/ps/x.h", "#include <zmq.hpp>", True),
        ("lib/wire/transport.cc", "#include <zmq.hpp>", False),
        ("tools/distmnist.cc", "#include <CLI/CLI.hpp>", True),
        ("tools/flags.cc", "#include <CLI/CLI.hpp>", False),
        ("lib/base/log.h", "#include <spdlog/spdlog.h>", True),
        ("tests/x_test.cc", "#include <catch2/catch.hpp>", True),
        ("lib/supervisor/x.h", "#include <nlohmann/json.hpp>", True),
        ("lib/graph/x.cc", "#include <boost/any.hpp>", True),
        ("lib/graph/x.cc", "#include <vector>\n#include <sys/mman.h>\n#include <fmt/format.h>", False),
        ("lib/graph/x.cc", "// #include <zmq.hpp> is for others", False),
    ]
    wrong = [case for case in cases
             if bool(problems_in(case[0], case[1], lambda header: header != "missing.h")) != case[2]]
    for path, text, bad in wrong:
        print(f"{path}: {text!r} should {'' if bad else 'not '}be refused")
    line = problems_in("lib/base/x.cc", '\n\n#include "lib/ps/y.h"', lambda header: True)
    if line != ['lib/base/x.cc:3: lib/base must not include lib/ps ("lib/ps/y.h")']:
        wrong.append(line)
        print(f"the place is told wrongly: {line}")
    print(f"{len(cases) + 1} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(self_test() if "--self_test" in sys.argv[1:] else check_tree())
