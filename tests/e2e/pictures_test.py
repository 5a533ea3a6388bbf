"""Tests predict with realistic pictures: digits of MNIST's test set drawn in many ways, and invalid files.

Runs under the Python of $DISTMNIST_TEST_PYTHON if that is set. Without Pillow the cases with JPEG and with PNG from
other programs are skipped, and without MNIST the cases that count right answers."""

import gzip
import io
import os
import pathlib
import random
import re
import struct
import sys
import unittest

import digits
import pictures
import small_runs
import support

OWN_PYTHON = os.environ.get("DISTMNIST_TEST_PYTHON")
if __name__ == "__main__" and OWN_PYTHON and os.environ.get("DISTMNIST_TEST_PYTHON_RUNS") != "1":
    os.execvpe(OWN_PYTHON, [OWN_PYTHON, *sys.argv], {**os.environ, "DISTMNIST_TEST_PYTHON_RUNS": "1"})

try:
    from PIL import Image
except ImportError:
    Image = None
NO_PILLOW = "Pillow is not installed; set DISTMNIST_TEST_PYTHON to a Python that has it"

SIDE = digits.SIDE
COUNT = 100  # digits of each kind
MAY_LOSE = 2  # of these digits
MAY_LOSE_AS_JPEG = 3  # JPEG artifacts can change strokes that are two pixels wide
TIMES = 4  # scale of most pictures relative to MNIST's size
LARGE = SIDE * TIMES
PREDICTION = re.compile(r"^(.*): (\d) \(\d\.\d{4}\)  \[.*\]$", re.MULTILINE)


def mnist_test_digits(folder):
    """COUNT pairs (pixels, label), spread over the test set."""
    images, labels = (read_plain_or_gz(pathlib.Path(folder) / f"t10k-{name}-ubyte")
                      for name in ("images-idx3", "labels-idx1"))
    size = SIDE * SIDE
    chosen = [i * (len(labels) - 8) // COUNT for i in range(COUNT)]
    return [(images[16 + i * size:16 + (i + 1) * size], labels[8 + i]) for i in chosen]


def read_plain_or_gz(path):
    return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())


def enlarged(pixels):
    """TIMES as large, with bilinear interpolation."""
    places = [min(max((i + 0.5) / TIMES - 0.5, 0), SIDE - 1.001) for i in range(LARGE)]
    rows = []
    for place in places:
        top, part = int(place), place % 1
        above, below = pixels[top * SIDE:(top + 1) * SIDE], pixels[(top + 1) * SIDE:(top + 2) * SIDE]
        rows.append([a + (b - a) * part for a, b in zip(above, below)])
    return bytes(round(row[int(place)] + (row[int(place) + 1] - row[int(place)]) * (place % 1))
                 for row in rows for place in places)


def between(paper, ink):
    """A table for bytes.translate that maps 0 to paper and 255 to ink."""
    return bytes(round(paper + (ink - paper) * value / 255) for value in range(256))


DARK = between(255, 0)


def coloured(cover, paper, ink):
    return pictures.interleaved(*(cover.translate(between(p, i)) for p, i in zip(paper, ink)))


def on_canvas(cover, side, height, width, top, left):
    """Places a square on empty paper."""
    rows = [bytearray(width) for _ in range(height)]
    for y in range(side):
        rows[top + y][left:left + side] = cover[y * side:(y + 1) * side]
    return b"".join(rows)


def cut_out(cover, side):
    """The bounding box of the nonzero pixels: (width, height, pixels)."""
    rows = [cover[y * side:(y + 1) * side] for y in range(side)]
    rows = rows[min(y for y in range(side) if any(rows[y])):max(y for y in range(side) if any(rows[y])) + 1]
    used = [x for x in range(side) if any(row[x] for row in rows)]
    rows = [row[used[0]:used[-1] + 1] for row in rows]
    return len(rows[0]), len(rows), b"".join(rows)


class Kinds:
    """The ways to draw a digit. Each method takes its pixels (0..255) in small (SIDE) and large (LARGE) size and
    returns the bytes of a file."""

    def __init__(self):
        self.rng = random.Random(7)

    def grey_as_in_mnist(self, small, large):
        return pictures.png(SIDE, SIDE, small)

    def grey_dark_on_paper(self, small, large):
        return pictures.png(LARGE, LARGE, large.translate(DARK))

    def rgb_ink_as_bright_as_the_paper(self, small, large):
        return pictures.png(LARGE, LARGE, coloured(large, (90, 140, 90), (200, 90, 76)), pictures.RGB)

    def rgb_tinted_interlaced(self, small, large):
        return pictures.png(LARGE, LARGE, coloured(large, (235, 215, 160), (70, 60, 130)), pictures.RGB, interlaced=True)

    def rgba_black_on_transparent(self, small, large):
        nothing = bytes(len(large))
        return pictures.png(LARGE, LARGE, pictures.interleaved(nothing, nothing, nothing, large), pictures.RGBA)

    def rgba_white_on_transparent(self, small, large):
        white = b"\xff" * len(large)
        return pictures.png(LARGE, LARGE, pictures.interleaved(white, white, white, large), pictures.RGBA)

    def palette(self, small, large):
        colours = coloured(bytes(range(256)), (20, 60, 50), (230, 235, 225))
        return pictures.png(LARGE, LARGE, large, pictures.PALETTE, chunks=[(b"PLTE", colours)])

    def grey_16_bits_dim(self, small, large):
        dim = large.translate(between(140, 112))
        return pictures.png(LARGE, LARGE, pictures.interleaved(dim, dim), bits=16, chunks=[pictures.gamma(45455)])

    def small_in_a_corner(self, small, large):
        side = 2 * LARGE
        top, left = self.rng.randrange(side - SIDE), self.rng.choice((0, side - SIDE))
        return pictures.png(side, side, on_canvas(small, SIDE, side, side, top, left).translate(DARK))

    def cut_off_at_its_edges(self, small, large):
        width, height, cover = cut_out(large, LARGE)
        return pictures.png(width, height, cover.translate(DARK))

    def wide_noisy_and_in_uneven_light(self, small, large):
        width = 3 * LARGE
        cover = on_canvas(large, LARGE, LARGE, width, 0, self.rng.randrange(width - LARGE))
        noise = [self.rng.gauss(0, 6) for _ in range(1009)]
        light = [0.6 + 0.4 * x / width for x in range(width)]
        pixels = bytes(round(min(255, max(0, (225 - value * 0.6) * light[i % width] + noise[i * 31 % 1009])))
                       for i, value in enumerate(cover))
        return pictures.png(width, LARGE, pixels)

    def framed_with_specks(self, small, large):
        pixels = bytearray(large.translate(DARK))
        for i in range(LARGE):
            for depth in range(3):
                for place in (depth * LARGE + i, (LARGE - 1 - depth) * LARGE + i, i * LARGE + depth,
                              i * LARGE + LARGE - 1 - depth):
                    pixels[place] = 30
        for _ in range(40):
            pixels[self.rng.randrange(len(pixels))] = 0
        return pictures.png(LARGE, LARGE, pixels)


class PillowKinds:
    """Ways to draw a digit in files that Pillow writes."""

    def saved(self, image, form, **options):
        out = io.BytesIO()
        image.save(out, form, **options)
        return out.getvalue()

    def jpeg(self, small, large):
        return self.saved(Image.frombytes("L", (LARGE, LARGE), large.translate(DARK)), "JPEG", quality=60)

    def jpeg_of_mnists_size(self, small, large):
        return self.saved(Image.frombytes("L", (SIDE, SIDE), small), "JPEG", quality=75)

    def jpeg_progressive_in_colour(self, small, large):
        image = Image.frombytes("RGB", (LARGE, LARGE), coloured(large, (240, 225, 180), (60, 40, 150)))
        return self.saved(image, "JPEG", quality=50, progressive=True)

    def jpeg_cmyk(self, small, large):
        image = Image.frombytes("RGB", (LARGE, LARGE), coloured(large, (255, 255, 255), (0, 0, 90)))
        return self.saved(image.convert("CMYK"), "JPEG", quality=85)

    def jpeg_of_a_turned_camera(self, small, large):
        image = Image.frombytes("L", (LARGE, LARGE), large.translate(DARK)).transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x112] = 6  # has to be rotated clockwise
        return self.saved(image, "JPEG", quality=85, exif=exif)

    def png_grey_and_alpha(self, small, large):
        cover = Image.frombytes("L", (LARGE, LARGE), large)
        return self.saved(Image.merge("LA", (Image.new("L", cover.size, 90), cover)), "PNG", optimize=True)

    def png_1_bit(self, small, large):
        return self.saved(Image.frombytes("L", (LARGE, LARGE), large.translate(DARK)).convert("1", dither=0), "PNG")


def kinds_of(drawer):
    return {name: getattr(drawer, name) for name in vars(type(drawer)) if not name.startswith("_") and name != "saved"}


class PictureTest(support.EndToEndTest):
    """With a model trained with --preset fast."""

    @classmethod
    def setUpClass(cls):
        cls.model = None

    def trained(self):
        """Trains once for all cases. The folder belongs to the class."""
        cls = type(self)
        if cls.model is None:
            cls.model = cls.enterClassContext(support.tempfile.TemporaryDirectory(prefix="distmnist-e2e-model-"))
            process = self.run_program(f"--data_dir={self.mnist()}", "--preset=fast", f"--log_dir={cls.model}",
                                       "--progress=none", deadline_s=240)
            self.assert_exit(process, 0)
        return cls.model

    def right_answers(self, files, labels):
        """The number of right answers for several pictures, or for one file with several images."""
        process = self.run_program("predict", f"--log_dir={self.trained()}", *files)
        found = [(name, int(digit)) for name, digit in PREDICTION.findall(process.stdout)]
        if len(files) == len(labels):
            answers = dict(found)
            return sum(answers.get(str(file)) == label for file, label in zip(files, labels))
        return sum(digit == label for (_, digit), label in zip(found, labels))

    def check_kinds(self, kinds, may_lose):
        chosen = mnist_test_digits(self.mnist())
        labels = [label for _, label in chosen]
        drawn = [(pixels, enlarged(pixels)) for pixels, _ in chosen]
        plain = self.folder / "plain"
        plain.write_bytes(digits.idx_images([pixels for pixels, _ in chosen]))
        at_least = self.right_answers([plain], labels) - may_lose
        print(f"{at_least + may_lose} of {COUNT}: the images of MNIST themselves")
        for name, draw in kinds.items():
            files = [pictures.write(self.folder / f"{name}_{i}", draw(*pair)) for i, pair in enumerate(drawn)]
            right = self.right_answers(files, labels)
            print(f"{right} of {COUNT}: {name.replace('_', ' ')}")
            with self.subTest(name):
                self.assertGreaterEqual(right, at_least)

    def test_twelve_kinds_of_pictures_lose_at_most_two_of_a_hundred_answers(self):
        kinds = kinds_of(Kinds())
        self.assertEqual(len(kinds), 12)
        self.check_kinds(kinds, MAY_LOSE)

    @unittest.skipUnless(Image, NO_PILLOW)
    def test_pictures_written_by_pillow_lose_at_most_three_of_a_hundred_answers(self):
        self.check_kinds(kinds_of(PillowKinds()), MAY_LOSE_AS_JPEG)


def ring(side=40, thickness=6):
    """A shape like a 0 with `side` x `side` pixels, 0..255."""
    middle = (side - 1) / 2
    return bytes(255 if abs(((y - middle) ** 2 + (2 * (x - middle)) ** 2) ** 0.5 - side * 0.35) < thickness / 2 else 0
                 for y in range(side) for x in range(side))


class FileTest(small_runs.SmallRunTest):
    """Cases that do not depend on the quality of the model."""

    def setUp(self):
        super().setUp()
        self.train(steps=5)

    def predict(self, *arguments):
        return self.run_program("predict", f"--log_dir={self.log_dir}", *arguments)

    def save(self, name, content):
        return pictures.write(self.folder / name, content)

    def answers(self, *files):
        """The answer for each file, without its name."""
        process = self.predict(*files)
        self.assert_exit(process, 0)
        lines = process.stdout.splitlines()
        self.assertEqual(len(lines), len(files))
        return [line.removeprefix(f"{file}: ") for line, file in zip(lines, files)]

    def errors(self, process):
        return small_runs.ERROR_LINE.findall(process.stderr)

    def test_a_picture_is_recognized_by_its_content(self):
        picture = pictures.png(40, 40, ring())
        files = [self.save(name, picture) for name in ("a.png", "B.PNG", "no_name", "wrong.jpg", "wrong.idx")]
        self.assertEqual(len(set(self.answers(*files))), 1)

    def test_the_same_picture_gets_the_same_answer_however_it_is_stored(self):
        cover = ring().translate(between(200, 60))
        deep = pictures.interleaved(cover, cover)
        colours = pictures.interleaved(cover, cover, cover)
        files = [self.save(f"{i}.png", content) for i, content in enumerate((
            pictures.png(40, 40, cover),
            pictures.png(40, 40, cover, chunks=[pictures.gamma(45455)]),
            pictures.png(40, 40, cover, chunks=[pictures.gamma(100000)]),
            pictures.png(40, 40, deep, bits=16),
            pictures.png(40, 40, deep, bits=16, chunks=[pictures.gamma(45455)]),
            pictures.png(40, 40, deep, bits=16, chunks=[pictures.gamma(100000)]),
            pictures.png(40, 40, cover, interlaced=True),
            pictures.png(40, 40, colours, pictures.RGB),
            pictures.png(40, 40, colours, pictures.RGB, interlaced=True),
            pictures.png(40, 40, pictures.interleaved(colours[0::3], b"\xff" * 1600), pictures.GREY_ALPHA),
            pictures.png(40, 40, cover, pictures.PALETTE,
                         chunks=[(b"PLTE", bytes(v for v in range(256) for _ in range(3)))]),
            pictures.png(40, 40, ring(), pictures.PALETTE,
                         chunks=[(b"PLTE", bytes([9] * 768)), (b"tRNS", bytes(range(256)))]),
        ))]
        self.assertEqual(len(set(self.answers(*files))), 1)

    def test_a_bad_file_does_not_prevent_the_others_from_being_predicted(self):
        good = self.save("good.png", pictures.png(40, 40, ring()))
        bad = self.save("bad.png", b"GIF89a and so on")
        process = self.predict(bad, good, self.folder / "none.png", good, self.folder)
        self.assert_exit(process, 3)
        self.assertEqual([name for name, _ in PREDICTION.findall(process.stdout)], [str(good)] * 2)
        errors = self.errors(process)
        self.assertEqual(len(errors), 4, process.stderr)
        self.assertRegex(errors[0], rf"^error: {bad}: a GIF; only PNG, JPEG and IDX files of images can be read$")
        self.assertRegex(errors[1], r"none\.png: No such file")
        self.assertRegex(errors[2], rf"^error: {self.folder}: a folder")
        self.assertRegex(errors[3], r"3 of 5 files could not be predicted.*; exit 3$")

    def test_files_that_are_not_pictures_are_named(self):
        names = {"a GIF": b"GIF89a", "a WebP": b"RIFF\x10\0\0\0WEBPVP8 ", "a BMP": b"BM\x10\0\0\0",
                 "a TIFF": b"II*\0\x08\0\0\0", "a HEIC": b"\0\0\0\x18ftypheic", "an AVIF": b"\0\0\0\x18ftypavif",
                 "an SVG": b'<?xml version="1.0"?>\n<svg>', "a PDF": b"%PDF-1.4",
                 "a PNG, packed with gzip": gzip.compress(pictures.png(1, 1, b"\0")),
                 "an IDX file of labels, packed": gzip.compress(digits.idx_labels([1])),
                 "damaged when it was copied as text": b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "bytes 07 08": b"\x07\x08"}
        files = [self.save(f"file{i}.png", content) for i, content in enumerate(names.values())]
        process = self.predict(*files)
        self.assert_exit(process, 3)
        self.assertEqual(process.stdout, "")
        for name, file, error in zip(names, files, self.errors(process)):
            self.assertIn(f"{file}: ", error)
            self.assertIn(name, error)
            self.assertIn("PNG, JPEG and IDX", error)

    def test_a_blank_picture_is_reported(self):
        rng = random.Random(1)
        frame = [0 if min(x, y, 59 - x, 59 - y) < 3 else 255 for y in range(60) for x in range(60)]
        blank = [pictures.png(60, 60, b"\xff" * 3600), pictures.png(60, 60, bytes(3600)), pictures.png(1, 1, b"\x07"),
                 pictures.png(9, 60, bytes(4 * 540), pictures.RGBA), pictures.png(3000, 1, b"\x80" * 3000),
                 pictures.png(60, 60, [round(rng.gauss(128, 12)) for _ in range(3600)]),
                 pictures.png(60, 60, [60 + 2 * y + x for y in range(60) for x in range(60)]),
                 pictures.png(60, 60, frame)]
        files = [self.save(f"blank{i}.png", content) for i, content in enumerate(blank)]
        process = self.predict(*files)
        self.assert_exit(process, 3)
        self.assertEqual(process.stdout, "")
        for file, error in zip(files, self.errors(process)):
            self.assertRegex(error, rf"{file}: the picture is blank")

    def test_raw_pixels_are_not_changed(self):
        pixels = bytes(i * 7 % 256 for i in range(SIDE * SIDE))
        idx = self.save("idx", digits.idx_images([pixels]))
        raw = self.save("raw.png", pictures.png(SIDE, SIDE, pixels))
        nothing = self.save("nothing.png", pictures.png(SIDE, SIDE, bytes(SIDE * SIDE)))
        other = self.save("other.png", pictures.png(SIDE + 1, SIDE, bytes(SIDE * SIDE + SIDE)))
        process = self.predict("--raw", raw, nothing, idx)
        self.assert_exit(process, 0)
        of_picture, _, of_idx = (line.partition(": ")[2] for line in process.stdout.splitlines())
        self.assertEqual(of_picture, of_idx)
        self.assert_refused(self.predict("--raw", other), 3, rf"{other}: 29 x 28 pixels; --raw takes only 28 x 28")

    def test_standard_input_is_not_read(self):
        self.assert_refused(self.predict("-"), 3, "standard input")

    def test_a_picture_that_announces_too_many_pixels_is_refused_at_once(self):
        whole = pictures.png(1, 1, b"\0")
        for width, height in ((100_000, 1), (20_000, 20_000), (2 ** 31 - 1, 2 ** 31 - 1)):
            header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
            bomb = self.save("bomb.png", whole[:8] + pictures.chunk(header[:4], header[4:]) + whole[33:])
            process = self.predict(bomb)
            self.assert_refused(process, 3, rf"{width} x {height} pixels are too many; scale it down to at most 30000 "
                                            r"a side and 64 million in all")

    def test_a_truncated_or_damaged_png_is_refused(self):
        whole = pictures.png(40, 40, ring())
        for size in (9, 30, len(whole) // 2, len(whole) - 12, len(whole) - 1):
            self.assert_refused(self.predict(self.save("cut.png", whole[:size])), 3, "a PNG .*cut off.*PNG or JPEG")
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0xff
        self.assert_refused(self.predict(self.save("damaged.png", damaged)), 3, "a PNG that cannot be read")

    @unittest.skipUnless(Image, NO_PILLOW)
    def test_a_truncated_or_damaged_jpeg_is_refused(self):
        for progressive in (False, True):
            out = io.BytesIO()
            Image.frombytes("L", (40, 40), ring()).resize((160, 160)).save(out, "JPEG", progressive=progressive)
            whole = out.getvalue()
            self.assertEqual(len(self.answers(self.save("whole.jpg", whole))), 1)
            for size in (3, 100, len(whole) // 2, len(whole) * 3 // 4, len(whole) - 2):
                with self.subTest(progressive=progressive, size=size):
                    self.assert_refused(self.predict(self.save("cut.jpg", whole[:size])), 3,
                                        "a JPEG that cannot be read .*PNG or JPEG")

    @unittest.skipUnless(Image, NO_PILLOW)
    def test_a_jpeg_is_rotated_by_its_orientation(self):
        picture = Image.new("L", (60, 80), 255)
        picture.paste(0, (20, 10, 26, 70))
        picture.paste(0, (20, 10, 45, 18))
        T = Image.Transpose
        # From the picture as it should be shown: the pixels that a camera would store.
        stored = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90,
                  7: T.TRANSVERSE, 8: T.ROTATE_270}
        files = []
        for number, method in stored.items():
            exif = Image.Exif()
            exif[0x112] = number
            for form in ("jpg", "png"):
                files.append(self.folder / f"{number}.{form}")
                (picture.transpose(method) if method is not None else picture).save(files[-1], exif=exif, quality=100)
        said = self.answers(*files)
        self.assertEqual(len({line[0] for line in said}), 1, said)
        self.assertEqual(len(set(said[1::2])), 1, said)


if __name__ == "__main__":
    support.main()
