"""Writes PNG files without a library, so that tests can create every format, including invalid ones."""

import pathlib
import struct
import zlib

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG colour types
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# For each pass of an interlaced PNG: the first column and row, and the steps between them.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(width, height, pixels, colour=GREY, bits=8, interlaced=False, chunks=()):
    """The bytes of a PNG. `pixels`: row by row; 16-bit values with the high byte first. `chunks`: (kind, data) before
    the pixels."""
    pixel_bytes = CHANNELS[colour] * bits // 8
    row_bytes = width * pixel_bytes
    rows = [bytes(pixels[y * row_bytes:(y + 1) * row_bytes]) for y in range(height)]
    if interlaced:
        rows = [_every(row[left * pixel_bytes:], x_step, pixel_bytes)
                for left, top, x_step, y_step in ADAM7 if left < width for row in rows[top::y_step]]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 1 if interlaced else 0)
    before = b"".join(chunk(kind, data) for kind, data in chunks)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gamma(value):
    """The gamma chunk, which relates numbers to light: 45455 for most pictures, 100000 for linear ones."""
    return b"gAMA", struct.pack(">I", value)


def _every(row, step, pixel_bytes):
    """Every `step`-th pixel of a row, starting with the first."""
    return b"".join(row[i:i + pixel_bytes] for i in range(0, len(row), step * pixel_bytes))


def interleaved(*channels):
    """Combines the bytes of each channel into pixels."""
    out = bytearray(len(channels) * len(channels[0]))
    for i, channel in enumerate(channels):
        out[i::len(channels)] = channel
    return bytes(out)


def write(path, content):
    pathlib.Path(path).write_bytes(content)
    return path
