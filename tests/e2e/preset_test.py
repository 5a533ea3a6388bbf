"""--preset in whole runs: the run uses its values, and shows them in the log, in config.toml, and on all tasks of a
cluster."""

import small_runs
import support

# Values of the preset fast. The model and the steps are given explicitly, because explicit flags have priority.
BATCH_SIZE, SCHEDULE = "batch_size = 64", 'learning_rate_schedule = "cosine"'


class PresetTest(small_runs.SmallRunTest):
    def preset_flags(self, *extra, steps=30):
        return [f"--data_dir={self.data}", "--model=softmax", f"--train_steps={steps}", "--preset=fast", *extra]

    def test_a_local_run_uses_and_logs_the_presets_values(self):
        process = self.run_program(*self.preset_flags(f"--log_dir={self.log_dir}"))
        self.assert_exit(process, 0)
        self.assertRegex(process.stderr, r"preset fast: batch_size 64, train_steps 30, .*schedule cosine, "
                                        r"learning_rate_warmup_steps 30")
        config = (self.log_dir / "config.toml").read_text().splitlines()
        self.assertIn(BATCH_SIZE, config)
        self.assertIn(SCHEDULE, config)
        self.assertIn("train_steps = 30", config)
        self.assertEqual(self.checkpoint(30).consumed_samples, {0: 30 * 64})

    def test_a_cluster_uses_it_on_every_task_and_gives_the_same_result_as_a_local_run(self):
        local_dir = self.folder / "local"
        self.assert_exit(self.run_program(*self.preset_flags(f"--log_dir={local_dir}")), 0)
        cluster = self.cluster(1, 1, self.preset_flags(f"--log_dir={self.log_dir}")).start()
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        self.assertEqual(self.checkpoint(30).tensors, self.checkpoint(30, local_dir).tensors)
        self.assertNotIn("preset", cluster.ps().stderr)

    def test_a_worker_without_the_chiefs_preset_is_refused_with_the_first_difference(self):
        cluster = self.cluster(1, 2, [f"--data_dir={self.data}", "--model=softmax", "--learning_rate=0.01",
                                      f"--train_steps={small_runs.ENDLESS}"])
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 0, "--preset=fast").wait_for("first step")
        self.assert_refused(cluster.start_task("worker", 1), 5, r"--batch_size.*50.*64|--batch_size.*64.*50")
        self.assert_refused(cluster.start_task("worker", 1, "--preset=fast", "--augment=affine"), 5,
                            r"--augment.*none.*affine|--augment.*affine.*none")


if __name__ == "__main__":
    support.main()
