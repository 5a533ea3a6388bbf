#!/usr/bin/env python3
"""Checks the include rules: the direction between folders, which files may use a third-party library, and which may not
use sockets, threads or clocks.

The three tables below implement the rules in docs/architecture.md; change both together. With --self_test the check
proves that it finds each kind of mistake."""

import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# base <- math <- {cluster, wire, optim, graph, data} <- {ps, backend, models} <- supervisor <- worker <- tools
# within ps: records <- store <- {server, client}
# Siblings do not include each other. A folder may include itself and the folders listed here.
BASE = {"lib/base", "lib/math"}
LOW = {"lib/cluster", "lib/wire", "lib/optim", "lib/graph", "data"}
PS = {"lib/ps/records", "lib/ps/store", "lib/ps/server", "lib/ps/client"}
MIDDLE = PS | {"lib/backend", "models"}
BELOW_PS = BASE | {"lib/cluster", "lib/wire", "lib/optim"}
MAY_INCLUDE = {
    "lib/base": set(),
    "lib/math": {"lib/base"},
    **{folder: BASE for folder in LOW},
    "lib/ps/records": BELOW_PS,
    "lib/ps/store": BELOW_PS | {"lib/ps/records"},
    "lib/ps/server": BELOW_PS | {"lib/ps/records", "lib/ps/store"},
    "lib/ps/client": BELOW_PS | {"lib/ps/records", "lib/ps/store"},
    "lib/backend": BASE | {"lib/graph", "lib/optim"},
    "models": BASE | {"lib/graph"},
    "lib/supervisor": BASE | LOW | MIDDLE,
    "lib/worker": BASE | LOW | MIDDLE | {"lib/supervisor"},
    "tools": BASE | LOW | MIDDLE | {"lib/supervisor", "lib/worker"},
    "tests": BASE | LOW | MIDDLE | {"lib/supervisor", "lib/worker", "tools"},
}

# Third-party headers -> the files that may include them. Headers that are not listed here are refused.
THIRD_PARTY = {
    "fmt/*": ["*"],
    "spdlog/*": ["lib/base/log.cc"],
    "zmq*": ["lib/wire/transport*.cc", "lib/wire/transport*.h"],
    "sodium.h": ["lib/wire/keys.cc", "lib/wire/curve.cc", "tests/support/curve_client.h",
                 "tests/fuzz/zmtp_curve_fuzz.cc"],
    "cereal/*": ["lib/wire/*"],
    "CLI/*": ["tools/command_line.cc"],
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
# Pure files: their only input is messages and the time. They may not include any of these headers, directly or
# indirectly.
PURE = ["lib/ps/records/*", "lib/ps/store/*.h", "lib/ps/store/chunk_table.cc", "lib/ps/server/*", "lib/ps/client/exchange.*",
        "lib/ps/client/worker_session.*", "lib/ps/client/parameter_client.h",
        "lib/wire/zmtp.*", "lib/wire/curve.*", "lib/wire/message.*", "lib/wire/metadata.*"]
NOT_PURE = ["lib/ps/server/parameter_server.*", "lib/ps/server/doorkeeper.*"]
MACHINERY = {"lib/wire/transport.h", "lib/wire/network_server.h", "lib/base/clock.h", "lib/base/thread_pool.h",
             "lib/base/blocking_queue.h", "atomic", "chrono", "condition_variable", "ctime", "future", "mutex", "thread",
             "sys/socket.h", "poll.h", "time.h"}

STANDARD_HEADER = re.compile(r"^[a-z][a-z0-9_]*$")  # <vector>, <cstdint>
SYSTEM_HEADERS = {  # POSIX, Linux and the compiler
    "sys/*", "netinet/*", "arpa/*", "net/*", "linux/*", "cpuid.h", "*intrin.h", "arm_neon.h", "dirent.h", "dlfcn.h",
    "errno.h", "fcntl.h", "fnmatch.h", "ifaddrs.h", "netdb.h", "omp.h", "poll.h", "pthread.h", "pwd.h", "sched.h", "setjmp.h",
    "signal.h", "spawn.h", "stdio.h", "stdlib.h", "termios.h", "ucontext.h", "unistd.h",
}
MADE_BY_THE_BUILD = {"lib/backend/module_abi.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = ("*.h", "*.cc", "*.inl", "*.cu", "*.cuh")


def folder_of(path):
    """The row of MAY_INCLUDE for a path: the innermost folder that has a row, or None."""
    return next((folder.as_posix() for folder in pathlib.PurePosixPath(path).parents if folder.as_posix() in MAY_INCLUDE), None)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def problem_of_own(path, header, exists):
    """The problem with `#include "header"` in the file `path`, or None."""
    if not exists(header) and header not in MADE_BY_THE_BUILD:
        return f'"{header}" is not a file of the project: name it from the repository root'
    source, target = folder_of(path), folder_of(header)
    if target is None:
        return f'"{header}" is in a folder that check_includes.py does not know'
    if source != target and target not in MAY_INCLUDE[source]:
        return f"{source} must not include {target} (\"{header}\")"
    return None


def problem_of_foreign(path, header):
    """The problem with `#include <header>` in the file `path`, or None."""
    for pattern, files in THIRD_PARTY.items():
        if fnmatch.fnmatchcase(header, pattern):
            return None if matches(path, files) else f"<{header}> may be included only from {', '.join(files)}"
    if STANDARD_HEADER.match(header) or matches(header, SYSTEM_HEADERS):
        return None
    if path.startswith("lib/backend/cuda/"):
        return None  # CUDA's many headers are used in that folder only
    return f"<{header}> is not a header that check_includes.py knows: if it is a library's, add it to THIRD_PARTY"


def machinery_behind(header, read, seen):
    """The first of MACHINERY that is `header` or that it includes at any depth, or None."""
    if header in MACHINERY:
        return header
    text = read(header)
    if text is None or header in seen:
        return None
    seen.add(header)
    return next((found for _, inner in INCLUDE.findall(text) if (found := machinery_behind(inner, read, seen))), None)


def is_pure(path):
    return matches(path, PURE) and not matches(path, NOT_PURE)


def problems_in(path, text, exists, read=lambda header: None):
    """`read`: returns the text of a header of the project, or None for other headers."""
    if folder_of(path) is None:
        return [f"{path}: in a folder that check_includes.py does not know"]
    found = []
    seen = set()
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        kind, header = match.groups()
        problem = problem_of_own(path, header, exists) if kind == '"' else problem_of_foreign(path, header)
        if problem:
            found.append(f"{path}:{line}: {problem}")
        if is_pure(path) and (machine := machinery_behind(header, read, seen)):
            found.append(f"{path}:{line}: must not use sockets, threads or clocks, but \"{header}\" includes {machine}")
    return found


def sources():
    """Repository-relative paths of all C++ and CUDA files of the project."""
    for top in sorted({folder.split("/")[0] for folder in MAY_INCLUDE}):
        for pattern in SOURCES:
            for file in sorted((ROOT / top).rglob(pattern)):
                yield file.relative_to(ROOT).as_posix()


def check_tree():
    files = list(sources())
    texts = {path: (ROOT / path).read_text() for path in files}
    found = [problem for path in files for problem in problems_in(path, texts[path], texts.__contains__, texts.get)]
    found += [f"{pattern} is not a file any more" for pattern in PURE + NOT_PURE if not fnmatch.filter(files, pattern)]
    print("\n".join(found + [f"{len(files)} files, {len(found)} bad includes"]))
    return 0 if files and not found else 1


def self_test():
    """(path, text, whether it must be refused): one of each kind of mistake, together with a correct variant."""
    cases = [
        ("lib/base/x.cc", '#include "lib/math/y.h"', True),
        ("lib/math/x.cc", '#include "lib/base/y.h"', False),
        ("lib/wire/x.h", '#include "lib/optim/y.h"', True),  # a sibling
        ("lib/ps/server/x.cc", '#include "lib/wire/y.h"', False),
        ("lib/ps/server/x.cc", '#include "lib/graph/y.h"', True),
        ("lib/ps/server/x.cc", '#include "lib/ps/store/y.h"', False),
        ("lib/ps/store/x.cc", '#include "lib/ps/server/y.h"', True),
        ("lib/ps/client/x.cc", '#include "lib/ps/server/y.h"', True),
        ("lib/ps/x.cc", "", True),
        ("lib/ps/client/x.cc", "#include <mutex>", False),
        ("lib/ps/client/exchange.cc", "#include <mutex>", True),
        ("lib/ps/client/exchange.cc", '#include "lib/wire/transport.h"', True),
        ("lib/ps/client/exchange.cc", '#include "lib/base/knows_time.h"', True),  # through a second header
        ("lib/ps/client/exchange.cc", '#include "lib/base/time_ms.h"', False),
        ("lib/ps/server/parameter_server.cc", "#include <thread>", False),
        ("lib/backend/cpu/builtin/vector/x.inl", '#include "lib/ps/store/y.h"', True),
        ("lib/backend/cpu/x.cc", '#include "lib/ps/y.h"', True),
        ("lib/backend/cpu/x.cc", '#include "lib/backend/y.h"', False),
        ("models/x.cc", '#include "lib/backend/y.h"', True),
        ("lib/supervisor/x.cc", '#include "lib/worker/y.h"', True),
        ("lib/worker/x.cc", '#include "lib/supervisor/y.h"', False),
        ("lib/worker/x.cc", '  #  include "tools/y.h"', True),
        ("lib/base/x.cc", '#include "missing.h"', True),
        ("other/x.cc", "", True),
        ("lib/ps/client/x.h", "#include <zmq.hpp>", True),
        ("lib/wire/transport.cc", "#include <zmq.hpp>", False),
        ("tools/distmnist.cc", "#include <CLI/CLI.hpp>", True),
        ("tools/command_line.cc", "#include <CLI/CLI.hpp>", False),
        ("lib/base/log.h", "#include <spdlog/spdlog.h>", True),
        ("tests/x_test.cc", "#include <catch2/catch.hpp>", True),
        ("lib/supervisor/x.h", "#include <nlohmann/json.hpp>", True),
        ("lib/graph/x.cc", "#include <boost/any.hpp>", True),
        ("lib/graph/x.cc", "#include <vector>\n#include <sys/mman.h>\n#include <fmt/core.h>", False),
        ("lib/graph/x.cc", "// #include <zmq.hpp> is for others", False),
    ]
    headers = {"lib/base/knows_time.h": '#include "lib/base/also.h"', "lib/base/also.h": "#include <chrono>"}
    wrong = [case for case in cases
             if bool(problems_in(case[0], case[1], lambda header: header != "missing.h", headers.get)) != case[2]]
    for path, text, bad in wrong:
        print(f"{path}: {text!r} should {'' if bad else 'not '}be refused")
    line = problems_in("lib/base/x.cc", '\n\n#include "lib/wire/y.h"', lambda header: True)
    if line != ['lib/base/x.cc:3: lib/base must not include lib/wire ("lib/wire/y.h")']:
        wrong.append(line)
        print(f"the reported place is wrong: {line}")
    print(f"{len(cases) + 1} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(self_test() if "--self_test" in sys.argv[1:] else check_tree())
