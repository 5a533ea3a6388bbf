"""Writes small data sets as IDX files like MNIST's, easy enough to learn in a few steps. Use it where a test needs data
but not real digits."""

import gzip
import pathlib
import random
import struct

SIDE = 28
CLASSES = 10


def idx_images(images):
    """The bytes of an IDX file of images, each SIDE * SIDE bytes."""
    return struct.pack(">4BIII", 0, 0, 8, 3, len(images), SIDE, SIDE) + b"".join(images)


def idx_labels(labels):
    return struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + bytes(labels)


def block_digit(label, rng):
    """A bright 8x8 block at a position that depends on the class, shifted by one or two pixels, over faint noise."""
    row = 3 + 14 * (label // 5) + rng.randrange(-2, 3)
    column = 2 + 5 * (label % 5) + rng.randrange(-1, 2)
    pixels = bytearray(rng.randrange(24) for _ in range(SIDE * SIDE))
    for y in range(row, row + 8):
        pixels[y * SIDE + column:y * SIDE + column + 4] = bytes([230] * 4)
    return bytes(pixels)


def write_data_set(folder, train=600, test=200, gz=False, seed=1):
    """Writes the four files and returns the folder. The same arguments give the same bytes."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for part, count in (("train", train), ("t10k", test)):
        labels = [i % CLASSES for i in range(count)]
        rng.shuffle(labels)
        write(folder / f"{part}-images-idx3-ubyte", idx_images([block_digit(label, rng) for label in labels]), gz)
        write(folder / f"{part}-labels-idx1-ubyte", idx_labels(labels), gz)
    return folder


def write(path, content, gz):
    if gz:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    else:
        path.write_bytes(content)
