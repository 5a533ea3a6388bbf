"""Loads a program into memory like Linux."""

import ctypes
import os
import pathlib
import struct
import sys

from memory import PAGE, map_memory, write_words

STACK_BYTES = 8 << 20


class Image:
    """An ELF file in memory."""

    def __init__(self, path):
        PT_LOAD, PT_INTERP = 1, 3
        try:
            content = pathlib.Path(path).read_bytes()
        except OSError as error:
            sys.exit(f"emulator.py: {error}")
        if content[:5] != b"\x7fELF\x02":
            sys.exit(f"emulator.py: {path} is no 64-bit ELF program")
        entry, headers = struct.unpack_from("<QQ", content, 24)
        self.header_size, self.header_count = struct.unpack_from("<HH", content, 54)
        segments = [struct.unpack_from("<IIQQQQQQ", content, headers + i * self.header_size)
                    for i in range(self.header_count)]
        loaded = [segment for segment in segments if segment[0] == PT_LOAD]
        end = max(address + size for _, _, _, address, _, _, size, _ in loaded)
        self.base = map_memory((end + PAGE - 1) // PAGE * PAGE)
        for _, _, offset, address, _, size, _, _ in loaded:
            ctypes.memmove(self.base + address, content[offset:offset + size], size)
        self.entry = self.base + entry
        self.headers = self.base + headers
        self.interpreter = next((content[offset:offset + size - 1].decode()
                                 for kind, _, offset, _, _, size, _, _ in segments if kind == PT_INTERP), None)


def make_stack(program, interpreter, arguments):
    """The initial stack of a process: arguments, environment and auxiliary vector (System V ABI, AMD64). Returns its
    top."""
    top = map_memory(STACK_BYTES) + STACK_BYTES - 64

    def put(data):
        nonlocal top
        top -= len(data)
        ctypes.memmove(top, data, len(data))
        return top

    arguments = [put(argument.encode() + b"\0") for argument in arguments]
    # Disables lazy binding, whose code saves registers with XSAVEC, after which XRSTOR fails in this version of Bochs.
    environment = {**os.environ, "LD_BIND_NOW": "1"}
    environment = [put(f"{name}={value}".encode() + b"\0") for name, value in environment.items()]
    auxiliary = {
        3: program.headers, 4: program.header_size, 5: program.header_count,  # AT_PHDR, AT_PHENT, AT_PHNUM
        6: PAGE, 7: interpreter.base if interpreter else 0, 9: program.entry,  # AT_PAGESZ, AT_BASE, AT_ENTRY
        23: 0, 25: put(os.urandom(16)), 31: arguments[0],  # AT_SECURE, AT_RANDOM, AT_EXECFN
        0: 0,
    }
    words = [len(arguments), *arguments, 0, *environment, 0, *(word for pair in auxiliary.items() for word in pair)]
    top = (top - 8 * len(words)) & ~63
    write_words(top, *words)
    return top
