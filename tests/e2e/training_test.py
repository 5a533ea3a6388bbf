"""Whole training runs with real processes: clusters of every shape, local runs, and their output."""

import json
import os
import pathlib
import re
import signal
import socket

import small_runs
import support


class ClusterTest(small_runs.SmallRunTest):
    def test_one_ps_and_three_workers_print_the_documented_lines(self):
        steps, every = 400, 50
        cluster = self.train_cluster(1, 3, f"--log_every={every}", steps=steps)
        observed = []
        for index in range(3):
            stdout = cluster.worker(index).stdout
            accuracy, global_step = support.closing_line(stdout)
            self.assertGreaterEqual(accuracy, 0.95, "the data set is easy")
            self.assertIn(global_step, range(steps, steps + 3))
            lines = stdout.splitlines()
            self.assertRegex(lines[-2], support.TEST_ACCURACY_LINE)
            for line in lines[:-2]:
                self.assertRegex(line, support.PROGRESS_LINE)
            progress = support.progress_lines(stdout)
            self.assertLessEqual({worker for worker, _, _ in progress}, {index})
            observed += [step for _, step, _ in progress]
        self.assertEqual(sorted(observed), list(range(every, steps + 1, every)), "each step is made by one worker")
        self.assertEqual(cluster.ps().stdout, "")
        self.assertIn("all workers are done; exit 0", cluster.ps().stderr)

    def test_the_chiefs_closing_line_comes_last(self):
        for _ in range(3):
            cluster = self.train_cluster(1, 3, steps=60, log_dir=False)
            closing = [cluster.worker(i).out_path.stat().st_mtime_ns for i in range(3)]
            self.assertEqual(max(closing), closing[0])

    def test_loss_falls_and_every_worker_has_its_metrics(self):
        cluster = self.cluster(1, 2, self.flags("--log_every=1", steps=1500))
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 1).wait_for("has no model yet")  # the chief might finish first
        cluster.start_task("worker", 0)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        rows = small_runs.metrics(self.log_dir) + small_runs.metrics(self.log_dir / "worker_1")
        self.assertEqual({row["worker"] for row in rows}, {"0", "1"})
        losses = [float(row["loss"]) for row in sorted(rows, key=lambda row: int(row["global_step"]))]
        self.assertLess(sum(losses[-20:]) / 20, 0.2 * sum(losses[:20]) / 20)

    def test_two_ps_and_three_workers_share_the_variables(self):
        cluster = self.train_cluster(2, 3, "--model=mlp", "--learning_rate=0.001", steps=150)
        self.assertGreaterEqual(support.closing_line(cluster.worker(2).stdout)[0], 0.9)
        shares = re.findall(r"placement: ps:(\d) .*\((\d+\.\d) %\)", cluster.worker(0).stderr)
        self.assertEqual([ps for ps, _ in shares], ["0", "1"])
        for _, share in shares:
            self.assertAlmostEqual(float(share), 50.0, delta=1.0)
        self.assertNotIn("placement:", cluster.worker(1).stderr, "only the chief logs it")

    def test_any_placement_on_any_number_of_ps_gives_the_same_bits(self):
        steps = 12
        self.train("--model=mlp", steps=steps)
        expected = self.checkpoint(steps).tensors
        for num_ps in (1, 2, 3):
            for placement in ("split", "round_robin", "load_balanced"):
                with self.subTest(placement=placement, num_ps=num_ps):
                    log_dir = self.folder / f"{placement}_{num_ps}"
                    cluster = self.train_cluster(num_ps, 1, "--model=mlp", f"--placement={placement}",
                                                 f"--log_dir={log_dir}", steps=steps)
                    self.assertEqual(self.checkpoint(steps, log_dir).tensors, expected)
                    plan = re.findall(r"placement: ps:\d .*", cluster.worker(0).stderr)
                    self.assertEqual(len(plan), num_ps)
                    self.assertIn("global_step", plan[0])

    def test_round_robin_counts_global_step_first_and_leaves_a_ps_empty_if_there_are_few_variables(self):
        self.train(steps=12)
        log_dir = self.folder / "cluster"
        cluster = self.train_cluster(4, 2, "--placement=round_robin", f"--log_dir={log_dir}", steps=40)
        plan = re.findall(r"placement: (ps:\d) .*: (.*)", cluster.worker(0).stderr)
        self.assertEqual([line[0] for line in plan], ["ps:0", "ps:1", "ps:2", "ps:3"])
        self.assertEqual([line[1] for line in plan[:3]], ["global_step", "pred/weights", "pred/biases"])
        self.assertGreater(support.closing_line(cluster.worker(0).stdout)[0], 0.5)

    def test_manual_placement_puts_variables_where_the_rules_say(self):
        self.train("--model=mlp", steps=12)
        log_dir = self.folder / "cluster"
        cluster = self.train_cluster(2, 1, "--model=mlp", "--placement=manual", f"--log_dir={log_dir}",
                                     "--place_variables=*/biases=/job:ps/task:0,*=/job:ps/task:1", steps=12)
        self.assertEqual(self.checkpoint(12, log_dir).tensors, self.checkpoint(12).tensors)
        plan = re.findall(r"placement: (ps:\d) .*: (.*)", cluster.worker(0).stderr)
        self.assertEqual(plan, [("ps:0", "global_step, fully_connected/biases, pred/biases"),
                                ("ps:1", "fully_connected/weights, pred/weights")])

    def test_manual_placement_is_refused_if_a_rule_matches_nothing(self):
        for rules, says in (("conv9/*=/job:ps/task:0", r"'conv9/\*' matches no variable of the model, which has "
                                                       "pred/weights"),
                            ("*=/job:ps/task:2", r"'\*' is assigned to ps task 2, but the cluster has only "
                                                  "tasks 0 to 1")):
            with self.subTest(rules):
                cluster = self.cluster(2, 1, self.flags("--placement=manual", f"--place_variables={rules}"))
                self.assert_refused(cluster.start_task("worker", 0), 2, says)
                self.assertFalse(self.log_dir.exists())

    def test_a_ps_listens_twice_and_workers_on_its_host_use_the_unix_socket(self):
        cluster = self.cluster(1, 2, self.flags(steps=20, log_dir=False))
        port = cluster.ps_ports[0]
        cluster.start_task("ps", 0).wait_for("listening on")
        for index in (0, 1):
            cluster.start_task("worker", index)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        self.assertIn(f"listening on tcp://127.0.0.1:{port} and ipc://@distmnist-127.0.0.1-{port}", cluster.ps().stderr)
        for index in (0, 1):
            self.assertIn(f"connected to ipc://@distmnist-127.0.0.1-{port}", cluster.worker(index).stderr)

    def test_without_the_unix_socket_tcp_gives_the_same_bits(self):
        self.train(steps=20)
        tcp_dir = self.folder / "tcp"
        cluster = self.cluster(1, 1, self.flags(f"--log_dir={tcp_dir}", steps=20))
        port = cluster.ps_ports[0]
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(f"\0distmnist-127.0.0.1-{port}")  # the name is in use, but no process listens
            cluster.start()
            cluster.assert_all_done(support.LONG_DEADLINE_S)
        self.assertRegex(cluster.ps().stderr, r"cannot listen on ipc://\S+: another process already uses this name")
        self.assertNotRegex(cluster.ps().stderr, r"listening on .*ipc://")
        self.assertIn(f"connected to tcp://127.0.0.1:{port}", cluster.worker(0).stderr)
        self.assertEqual(self.checkpoint(20, tcp_dir).tensors, self.checkpoint(20).tensors)


class DescriptionTest(small_runs.SmallRunTest):
    def test_without_a_description_the_built_in_cluster_is_used_and_logged(self):
        worker = self.start([self.program(), "--job_name=worker", "--task_index=2", *self.flags(log_dir=False)])
        worker.wait_for(r"cluster from the built-in list: 1 ps, 3 workers; this is worker:2")

    def test_the_jobs_in_a_cluster_file_can_have_any_names(self):
        ports = support.free_ports(4)
        description = self.folder / "cluster.json"
        description.write_text(json.dumps({
            "parameter_server": [f"localhost:{ports[0]}"],
            "trainer": [f"localhost:{port}" for port in ports[1:3]],
            "evaluator": [f"elsewhere.invalid:{ports[3]}"]}))
        common = [f"--cluster={description}", "--ps_job=parameter_server", "--worker_job=trainer",
                  *self.flags(steps=60, log_dir=False)]
        tasks = [self.start([self.program(), f"--job_name={job}", f"--task_index={index}", *common])
                 for job, index in (("parameter_server", 0), ("trainer", 0), ("worker", 1))]
        for task in tasks:
            self.assert_exit(task, 0, support.LONG_DEADLINE_S)
        self.assertIn(f"cluster from {description}: 1 ps, 2 workers; this is ps:0", tasks[0].stderr)
        for task in tasks[1:]:
            self.assertIn(support.closing_line(task.stdout)[1], (60, 61))


class LocalTest(small_runs.SmallRunTest):
    def test_a_local_run_has_no_sockets(self):
        process = self.start([self.program(), *self.flags("--log_every=10", steps=small_runs.ENDLESS, log_dir=False)])
        process.wait_for(r"^Worker : 0, Step: 10,")
        links = [os.readlink(entry) for entry in open_descriptors(process.pid)]
        self.assertFalse([link for link in links if link.startswith("socket:")], links)
        process.send(signal.SIGTERM)
        self.assert_exit(process, 143)

    def test_a_local_run_prints_only_the_documented_lines(self):
        process = self.train("--log_every=25", steps=100, log_dir=False)
        accuracy, step = support.closing_line(process.stdout)
        self.assertEqual(step, 100)
        self.assertGreaterEqual(accuracy, 0.95)
        self.assertEqual([line[:2] for line in support.progress_lines(process.stdout)],
                         [(0, 25), (0, 50), (0, 75), (0, 100)])
        self.assertEqual(len(process.stdout.splitlines()), 6)

    def test_a_local_run_and_a_cluster_of_one_worker_give_the_same_bits(self):
        cluster_dir = self.folder / "cluster"
        for flags in (*([f"--optimizer={optimizer}"] for optimizer in self.optimizers()),
                      ["--optimizer=momentum", "--nesterov", "--learning_rate_schedule=cosine",
                       "--learning_rate_warmup_steps=5"]):
            with self.subTest(flags=flags):
                self.train(*flags, "--fresh", "--seed=7", steps=30)
                self.train_cluster(1, 1, *flags, "--fresh", "--seed=7", f"--log_dir={cluster_dir}", steps=30)
                local, cluster = self.checkpoint(30), self.checkpoint(30, cluster_dir)
                self.assertEqual(cluster.tensors, local.tensors)
                self.assertEqual(cluster.consumed_batches, local.consumed_batches)

    def test_a_different_seed_gives_different_bits(self):
        self.train("--seed=1", steps=5)
        other_dir = self.folder / "other"
        self.train("--seed=2", f"--log_dir={other_dir}", steps=5)
        self.assertNotEqual(self.checkpoint(5).tensors, self.checkpoint(5, other_dir).tensors)


class RealDataTest(support.EndToEndTest):
    def test_the_tutorials_network_learns_mnist(self):
        data = self.mnist()
        launch = self.start([support.LAUNCHER, "--binary", self.program(), "--num_ps", 1, "--num_workers", 3, "--",
                             f"--data_dir={data}", "--batch_size=50", "--learning_rate=0.001", "--train_steps=200",
                             "--log_every=50"], name="launch")
        self.assert_exit(launch, 0, support.LONG_DEADLINE_S)
        closing = [support.CLOSING_LINE.match(line) for line in launch.stdout.splitlines()]
        accuracies = [float(match.group(1)) for match in closing if match]
        self.assertEqual(len(accuracies), 3, launch.tail())
        self.assertGreaterEqual(min(accuracies), 0.90, launch.tail())


def open_descriptors(pid):
    return list(pathlib.Path(f"/proc/{pid}/fd").iterdir())


if __name__ == "__main__":
    support.main()
