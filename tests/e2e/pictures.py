"""PNG files, written by hand."""

import pathlib
import struct
import zlib

GREY, RGB = 0, 2  # PNG colour types


def png(width, height, pixels, colour=GREY):
    """The bytes of an 8-bit PNG; `pixels` row by row."""
    row_bytes = width * (3 if colour == RGB else 1)
    rows = b"".join(b"\0" + bytes(pixels[y * row_bytes:(y + 1) * row_bytes]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def enlarged(side, pixels, times):
    """Each pixel of a square picture as times x times pixels."""
    return bytes(pixels[y // times * side + x // times] for y in range(side * times) for x in range(side * times))


def write(path, content):
    pathlib.Path(path).write_bytes(content)
    return path
