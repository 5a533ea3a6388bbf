"""The files in a run's folder and how a run continues from them: saving, stopping, resuming, evaluating."""

import random
import re
import signal

import digits
import pictures
import small_runs
import support


class SaveTest(small_runs.SmallRunTest):
    def test_the_end_of_a_run_is_saved(self):
        self.train(steps=50)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [50])
        saved = self.checkpoint(50)
        self.assertEqual((saved.global_step, saved.consumed_batches), (50, {0: 50}))
        self.assertEqual(set(saved.tensors), {prefix + name for prefix in ("", "optimizer/m/", "optimizer/v/")
                                              for name in ("pred/weights", "pred/biases")})
        self.assertEqual((self.log_dir / "checkpoint").read_text(),
                         'model_checkpoint_path: "model.ckpt-50.safetensors"\n'
                         'all_model_checkpoint_paths: "model.ckpt-50.safetensors"\n')
        self.assertIn('model = "softmax"', (self.log_dir / "config.toml").read_text())

    def test_without_log_dir_nothing_is_written(self):
        before = small_runs.contents(self.folder)
        self.assert_exit(self.run_program(*self.flags(steps=5, log_dir=False), name="plain", cwd=self.folder), 0)
        after = {name for name in small_runs.contents(self.folder) if not name.startswith("plain.")}
        self.assertEqual(after, set(before))

    def test_a_checkpoint_is_saved_every_save_model_secs_and_the_newest_few_are_kept(self):
        process = self.start([self.program(), *self.flags("--save_model_secs=1", "--max_to_keep=2",
                                                          steps=small_runs.ENDLESS)])
        support.wait_until(lambda: process.stderr.count("saved ") >= 3, "three checkpoints")
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        steps = [int(step) for step in re.findall(r"saved \S+-(\d+)\.safetensors", process.stderr)]
        self.assertEqual(steps, sorted(set(steps)))
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), steps[-2:])
        self.assertEqual((self.log_dir / "checkpoint").read_text(),
                         f'model_checkpoint_path: "model.ckpt-{steps[-1]}.safetensors"\n'
                         f'all_model_checkpoint_paths: "model.ckpt-{steps[-2]}.safetensors"\n'
                         f'all_model_checkpoint_paths: "model.ckpt-{steps[-1]}.safetensors"\n')

    def test_max_to_keep_0_keeps_all(self):
        for steps in (10, 20, 30):
            self.train("--max_to_keep=0", steps=steps)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [10, 20, 30])


class StopTest(small_runs.SmallRunTest):
    def stop_cluster(self, number, code):
        cluster = self.cluster(1, 2, self.flags("--log_every=10", steps=small_runs.ENDLESS)).start()
        for index in (0, 1):
            cluster.worker(index).wait_for(r"^Worker : \d, Step: \d+0,")
        for task in cluster.tasks.values():
            task.send(number)
        self.assertEqual(cluster.wait_all(), {name: code for name in cluster.tasks})
        stopped_at = int(cluster.worker(0).wait_for(r"stopped by a signal at global_step (\d+)").group(1))
        steps = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(len(steps), 1)
        self.assertGreaterEqual(steps[0], stopped_at)
        saved = self.checkpoint(steps[0])
        self.assertEqual(sum(saved.consumed_batches.values()), saved.global_step, "a snapshot contains whole steps")
        self.assertNotIn("test_accuracy", cluster.worker(0).stdout)

    def test_on_sigterm_all_tasks_end_with_143_and_the_chief_saves(self):
        self.stop_cluster(signal.SIGTERM, 143)

    def test_on_sigint_all_tasks_end_with_130_and_the_chief_saves(self):
        self.stop_cluster(signal.SIGINT, 130)

    def test_an_interrupted_local_run_continues_from_its_last_step(self):
        process = self.start([self.program(), *self.flags("--log_every=10", steps=small_runs.ENDLESS)])
        process.wait_for(r"^Worker : 0, Step: 10,")
        process.send(signal.SIGINT)
        self.assert_exit(process, 130)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        resumed = self.train(steps=step + 20)
        self.assertIn(f"restored global_step {step}\n", resumed.stderr)
        self.assertEqual(support.closing_line(resumed.stdout)[1], step + 20)

    def test_a_worker_that_waits_for_its_ps_stops_at_once(self):
        cluster = self.cluster(1, 1, self.flags(log_dir=False))
        worker = cluster.start_task("worker", 0)
        worker.wait_for(r"cannot be reached")
        worker.send(signal.SIGTERM)
        self.assert_exit(worker, 143, 10)

    def test_a_ps_without_workers_stops_at_once(self):
        ps = self.cluster(1, 1).start_task("ps", 0)
        ps.wait_for(r"listening on")
        ps.send(signal.SIGTERM)
        self.assert_exit(ps, 143, 10)


class ResumeTest(small_runs.SmallRunTest):
    def test_a_resumed_run_gives_the_same_bits_as_one_that_was_not_stopped(self):
        for optimizer in self.optimizers():
            with self.subTest(optimizer=optimizer):
                whole_dir = self.folder / f"whole_{optimizer}"
                flags = [f"--optimizer={optimizer}", "--learning_rate_schedule=exponential", "--decay_steps=50"]
                self.train(*flags, f"--log_dir={whole_dir}", steps=90)
                self.train(*flags, "--fresh", steps=35)
                resumed = self.train(*flags, steps=90)
                self.assertIn("restored global_step 35\n", resumed.stderr)
                self.assertEqual(support.closing_line(resumed.stdout)[1], 90)
                self.assertEqual(self.checkpoint(90).tensors, self.checkpoint(90, whole_dir).tensors)
                self.assertEqual(self.checkpoint(90).consumed_batches, {0: 90}, "the position in the data goes on")

    def test_any_cluster_can_continue_from_any_other(self):
        step, batches = 0, {}
        for num_ps, num_workers in ((2, 2), (1, 3), (3, 1)):
            with self.subTest(num_ps=num_ps, num_workers=num_workers):
                cluster = self.train_cluster(num_ps, num_workers, steps=step + 60)
                said = f"restored global_step {step}\n" if step else "initialised with seed 0\n"
                self.assertIn(said, cluster.worker(0).stderr)
                for index in range(num_workers):
                    self.assertIn(support.closing_line(cluster.worker(index).stdout)[1],
                                  range(step + 60, step + 60 + num_workers))
                step = small_runs.checkpoint_steps(self.log_dir)[-1]
                saved = self.checkpoint(step)
                self.assertEqual(sum(saved.consumed_batches.values()), step)
                for worker, applied in batches.items():
                    self.assertGreaterEqual(saved.consumed_batches[worker], applied, "no worker's position is lost")
                batches = saved.consumed_batches
        local = self.train(steps=step + 5)
        self.assertIn(f"restored global_step {step}\n", local.stderr)

    def test_a_run_that_has_reached_its_steps_evaluates_and_names_fresh(self):
        first = self.train(steps=30)
        before = small_runs.contents(self.log_dir)
        again = self.train(steps=20)
        self.assertIn("global_step 30 has reached --train_steps=20, so this only evaluates; start a new run with "
                      "--fresh",
                      again.stderr)
        self.assertEqual(support.closing_line(again.stdout), support.closing_line(first.stdout))
        self.assertEqual(small_runs.contents(self.log_dir), before)

    def test_a_cluster_that_has_reached_its_steps_evaluates_and_ends(self):
        self.train(steps=30)
        saved = small_runs.checkpoint_path(self.log_dir, 30).read_bytes()
        cluster = self.train_cluster(1, 2, steps=30)
        for index in (0, 1):
            self.assertEqual(support.closing_line(cluster.worker(index).stdout)[1], 30)
            self.assertIn("--fresh", cluster.worker(index).stderr)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [30])
        self.assertEqual(small_runs.checkpoint_path(self.log_dir, 30).read_bytes(), saved)

    def test_fresh_moves_the_old_run_aside_and_starts_again(self):
        self.train(steps=30)
        old = small_runs.contents(self.log_dir)
        fresh = self.train("--fresh", steps=10)
        self.assertIn("initialised with seed", fresh.stderr)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [10])
        moved = small_runs.contents(self.log_dir / "old-1")
        self.assertEqual(moved, {name: content for name, content in old.items() if name != ".lock"})
        for kept in ("--fresh=false", "--nofresh"):
            self.assertIn("restored global_step 10\n", self.train(kept, steps=10).stderr)


class BrokenTest(small_runs.SmallRunTest):
    def setUp(self):
        super().setUp()
        self.train(steps=20)
        self.train(steps=40)
        self.older, self.newest = (small_runs.checkpoint_path(self.log_dir, step) for step in (20, 40))

    def test_a_broken_newest_file_is_skipped_with_a_warning_that_names_it(self):
        whole = self.newest.read_bytes()
        damages = {"flipped data": lambda: small_runs.flip_byte(self.newest, len(whole) - 5000),
                   "flipped header": lambda: small_runs.flip_byte(self.newest, 300),
                   "flipped last byte": lambda: small_runs.flip_byte(self.newest, len(whole) - 1),
                   "truncated": lambda: self.newest.write_bytes(whole[:-100]),
                   "empty": lambda: self.newest.write_bytes(b""),
                   "of another step": lambda: self.newest.write_bytes(self.older.read_bytes()),
                   "foreign": lambda: self.newest.write_bytes(b"PK\x03\x04 not ours")}
        for what, damage in damages.items():
            with self.subTest(what):
                self.newest.write_bytes(whole)
                damage()
                process = self.train(steps=20)
                self.assertRegex(process.stderr, rf"W local\] skipped a broken checkpoint: {self.newest}: ")
                self.assertIn("restored global_step 20\n", process.stderr)
                self.assertEqual(support.closing_line(process.stdout)[1], 20)

    def test_the_run_continues_after_a_broken_file(self):
        self.newest.write_bytes(b"")
        process = self.train(steps=50)
        self.assertEqual(support.closing_line(process.stdout)[1], 50)
        self.assertEqual(self.checkpoint(50).consumed_batches, {0: 50})
        self.assertEqual(self.newest.read_bytes(), b"", "the broken file is kept")

    def test_if_all_files_are_broken_training_needs_fresh(self):
        for path in (self.older, self.newest):
            path.write_bytes(path.read_bytes()[:1000])
        before = small_runs.contents(self.log_dir)
        self.assert_refused(self.run_program(*self.flags("--seed=5", steps=50)), 3,
                            r"2 checkpoints in \S+/run, but none is valid.*--fresh")
        self.assertEqual(small_runs.contents(self.log_dir), before)
        self.assertEqual(support.closing_line(self.train("--fresh", steps=10).stdout)[1], 10)
        self.assertEqual(len(list((self.log_dir / "old-1").glob("model.ckpt-*"))), 2)

    def test_in_a_cluster_the_chief_refuses_broken_files(self):
        for path in (self.older, self.newest):
            path.write_bytes(b"")
        cluster = self.cluster(1, 2, self.flags("--recovery_wait_secs=4")).start()
        self.assert_refused(cluster.worker(0), 3, r"2 checkpoints in")
        self.assert_refused(cluster.worker(1), 138, r"worker:0 \(the chief\) has not initialised it")
        self.assert_refused(cluster.ps(), 138, r"no sign of worker:0, worker:1")


class UseTest(small_runs.SmallRunTest):
    """evaluate, predict and inspect with a run folder."""

    def trained(self):
        return support.closing_line(self.train("--log_every=1000", steps=60).stdout)

    def test_evaluate_prints_the_accuracy_of_the_closing_line(self):
        self.train(steps=3)  # few steps, so that the accuracy is not 1
        trained = support.closing_line(self.train(steps=6).stdout)
        process = self.run_program("evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}")
        self.assert_exit(process, 0)
        self.assertEqual(support.closing_line(process.stdout), trained)
        table = re.findall(r"^ +\d+" + r" +(\d+)" * 10 + "$", process.stdout, re.MULTILINE)
        rows = [list(map(int, row)) for row in table]
        self.assertEqual(len(rows), 10, process.stdout)
        self.assertEqual([sum(row) for row in rows], [self.TEST // 10] * 10, "the labels are evenly spread")
        self.assertAlmostEqual(sum(rows[i][i] for i in range(10)) / self.TEST, trained[0], places=4)
        self.assertRegex(process.stdout, r"(?m)^Test-Loss: \d+\.\d{4}$")

    def test_evaluate_prints_the_accuracy_of_a_clusters_chief(self):
        cluster = self.train_cluster(2, 2, "--model=mlp", "--learning_rate=0.001", steps=40)
        process = self.run_program("evaluate", f"--log_dir={self.log_dir}", f"--data_dir={self.data}")
        self.assertEqual(support.closing_line(process.stdout), support.closing_line(cluster.worker(0).stdout))

    def predictions(self, *files):
        process = self.run_program("predict", f"--log_dir={self.log_dir}", *files)
        self.assert_exit(process, 0)
        found = re.findall(r"^(.*): (\d) \((\d\.\d{4})\)  \[(.*)\]$", process.stdout, re.MULTILINE)
        self.assertEqual(len(found), len(process.stdout.splitlines()), process.stdout)
        for _, best, probability, listed in found:
            of_class = dict(item.split(": ") for item in listed.split(", "))
            self.assertEqual(list(of_class), [str(c) for c in range(10)])
            self.assertAlmostEqual(sum(map(float, of_class.values())), 1.0, delta=0.001)
            self.assertEqual(of_class[best], probability)
            self.assertEqual(float(probability), max(map(float, of_class.values())))
        return [(name, int(best)) for name, best, _, _ in found]

    def test_predict_reads_raw_pngs_and_idx_files(self):
        self.trained()
        rng = random.Random(3)
        side = digits.SIDE
        two, seven, nine = (digits.block_digit(label, rng) for label in (2, 7, 9))
        grey = pictures.write(self.folder / "two.png", pictures.png(side, side, two))
        colours = pictures.write(self.folder / "seven.png", pictures.png(
            side, side, [value for value in seven for _ in range(3)], pictures.RGB))
        self.assertEqual(self.predictions("--raw", grey, colours), [(str(grey), 2), (str(colours), 7)])
        idx = self.folder / "some.idx"
        idx.write_bytes(digits.idx_images([nine, two]))
        self.assertEqual(self.predictions(idx), [(f"{idx}[0]", 9), (f"{idx}[1]", 2)])

    def test_inspect_lists_tensors_and_metadata(self):
        self.trained()
        path = small_runs.checkpoint_path(self.log_dir, 60)
        process = self.run_program("inspect", path)
        self.assert_exit(process, 0)
        for line in (r"checksums: correct", r"global_step: 60", r"model: softmax", r"tensors: 6",
                     r" *pred/weights +F32 \[10, 784\] .*", r" *optimizer/v/pred/biases +F32 \[10\] .*"):
            self.assertRegex(process.stdout, rf"(?m)^{line}$")

    def test_inspect_shows_the_readable_parts_of_a_damaged_file(self):
        self.trained()
        path = small_runs.checkpoint_path(self.log_dir, 60)
        small_runs.flip_byte(path, path.stat().st_size - 5000)
        process = self.run_program("inspect", path)
        self.assert_fails(process, 3, rf"error: {path}: ")
        self.assertIn("pred/weights", process.stdout)


if __name__ == "__main__":
    support.main()
