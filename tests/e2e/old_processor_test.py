"""A processor without AVX, emulated by QEMU, which ends a process at the first unsupported instruction: the program
must detect this and compute with the supported ones."""

import shutil

import digits
import support

EMULATOR = "qemu-x86_64"
# The program would otherwise start itself again to set this variable, and the new process would not be emulated.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}


class OldProcessorTest(support.EndToEndTest):
    def emulated(self, *arguments):
        emulator = shutil.which(EMULATOR)
        if not emulator:
            self.skipTest(f"{EMULATOR} is not installed (Debian: qemu-user)")
        data = digits.write_data_set(self.folder / "data", 8, 4)
        flags = [f"--data_dir={data}", "--model=mnist_cnn", "--batch_size=4", "--train_steps=2", "--log_every=1",
                 "--intra_op_parallelism_threads=2", "--progress=none"]
        return self.start([emulator, "-cpu", "Nehalem", self.program(), *flags, *arguments], env=ENVIRONMENT)

    def test_the_network_trains_with_the_supported_instructions(self):
        process = self.emulated()
        self.assert_exit(process, 0, support.LONG_DEADLINE_S)
        _, global_step = support.closing_line(process.stdout)
        self.assertEqual(global_step, 2)

    def test_unsupported_instructions_are_refused(self):
        self.assert_fails(self.emulated("--instruction_set=avx2"), 2, "--instruction_set=avx2.*portable")


if __name__ == "__main__":
    support.main()
