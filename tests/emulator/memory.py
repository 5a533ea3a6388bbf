"""Memory of this process by address, and its system calls."""

import ctypes
import os
import struct

PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = [ctypes.c_long] * 7


def system_call(number, *arguments):
    """The kernel's answer; a negative number is an error code."""
    words = [word - (1 << 64) if word >> 63 else word for word in arguments]
    result = libc.syscall(number, *words, *[0] * (6 - len(words)))
    return -ctypes.get_errno() if result == -1 else result


def map_memory(size):
    READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS = 7, 0x22
    address = system_call(9, 0, size, READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS, (1 << 64) - 1, 0)
    if address < 0:
        raise MemoryError(f"mmap of {size} bytes: {os.strerror(-address)}")
    return address


def write_words(address, *words):
    ctypes.memmove(address, struct.pack(f"<{len(words)}Q", *words), 8 * len(words))


def read_word32(address):
    return ctypes.c_uint32.from_address(address).value
