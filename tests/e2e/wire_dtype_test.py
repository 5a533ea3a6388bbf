"""--wire_dtype: real processes that send gradients and parameters as 16-bit numbers."""

import small_runs
import support


class WireDtypeTest(small_runs.SmallRunTest):
    def train_with(self, dtype, *extra, num_ps=1, steps=200):
        """Runs two workers and returns the closing line."""
        cluster = self.train_cluster(num_ps, 2, "--fresh", f"--wire_dtype={dtype}", *extra, steps=steps)
        return support.closing_line(cluster.worker(0).stdout)

    def test_training_with_16_bit_numbers_is_as_accurate_as_with_float32(self):
        for dtype in ("bf16", "f16"):
            for strategy in ([], ["--sync_replicas"]):
                with self.subTest(dtype=dtype, strategy=strategy):
                    accuracy, step = self.train_with(dtype, *strategy)
                    self.assertGreaterEqual(step, 200)
                    self.assertGreaterEqual(accuracy, 0.95)

    def test_checkpoints_and_evaluation_use_the_float32_of_the_ps(self):
        accuracy, step = self.train_with("bf16", "--sync_replicas", num_ps=2, steps=30)
        parameters = self.checkpoint(step).tensors["pred/weights"]
        self.assertTrue(any(parameters[0::4]), "bfloat16 numbers do not have these bits")
        evaluation = self.run_program("evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}")
        self.assert_exit(evaluation, 0)
        self.assertEqual(support.closing_line(evaluation.stdout), (accuracy, step))

    def test_a_different_type_on_the_wire_gives_a_different_result(self):
        results = set()
        for dtype in ("f32", "bf16", "f16"):
            self.train_with(dtype, "--sync_replicas", steps=5)
            results.add(self.checkpoint(5).tensors["pred/weights"])
        self.assertEqual(len(results), 3)

    def test_a_run_without_a_ps_accepts_the_flag_without_effect(self):
        results = set()
        for dtype in ("f32", "bf16"):
            self.train("--fresh", f"--wire_dtype={dtype}", steps=20)
            results.add(self.checkpoint(20).tensors["pred/weights"])
        self.assertEqual(len(results), 1)


if __name__ == "__main__":
    support.main()
