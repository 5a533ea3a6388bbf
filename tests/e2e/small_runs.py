"""Drives whole training runs of a few seconds with real processes: a small data set, flags, and readers of the files
that a run leaves (checkpoints, metrics.csv, error lines). Use support.py alone for tests without training, and
strategy_runs.py for tests that compare replication strategies."""

import csv
import json
import pathlib
import re
import shutil
import struct
import tempfile

import digits
import support

# One thread per process, because all tasks of a cluster share the machine, which can be busy.
BATCH_SIZE = 20
SMALL = ["--model=softmax", f"--batch_size={BATCH_SIZE}", "--learning_rate=0.01", "--intra_op_parallelism_threads=1",
         "--progress=none"]
DIVERGING = ["--model=mnist_cnn", "--optimizer=sgd", "--learning_rate=1e6"]  # diverges within about three steps
ENDLESS = 1_000_000_000  # steps; the test ends the run

ERROR_LINE = re.compile(r"^\S+ \S+: E \S+\] (.*)$", re.MULTILINE)
PUSHES = re.compile(r"pushes: (\d+) accepted, (\d+) dropped; staleness mean (\d+\.\d), at most (\d+) \((.*)\)$",
                    re.MULTILINE)


class SmallRunTest(support.EndToEndTest):
    """Cases with a data set (self.data) that softmax learns in about fifty steps. It is made once for all cases of a
    class."""

    TRAIN, TEST = 400, 100  # images

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.mkdtemp(prefix="distmnist-e2e-data-")
        cls.addClassCleanup(shutil.rmtree, scratch, ignore_errors=True)
        cls.data = cls.write_data(pathlib.Path(scratch) / "data")

    @classmethod
    def write_data(cls, folder):
        return digits.write_data_set(folder, cls.TRAIN, cls.TEST)

    def setUp(self):
        super().setUp()
        self.log_dir = self.folder / "run"

    def flags(self, *extra, steps=100, log_dir=True):
        """Later flags of the same name replace earlier ones."""
        chosen = {}
        files = [f"--log_dir={self.log_dir}"] if log_dir else []
        for flag in [f"--data_dir={self.data}", *SMALL, f"--train_steps={steps}", *files, *map(str, extra)]:
            chosen[flag.partition("=")[0]] = flag
        return list(chosen.values())

    def train(self, *extra, steps=100, log_dir=True, code=0):
        """Runs local training to its end."""
        process = self.run_program(*self.flags(*extra, steps=steps, log_dir=log_dir))
        self.assert_exit(process, code)
        return process

    def train_cluster(self, num_ps, num_workers, *extra, steps=100, log_dir=True):
        cluster = self.cluster(num_ps, num_workers, self.flags(*extra, steps=steps, log_dir=log_dir)).start()
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        return cluster

    def optimizers(self):
        """The names of all optimizers, from the program's error message."""
        process = self.run_program("--optimizer=unknown")
        self.assert_exit(process, 2)
        listed = re.search(r"choose (\w+(?:, \w+)* or \w+)", process.stderr)
        self.assertIsNotNone(listed, process.tail())
        return re.split(", | or ", listed.group(1))

    def checkpoint(self, step, log_dir=None):
        return read_checkpoint(checkpoint_path(log_dir or self.log_dir, step))

    def assert_refused(self, process, code, *says, deadline_s=support.DEADLINE_S):
        """Checks that it ends with `code` and exactly one error line, which matches every regular expression of `says`,
        and prints nothing on stdout."""
        self.assert_exit(process, code, deadline_s)
        errors = ERROR_LINE.findall(process.stderr)
        self.assertEqual(len(errors), 1, process.tail())
        for pattern in says:
            self.assertRegex(errors[0], pattern)
        self.assertTrue(errors[0].endswith(f"; exit {code}"), errors[0])
        self.assertEqual(process.stderr.splitlines()[-1].partition("] ")[2], errors[0], "the error is the last line")
        self.assertEqual(process.stdout, "")


def checkpoint_path(log_dir, step):
    return pathlib.Path(log_dir) / f"model.ckpt-{step}.safetensors"


def checkpoint_steps(log_dir):
    """The steps of the checkpoint files, ascending."""
    names = [path.name for path in pathlib.Path(log_dir).glob("model*")]
    found = [re.fullmatch(r"model\.ckpt-(\d+)\.safetensors", name) for name in names]
    return sorted(int(match.group(1)) for match in found if match)


class Checkpoint:
    """metadata: name -> text; tensors: name -> raw bytes."""

    def __init__(self, metadata, tensors):
        self.metadata = metadata
        self.tensors = tensors

    @property
    def global_step(self):
        return int(self.metadata["global_step"])

    @property
    def consumed_samples(self):
        """{worker: samples}"""
        return {int(worker): int(samples)
                for worker, _, samples in (pair.partition(":") for pair in self.metadata["consumed_samples"].split())}

    @property
    def consumed_batches(self):
        """{worker: batches of BATCH_SIZE}"""
        assert all(samples % BATCH_SIZE == 0 for samples in self.consumed_samples.values()), self.consumed_samples
        return {worker: samples // BATCH_SIZE for worker, samples in self.consumed_samples.items()}


def read_checkpoint(path):
    content = pathlib.Path(path).read_bytes()
    (header_size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + header_size])
    body = content[8 + header_size:]
    metadata = header.pop("__metadata__")
    return Checkpoint(metadata, {name: body[slice(*entry["data_offsets"])] for name, entry in header.items()})


def metrics(log_dir):
    """The rows of metrics.csv as dictionaries of text."""
    with open(pathlib.Path(log_dir) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """{relative name: bytes} of all files below a folder; empty if there is no such folder."""
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip_byte(path, offset):
    content = bytearray(pathlib.Path(path).read_bytes())
    content[offset] ^= 0x40
    pathlib.Path(path).write_bytes(content)
