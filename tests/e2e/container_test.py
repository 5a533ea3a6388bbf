"""Several runs on one set of ps tasks: --container and --ps_stay, reset, shared variables."""

import re
import signal
import sys

import small_runs
import support


class ContainerTest(small_runs.SmallRunTest):
    """Cases with ps tasks that have --ps_stay and know no workers."""

    def start_ps(self, count=2, stay=True):
        self.ps_hosts = "--ps_hosts=" + ",".join(f"localhost:{port}" for port in support.free_ports(count))
        own = ["--ps_stay"] if stay else [f"--worker_hosts=localhost:{support.free_ports(1)[0]}"]
        tasks = [self.start([self.program(), self.ps_hosts, *own, "--job_name=ps", f"--task_index={index}"],
                            name=f"ps{index}") for index in range(count)]
        for task in tasks:
            task.wait_for("listening on")
        return tasks

    def start_run(self, container, *extra, num_workers=1, steps=100):
        """The workers of a run, with checkpoints in a folder that has the container's name."""
        hosts = ",".join(f"localhost:{port}" for port in support.free_ports(num_workers))
        flags = self.flags(f"--log_dir={self.folder / container}", f"--container={container}", *extra, steps=steps)
        return [self.start([self.program(), self.ps_hosts, f"--worker_hosts={hosts}", "--job_name=worker",
                            f"--task_index={index}", *flags], name=f"{container}_worker{index}_{len(self.processes)}")
                for index in range(num_workers)]

    def ask(self, *arguments, code=0):
        """The lines that a client prints."""
        client = self.run_program(*arguments, self.ps_hosts)
        self.assert_exit(client, code)
        return client.stdout.splitlines()

    def wait_for_progress(self, worker):
        """Waits until it has trained further than now."""
        seen = len(support.progress_lines(worker.stdout))

        def look():
            self.assertIsNone(worker.popen.poll(), worker.tail())
            return len(support.progress_lines(worker.stdout)) > seen

        support.wait_until(look, f"progress of {worker.name}", support.LONG_DEADLINE_S)

    def stop(self, *tasks):
        for task in tasks:
            task.send(signal.SIGTERM)
        for task in tasks:
            self.assert_exit(task, 143)

    def test_two_runs_at_the_same_time_give_the_same_results_as_alone(self):
        settings = {"a": ("--seed=1", 3000), "b": ("--seed=2", 300)}
        alone = {}
        for container, (seed, steps) in settings.items():
            self.train_cluster(2, 1, f"--log_dir={self.folder / 'alone' / container}", seed, steps=steps)
            alone[container] = self.checkpoint(steps, self.folder / "alone" / container).tensors

        ps = self.start_ps()
        (a,) = self.start_run("a", "--seed=1", steps=3000)
        self.wait_for_progress(a)
        a.send(signal.SIGSTOP)  # paused in the middle of its run, while the other run does all of its steps
        self.assertNotIn("Test-Accuracy", a.stdout)
        (b,) = self.start_run("b", "--seed=2", steps=300)
        self.assert_exit(b, 0, support.LONG_DEADLINE_S)
        a.send(signal.SIGCONT)
        self.assert_exit(a, 0, support.LONG_DEADLINE_S)

        for container, worker, steps in (("a", a, 3000), ("b", b, 300)):
            self.assertEqual(support.closing_line(worker.stdout)[1], steps)
            self.assertEqual(self.checkpoint(steps, self.folder / container).tensors, alone[container])
        self.assertNotEqual(alone["a"], alone["b"])
        self.stop(*ps)

    def test_runs_of_different_size_reach_their_own_steps(self):
        ps = self.start_ps()
        workers = self.start_run("large", num_workers=2, steps=200) + self.start_run("small", steps=100)
        for worker in workers:
            self.assert_exit(worker, 0, support.LONG_DEADLINE_S)
        ends = [support.closing_line(worker.stdout)[1] for worker in workers]
        self.assertIn(ends[0], (200, 201))
        self.assertEqual(ends[2], 100)
        for task in ps:
            task.wait_for("container 'large': all workers are done; the variables stay")
            task.wait_for("container 'small': all workers are done; the variables stay")
        lines = self.ask("variable", "list", "--container=small")
        self.assertRegex("\n".join(lines), r"(?m)^\S*weights: \d+ floats on ps:0, \d+ on ps:1$")
        self.stop(*ps)

    def test_a_reset_ends_one_run_with_a_message_and_the_other_continues(self):
        ps = self.start_ps()
        (a,) = self.start_run("a", "--log_every=10", steps=small_runs.ENDLESS)
        (b,) = self.start_run("b", "--log_every=10", steps=small_runs.ENDLESS)
        self.wait_for_progress(a)
        self.wait_for_progress(b)
        lines = self.ask("reset", "--container=a,c")
        self.assertEqual(len(lines), 2, lines)
        for index, line in enumerate(lines):
            # The worker may have left one ps before the reset reached that ps.
            self.assertRegex(line, rf"^ps:{index} localhost:\d+: dropped a \([01] sessions? ended\), c does not exist$")
        self.assert_fails(a, 5, r"error: refused by ps:\d localhost:\d+: container 'a' was reset; start this "
                                r"task again for a new run; exit 5\n$")
        self.wait_for_progress(b)

        (again,) = self.start_run("a", "--log_every=10", "--fresh", steps=small_runs.ENDLESS)
        self.wait_for_progress(again)
        self.assertIn("initialised with seed", again.stderr)
        self.wait_for_progress(b)
        self.stop(b, again, *ps)

    def test_a_reset_reports_an_unreachable_ps_and_resets_the_others(self):
        ps = self.start_ps()
        self.assertEqual(self.ask("variable", "init", "x", "--container=a"), ["0.0"])
        ps[1].kill()
        refused = self.run_program("reset", self.ps_hosts)
        self.assert_fails(refused, 2, r"name the containers with --container a,b .*, or give --all")
        self.assert_fails(self.run_program("reset", "--all", "--container=a", self.ps_hosts), 2, "give one of them")
        for names in "a,", ",", "a,,b":
            self.assert_fails(self.run_program("reset", f"--container={names}", self.ps_hosts), 2, "entry . is empty")
        lines = self.ask("reset", "--all", "--recovery_wait_secs=1", code=138)
        self.assertRegex(lines[0], r"^ps:0 localhost:\d+: dropped a \(0 sessions ended\)$")
        self.assertRegex(lines[1], r"^ps:1 localhost:\d+: not reset: cannot be reached \(connection refused\); gave up after 1 s$")
        self.stop(ps[0])

    def test_clients_share_a_variable(self):
        ps = self.start_ps()
        for printed in ("1.0", "2.0"):
            self.ask("variable", "init", "x")
            self.assertEqual(self.ask("variable", "add", "x"), [printed])
        self.assertEqual(self.ask("variable", "add", "x", "--value=0.5"), ["2.5"])
        self.assertEqual(self.ask("variable", "init", "x", "--container=c", "--value=1e20"), ["1e+20"])
        self.assertEqual(self.ask("variable", "get", "x"), ["2.5"])
        self.assertEqual(self.ask("variable", "list"), ["x = 2.5"])
        missing = self.run_program("variable", "get", "y", self.ps_hosts)
        self.assert_refused(missing, 2, "no shared variable 'y'", "use one of: x")
        self.stop(*ps)

    def test_a_ps_that_ends_with_its_run_has_no_shared_variables(self):
        ps = self.start_ps(1, stay=False)
        self.assert_refused(self.run_program("variable", "init", "x", self.ps_hosts), 2, "start it with --ps_stay")
        self.stop(*ps)

    def test_the_launcher_leaves_the_ps_running_until_it_is_stopped(self):
        launch = self.start([sys.executable, support.LAUNCHER, "--binary", self.program(), "--num_workers=1",
                             "--ps_wait_s=0", "--", "--ps_stay", "--container=a", *self.flags(steps=20)], name="launch")
        launch.wait_for(r"the workers are done; still running until Ctrl-C: ps:0")
        self.ps_hosts = "--ps_hosts=" + re.search(r"ps:0 on (\S+?),", launch.stderr).group(1)
        self.assertIn("weights", " ".join(self.ask("variable", "list", "--container=a")))
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)


if __name__ == "__main__":
    support.main()
