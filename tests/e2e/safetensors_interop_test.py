"""The Python safetensors library reads our checkpoints, and the program reads the library's files.

Runs under the Python of $DISTMNIST_TEST_PYTHON if that is set. Without the safetensors and numpy packages the test is
skipped, and without torch its case is skipped.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
OWN_PYTHON = os.environ.get("DISTMNIST_TEST_PYTHON")
if OWN_PYTHON and os.environ.get("DISTMNIST_TEST_PYTHON_RUNS") != "1":
    os.execvpe(OWN_PYTHON, [OWN_PYTHON, *sys.argv], {**os.environ, "DISTMNIST_TEST_PYTHON_RUNS": "1"})

try:
    import numpy
    import safetensors
    import safetensors.numpy
except ImportError as error:
    print(f"skipped: {error}; set DISTMNIST_TEST_PYTHON to a Python that has safetensors and numpy")
    sys.exit(SKIPPED)

SAMPLE = sys.argv.pop(1)  # the program safetensors_sample
SHAPES = {"fc1/weights": (3, 4), "fc1/biases": (3,), "pred/weights": (2, 3), "pred/biases": (2,)}
STEP = 1207


def expected_tensors():
    """The tensors that tests/support/sample_snapshot.h puts into the blocks."""
    tensors = {}
    for prefix, first in (("", STEP), ("optimizer/m/", STEP + 1000), ("optimizer/v/", STEP + 2000)):
        position = 0
        for name, shape in SHAPES.items():
            size = int(numpy.prod(shape))
            values = first + 0.25 * numpy.arange(position, position + size)
            tensors[prefix + name] = values.astype(numpy.float32).reshape(shape)
            position += size
    return tensors


class SafetensorsInteropTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distmnist-interop-")
        self.addCleanup(folder.cleanup)
        self.file = str(pathlib.Path(folder.name) / "model.ckpt-1207.safetensors")

    def test_a_checkpoint_is_read_by_the_library(self):
        subprocess.run([SAMPLE, "write", self.file], check=True)
        read = safetensors.numpy.load_file(self.file)
        expected = expected_tensors()
        self.assertEqual(set(read), set(expected))
        for name, values in expected.items():
            self.assertEqual(read[name].dtype, numpy.float32, name)
            numpy.testing.assert_array_equal(read[name], values, name)
        with safetensors.safe_open(self.file, framework="numpy") as opened:
            metadata = opened.metadata()
        self.assertEqual(metadata["global_step"], "1207")
        self.assertEqual(metadata["config"], 'batch_size = 50\nlog_dir = "a \\"quoted\\" folder"\n')
        self.assertRegex(metadata["crc32c_header"], "^[0-9a-f]{8}$")

    def test_a_checkpoint_is_read_by_torch(self):
        try:
            import safetensors.torch as reader
        except ImportError as error:
            self.skipTest(str(error))
        subprocess.run([SAMPLE, "write", self.file], check=True)
        for name, values in expected_tensors().items():
            numpy.testing.assert_array_equal(reader.load_file(self.file)[name].numpy(), values, name)

    def test_a_file_of_the_library_is_read_by_the_program(self):
        tensors = {"weight": numpy.arange(6, dtype=numpy.float32).reshape(2, 3), "half": numpy.zeros(3, numpy.float16),
                   "count": numpy.array(7, numpy.int64)}
        safetensors.numpy.save_file(tensors, self.file, metadata={"format": "np"})
        text = subprocess.run([SAMPLE, "inspect", self.file], check=True, capture_output=True, text=True).stdout
        self.assertIn("checksums: none (written by another program)", text)
        self.assertIn("format: np", text)
        self.assertRegex(text, r"weight +F32 \[2, 3\] +24 bytes +min 0 max 5 mean 2.5")
        self.assertRegex(text, r"half +F16 \[3\] +6 bytes")
        self.assertRegex(text, r"count +I64 \[\] +8 bytes")


if __name__ == "__main__":
    unittest.main(verbosity=2)
