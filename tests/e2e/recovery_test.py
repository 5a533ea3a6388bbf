"""Tasks that die and return, and a full disk: training continues."""

import contextlib
import os
import pathlib
import shutil
import signal

import small_runs
import support


class LostTaskTest(small_runs.SmallRunTest):
    """Tasks that die and return while the others train."""

    def start_endless(self, num_workers=2, *extra):
        cluster = self.cluster(1, num_workers, self.flags("--log_every=10", *extra, steps=small_runs.ENDLESS)).start()
        for index in range(num_workers):
            self.wait_for_progress(cluster.worker(index))
        return cluster

    def wait_for_progress(self, worker, lines=1):
        """Waits for that many more lines and returns the step of the last one."""
        seen = len(support.progress_lines(worker.stdout))

        def look():
            self.assertIsNone(worker.popen.poll(), worker.tail())
            return len(support.progress_lines(worker.stdout)) >= seen + lines

        support.wait_until(look, f"progress of {worker.name}", support.LONG_DEADLINE_S)
        return support.progress_lines(worker.stdout)[-1][1]

    def stop(self, cluster):
        for task in cluster.tasks.values():
            task.send(signal.SIGTERM)
        self.assertEqual(set(cluster.wait_all().values()), {143})

    def test_a_killed_chief_can_restart_and_take_over(self):
        cluster = self.start_endless()
        cluster.worker(0).kill()
        step = self.wait_for_progress(cluster.worker(1))
        chief = cluster.start_task("worker", 0)
        ready_at = int(chief.wait_for(r"the model is ready at global_step (\d+)").group(1))
        self.assertGreaterEqual(ready_at, step, "the ps kept the model")
        self.wait_for_progress(chief)
        self.wait_for_progress(cluster.worker(1))
        self.assertIn("worker:0: the old process does not answer; the new one, from this host, takes over",
                      cluster.ps().stderr)
        self.stop(cluster)
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1)

    def test_a_killed_worker_can_restart_while_the_others_train(self):
        cluster = self.start_endless()
        cluster.worker(1).kill()
        self.wait_for_progress(cluster.worker(0))
        worker = cluster.start_task("worker", 1)
        self.wait_for_progress(worker)
        self.stop(cluster)
        (step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(sum(self.checkpoint(step).consumed_batches.values()), step, "no batch was applied twice")

    def test_workers_continue_from_the_checkpoint_with_a_restarted_ps(self):
        cluster = self.start_endless(2, "--save_model_secs=1")
        saved = int(cluster.worker(0).wait_for(r"saved \S+-(\d+)\.safetensors").group(1))
        cluster.ps().kill()
        for index in (0, 1):
            cluster.worker(index).wait_for(r"ps:0 localhost:\d+ .*; trying for another")
        cluster.start_task("ps", 0)
        restored = int(cluster.worker(0).wait_for(r"restored global_step (\d+)").group(1))
        self.assertGreaterEqual(restored, saved)
        for index in (0, 1):
            cluster.worker(index).wait_for(r"training continues at global_step \d+")
            self.wait_for_progress(cluster.worker(index))
        self.stop(cluster)

    def test_the_run_survives_a_ps_lost_while_the_chief_waits_for_the_others(self):
        cluster = self.cluster(1, 2, self.flags("--log_every=10", "--save_model_secs=1", steps=8000)).start()
        self.wait_for_progress(cluster.worker(1))
        cluster.worker(1).send(signal.SIGSTOP)
        cluster.worker(0).wait_for(r"^Worker : 0, Step: 8000,", support.LONG_DEADLINE_S)
        cluster.ps().kill()
        cluster.start_task("ps", 0)
        cluster.worker(0).wait_for(r"reopening the session")
        cluster.worker(1).send(signal.SIGCONT)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        for index in (0, 1):
            self.assertIn(support.closing_line(cluster.worker(index).stdout)[1], (8000, 8001))

    def test_a_second_process_for_a_live_task_is_refused(self):
        cluster = self.start_endless()
        second = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1",
                             *self.flags(steps=small_runs.ENDLESS, log_dir=False)])
        self.assert_refused(second, 6, r"worker:1 is already running; stop it, or give this process "
                                       r"a different --task_index")
        self.wait_for_progress(cluster.worker(1))
        self.stop(cluster)

    def test_a_second_chief_is_refused(self):
        cluster = self.start_endless()
        second = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=0",
                             *self.flags(f"--log_dir={self.folder / 'other'}", steps=small_runs.ENDLESS)])
        self.assert_refused(second, 6, r"worker:0 is already running; stop it")
        self.assertEqual(small_runs.checkpoint_steps(self.folder / "other"), [])
        self.stop(cluster)

    def test_a_late_worker_ends_the_run_with_the_others(self):
        cluster = self.cluster(1, 2, self.flags(steps=50))
        cluster.start_task("ps", 0)
        first = cluster.start_task("worker", 0)
        first.wait_for(r"initialised with seed")
        late = cluster.start_task("worker", 1)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        support.closing_line(first.stdout)
        self.assertIn(support.closing_line(late.stdout)[1], (50, 51))


class FullDiskTest(small_runs.SmallRunTest):
    """The run folder is on a file system of 400 kB: four checkpoints of the small model fit, until a filler file takes
    the space. It is mounted in a separate mount namespace, which ends with the process that holds it."""

    def setUp(self):
        super().setUp()
        self.program()
        disk = self.folder / "disk"
        disk.mkdir()
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            self.skipTest("unshare and nsenter are not installed")
        as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = 'mount -t tmpfs -o size=400k tmpfs "$1" && echo mounted && exec sleep 600'
        self.holder = self.start(["unshare", *as_root, "--mount", "sh", "-c", script, "sh", disk], name="holder")
        support.wait_until(lambda: self.holder.stdout or self.holder.popen.poll() is not None, "a small file system")
        if not self.holder.stdout:
            self.skipTest("no small file system can be mounted here: " + self.holder.stderr.strip())
        same_user = ["--user", "--preserve-credentials"] if as_root else []
        self.enter = ["nsenter", f"--target={self.holder.pid}", "--mount", *same_user]
        self.log_dir = disk / "run"
        # The same folder, with its path outside the namespace.
        self.seen = pathlib.Path(f"/proc/{self.holder.pid}/root") / disk.relative_to("/")

    def start_run(self, *extra, steps):
        return self.start([*self.enter, self.program(), *self.flags(*extra, steps=steps)])

    def fill(self, leave_bytes=0):
        with open(self.seen / "filler", "wb", buffering=0) as filler:
            with contextlib.suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            filler.truncate(filler.tell() - leave_bytes)

    def wait_for_save_after(self, process, text, count=1):
        support.wait_until(lambda: process.stderr.count(text) >= count, f"'{text}' from {process.name}")

    def test_training_continues_and_saves_again_when_there_is_space(self):
        # Few rows of metrics.csv, so that only the filler fills the disk.
        process = self.start_run("--save_model_secs=1", "--log_every=1000000", steps=small_runs.ENDLESS)
        process.wait_for(r"saved \S+/model\.ckpt-\d+")
        self.fill()
        process.wait_for(r"E local\] the checkpoint of step \d+ was not saved, but training continues and "
                         r"older checkpoints are kept: .*No space left on device")
        kept = small_runs.checkpoint_steps(self.seen / "run")
        self.assertTrue(kept)
        small_runs.read_checkpoint(small_runs.checkpoint_path(self.seen / "run", kept[-1]))
        (self.seen / "filler").unlink()
        saves = process.stderr.count("saved /")
        self.wait_for_save_after(process, "saved /", saves + 1)
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)
        leftovers = [path.name for path in (self.seen / "run").iterdir() if "tmp" in path.name or "temp" in path.name]
        self.assertEqual(leftovers, [])

    def test_a_last_checkpoint_that_cannot_be_written_ends_with_7_after_the_closing_line(self):
        self.assert_exit(self.start_run(steps=50), 0)
        self.fill(leave_bytes=40_000)  # enough for the small files, but not for a checkpoint
        process = self.start_run(steps=100)
        self.assert_exit(process, 7)
        self.assertEqual(support.closing_line(process.stdout)[1], 100)
        self.assertRegex(process.stderr, r"No space left on device.*; exit 7\n$")
        self.assertEqual(small_runs.checkpoint_steps(self.seen / "run"), [50])
        self.assertEqual(self.checkpoint(50, self.seen / "run").global_step, 50)
        (self.seen / "filler").unlink()
        again = self.start_run(steps=100)
        self.assert_exit(again, 0)
        self.assertIn("restored global_step 50\n", again.stderr)

    def test_sigterm_on_a_full_disk_does_not_log_a_saved_checkpoint(self):
        process = self.start_run("--log_every=10", steps=small_runs.ENDLESS)
        process.wait_for(r"^Worker : 0, Step: 10,")
        self.fill()
        process.send(signal.SIGTERM)
        self.assert_exit(process, 7)
        self.assertEqual(small_runs.checkpoint_steps(self.seen / "run"), [])


if __name__ == "__main__":
    support.main()
