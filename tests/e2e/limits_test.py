"""Limits of the environment: reaching one gives one sentence that names it and how to raise it, exit 7, and no partial
file. Also the default number of threads, which follows the cores that the process may use."""

import contextlib
import os
import pathlib
import resource
import re

import small_runs
import support

NOBODY = 64_987  # a user without processes
THREADS = re.compile(r"backend cpu \(\w+\), precision f32, (\d+ threads?),")


class LimitTest(small_runs.SmallRunTest):
    def run_limited(self, limits, *arguments, user=None, name=None):
        """Runs the program with these (resource, value) limits, as a different user if one is given."""

        def limit():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            for which, value in limits:
                resource.setrlimit(which, (value, value))

        command = [self.program(), *arguments]
        process = self.start(["env", f"XDG_CACHE_HOME={self.folder}/cache", *command], name=name, preexec_fn=limit)
        process.wait()
        return process

    def assert_answered(self, process, says, done=0):
        """Checks that it ends as without the limit, or with 7 and one sentence that matches. An earlier line about a
        checkpoint that was not written is allowed if training continued."""
        if process.wait() != done:
            self.assert_exit(process, 7)
            errors = [line for line in small_runs.ERROR_LINE.findall(process.stderr)
                      if "training continues" not in line]
            self.assertEqual(len(errors), 1, process.tail())
            self.assertRegex(errors[0], says)
        left = [path for path in self.folder.rglob(".distmnist-tmp-*")]
        self.assertEqual(left, [], process.tail())
        return process.popen.returncode

    def modes(self):
        ps = ["--ps_hosts=localhost:1", "--worker_hosts=localhost:2"]
        return {"local": (self.flags(steps=5), 0),
                "cluster": (self.flags("--num_workers=2", "--num_ps=2", steps=5), 0),
                "evaluate": (["evaluate", f"--log_dir={self.folder}/model", f"--data_dir={self.data}"], 0),
                "worker": (["--job_name=worker", *ps, *self.flags(log_dir=False), "--recovery_wait_secs=0.1"], 138),
                "question": (["variable", "list", ps[0], "--recovery_wait_secs=0.1"], 138)}

    def sweep(self, which, values, says, **options):
        """Runs every mode at every value. Each mode has to be refused at some value and has to run at the last one."""
        self.train(f"--log_dir={self.folder}/model", steps=5)
        for path in (self.folder, self.folder / "model", *(self.folder / "model").iterdir()):
            path.chmod(0o777)
        for path in pathlib.Path(self.data), pathlib.Path(self.data).parent:
            path.chmod(0o755)
        for mode, (arguments, done) in self.modes().items():
            codes = []
            for value in values:
                with self.subTest(mode=mode, value=value):
                    process = self.run_limited([(which, value)], *arguments, name=f"{mode}_{value}", **options)
                    codes.append(self.assert_answered(process, says, done))
            self.assertEqual((codes[0], codes[-1]), (7, done) if mode not in self.FRUGAL else (codes[0], done), mode)

    FRUGAL = ()

    def test_descriptors(self):
        self.FRUGAL = ("evaluate",)  # one file at a time
        self.sweep(resource.RLIMIT_NOFILE, (4, 6, 9, 14, 19, 40), r"Too many open files \(see ulimit -n\)")

    def test_threads_of_the_user(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become a user that has no other processes")
        self.sweep(resource.RLIMIT_NPROC, (1, 3, 5, 8, 12, 64), r"cannot start another thread: ulimit -u .* is \d+",
                   user=NOBODY)

    def test_address_space(self):
        mib = 1 << 20
        self.FRUGAL = ("question",)
        self.sweep(resource.RLIMIT_AS, (90 * mib, 130 * mib, 200 * mib, 450 * mib, 2000 * mib),
                   r"ulimit -v \(address space\) is \d+ KiB|see ulimit -v")

    def test_the_size_of_files(self):
        process = self.run_limited([(resource.RLIMIT_FSIZE, 20_000)], *self.flags(steps=5))
        self.assert_refused_file(process)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [])

    def assert_refused_file(self, process):
        self.assertEqual(self.assert_answered(process, r"model\.ckpt-5\S*: File too large \(see ulimit -f\)"), 7)
        self.assertIn("Test-Accuracy", process.stdout)  # training continued to its end

    def in_cgroup(self, controller, settings):
        """Creates a new cgroup of version 1 or 2 with these files; skips the test if that is impossible."""
        for top in (pathlib.Path("/sys/fs/cgroup") / controller, pathlib.Path("/sys/fs/cgroup")):
            group = top / f"distmnist-test-{os.getpid()}"
            with contextlib.suppress(OSError):
                group.mkdir()
                self.addCleanup(self.remove_cgroup, group)
                names = [name for name in settings if (group / name).exists()]
                for name in names:
                    (group / name).write_text(settings[name])
                if names:
                    return lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        self.skipTest(f"no cgroup with the controller {controller} can be created here (this needs root)")
        return None

    @staticmethod
    def remove_cgroup(group):
        def removed():
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        support.wait_until(removed, f"the end of {group}")

    def test_the_pids_limit_of_a_container(self):
        enter = self.in_cgroup("pids", {"pids.max": "4"})
        process = self.start([self.program(), *self.flags("--num_workers=2", steps=5)], preexec_fn=enter)
        self.assertEqual(self.assert_answered(process, r"the pids limit of the container or cgroup .* is 4"), 7)

    def threads(self, *arguments, env=None, **options):
        flags = self.flags("--intra_op_parallelism_threads=0", *arguments, steps=2, log_dir=False)
        process = self.start([self.program(), *flags], env=env, **options)
        self.assert_exit(process, 0)
        return THREADS.search(process.stderr).group(1)

    def test_the_default_number_of_threads_is_the_number_of_usable_cores(self):
        cores = len(os.sched_getaffinity(0))
        clean = {"OMP_NUM_THREADS": ""}
        several = f"{cores} thread" + ("" if cores == 1 else "s")
        self.assertEqual(self.threads(env=clean), several)
        first = min(os.sched_getaffinity(0))
        self.assertEqual(self.threads(env=clean, preexec_fn=lambda: os.sched_setaffinity(0, [first])), "1 thread")
        self.assertEqual(self.threads(env={"OMP_NUM_THREADS": "3"}), "3 threads")
        self.assertEqual(self.threads(env={"OMP_NUM_THREADS": "3,2"}), "3 threads")
        for nonsense in ("0", "-1", "many"):
            self.assertEqual(self.threads(env={"OMP_NUM_THREADS": nonsense}), several)
        self.assertEqual(self.threads("--intra_op_parallelism_threads=2", env={"OMP_NUM_THREADS": "3"}), "2 threads")

    def test_the_default_number_of_threads_fits_a_quota(self):
        enter = self.in_cgroup("cpu", {"cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000"})
        self.assertEqual(self.threads(env={"OMP_NUM_THREADS": ""}, preexec_fn=enter), "1 thread")

    def test_two_clusters_do_not_share_pinned_cores_while_others_are_idle(self):
        cores = len(os.sched_getaffinity(0))
        if cores < 2:
            self.skipTest("this needs two cores")
        filling = self.cluster(1, cores, self.flags("--intra_op_parallelism_threads=1", steps=cores, log_dir=False))
        filling.start().assert_all_done()
        self.assertRegex(filling.worker(0).stderr, r"on core \d+ \(--pin=none")
        alone = self.cluster(1, 1, self.flags("--intra_op_parallelism_threads=1", steps=2, log_dir=False))
        alone.start().assert_all_done()
        self.assertNotIn("on core", alone.worker(0).stderr)


if __name__ == "__main__":
    support.main()
