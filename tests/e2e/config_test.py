"""A run can be repeated from its config.toml: with no other flag, it trains on the same data, with the same rules, and
to the same parameters if this kind of run is deterministic."""

import re
import unittest

import small_runs

STEPS = 40


class ConfigTest(small_runs.SmallRunTest):
    def config(self, folder):
        return (folder / "config.toml").read_text()

    def repeat(self, *flags, same_bits=True):
        first, again = self.folder / "first", self.folder / "again"
        for folder, arguments in ((first, flags), (again, [f"--config={first / 'config.toml'}"])):
            process = self.run_program(*arguments, f"--log_dir={folder}", "--progress=none")
            self.assert_exit(process, 0)
        self.assertEqual(self.config(again), self.config(first))
        steps = [small_runs.checkpoint_steps(folder)[-1] for folder in (first, again)]
        self.assertEqual(*steps) if same_bits else self.assertGreaterEqual(min(steps), STEPS)
        if same_bits:
            old, new = (small_runs.read_checkpoint(small_runs.checkpoint_path(folder, steps[0])).tensors
                        for folder in (first, again))
            self.assertEqual(old.keys(), new.keys())
            self.assertEqual([name for name in old if old[name] != new[name]], [])
        return self.config(first)

    def small(self, *flags):
        return ["--model=softmax", f"--train_steps={STEPS}", "--batch_size=20", "--intra_op_parallelism_threads=1", *flags]

    def test_each_preset(self):
        for preset in ("seeds", "fast", "best"):
            with self.subTest(preset):
                self.folder = self.folder / preset
                self.folder.mkdir()
                text = self.repeat(*self.small(f"--preset={preset}", f"--data_dir={self.data}", "--seed=3"))
                self.assertIn(f'data_dir = "{self.data}"', text)

    def test_synthetic_data(self):
        self.assertIn('dataset = "synthetic"', self.repeat(*self.small("--dataset=synthetic")))

    def test_synchronous_workers(self):
        text = self.repeat(*self.small("--dataset=synthetic", "--num_workers=2", "--num_ps=2", "--sync_replicas",
                                       "--on_lost_worker=wait", "--optimizer=momentum", "--wire_dtype=bf16"))
        self.assertRegex(text, r"(?m)^sync_replicas = true$")

    def test_towers(self):
        self.repeat(*self.small("--dataset=synthetic", "--replication=in_graph", "--devices=/cpu:0,/cpu:1",
                                "--batch_per_tower"))

    def test_asynchronous_workers_with_every_rule(self):
        for number, rule in enumerate(("--staleness=keep", "--staleness=drop:3", "--staleness=scale", "--max_staleness=2",
                                       "--warmup_steps=10", "--warmup_epochs=0.1", "--on_nan=skip")):
            with self.subTest(rule):
                self.folder = self.folder / str(number)
                self.folder.mkdir()
                text = self.repeat(*self.small(f"--data_dir={self.data}", "--num_workers=2", rule), same_bits=False)
                name, _, value = rule.removeprefix("--").partition("=")
                self.assertRegex(text, rf'(?m)^{name} = "?{re.escape(value)}"?$')


if __name__ == "__main__":
    unittest.main(verbosity=2)
