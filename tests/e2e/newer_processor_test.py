"""Emulated processors with AVX-512 and with AMX (tests/emulator): the program must detect the instructions, compute
with them, and get the same gradients as without them."""

import sys

import digits
import small_runs
import support
import tolerance

EMULATOR = support.ROOT / "tests" / "emulator" / "emulator.py"
STEPS = 1
DEADLINE_S = 280.0
PRODUCTS = 8  # in mnist_cnn


class NewerProcessorTest(support.EndToEndTest):
    def start_training(self, name, *arguments, emulator=()):
        data = digits.write_data_set(self.folder / f"data of {name}", 8, 2)
        return self.start([*emulator, self.program(), f"--data_dir={data}", f"--log_dir={self.folder / name}",
                           "--model=mnist_cnn", "--batch_size=2", f"--train_steps={STEPS}", "--progress=none",
                           "--intra_op_parallelism_threads=2", *arguments], name=name)

    def emulated(self, name, *arguments, amx=False):
        process = self.start_training(name, *arguments,
                                      emulator=[sys.executable, EMULATOR, *(["--amx"] if amx else [])])
        if process.wait(DEADLINE_S) == support.SKIPPED:
            self.skipTest(process.stdout.strip())
        return process

    def gradients(self, name):
        """Adam's first moments, {name: numbers}. After one step they are its gradients times 0.1."""
        tensors = small_runs.read_checkpoint(small_runs.checkpoint_path(self.folder / name, STEPS)).tensors
        return {key: value for key, value in tensors.items() if key.startswith("optimizer/m/")}

    def assert_trains(self, name, instruction_set, error, *arguments, amx=False):
        """`error`: of one product, both processors together."""
        process = self.emulated(name, *arguments, amx=amx)
        self.assert_exit(process, 0)
        self.assertRegex(process.stderr, rf"backend cpu \({instruction_set}\)")
        plain = self.start_training("portable", "--instruction_set=portable", *arguments)
        self.assert_exit(plain, 0)
        expected = self.gradients("portable")
        gradients = self.gradients(name)
        self.assertEqual(sorted(gradients), sorted(expected))
        self.assertEqual(len(expected), 8)
        for key, numbers in gradients.items():
            self.assertLess(tolerance.relative_error(numbers, expected[key]), PRODUCTS * error, key)

    def test_the_network_trains_in_avx512(self):
        self.assert_trains("avx512", "avx512", 2 * tolerance.FLOATS)

    def test_the_network_trains_in_tiles_with_two_numbers_for_one(self):
        self.assert_trains("amx", "amx", tolerance.TWO_HALVES + tolerance.FLOATS, "--precision=f32", amx=True)

    def test_the_network_trains_in_bfloat16_tiles(self):
        self.assert_trains("amx", "amx", tolerance.HALVES_OF_OTHER_SUMS, "--precision=bf16", amx=True)

    def test_tiles_without_amx_are_refused(self):
        process = self.emulated("refused", "--instruction_set=amx")
        self.assert_fails(process, 2, "--instruction_set=amx.*avx512")


if __name__ == "__main__":
    support.main()
