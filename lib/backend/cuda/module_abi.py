#!/usr/bin/env python3
"""Writes a header with the number of the interface between the program and the CUDA module: a checksum of every header
of the project that crosses the border, so that a module that was built from different ones is refused.

  module_abi.py ROOT OUTPUT DEPFILE"""

import hashlib
import pathlib
import re
import sys

BORDER = "lib/backend/cuda/module.h"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*")


def headers_behind(root, header):
    """The header and all of the project that it includes, however deep, in a fixed order."""
    found, waiting = set(), [header]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += INCLUDE.findall((root / name).read_text())
    return sorted(found)


def abi_of(root, headers):
    """32 bits that change with any of the headers' code; comments and blanks do not count."""
    checksum = hashlib.sha256()
    for name in headers:
        words = COMMENT.sub("", (root / name).read_text()).split()
        checksum.update(f"{name} {' '.join(words)}\n".encode())
    return int.from_bytes(checksum.digest()[:4], "big")


def main(root, output, depfile):
    root = pathlib.Path(root)
    headers = headers_behind(root, BORDER)
    pathlib.Path(output).write_text(
        "// Made by module_abi.py from the headers that the program and the CUDA module share.\n#pragma once\n\n"
        "#include <cstdint>\n\nnamespace distmnist {\n\n"
        f"inline constexpr std::uint32_t kCudaModuleAbi = {abi_of(root, headers):#x};\n\n}}  // namespace distmnist\n")
    pathlib.Path(depfile).write_text(f"{output}: {' '.join(str(root / name) for name in headers)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
