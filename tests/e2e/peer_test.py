"""Tasks that cannot find each other or do not match: each reports the reason in one sentence and ends."""

import socket

import digits
import small_runs
import support


class PeerTest(small_runs.SmallRunTest):
    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assert_refused(self.run_program("--job_name=ps", f"--ps_hosts=localhost:{port}",
                                                 "--worker_hosts=localhost:2223"), 6,
                                rf"cannot listen on tcp://127\.0\.0\.1:{port}: Address already in use")

    def test_a_second_ps_does_not_disturb_the_first(self):
        cluster = self.cluster(1, 1, self.flags(steps=30, log_dir=False))
        first = cluster.start_task("ps", 0)
        first.wait_for("listening on")
        self.assert_refused(cluster.start_task("ps", 0), 6, "Address already in use")
        cluster.tasks["ps:0"] = first
        cluster.start_task("worker", 0)
        cluster.assert_all_done(support.LONG_DEADLINE_S)

    def test_missing_peers_are_named_every_ten_seconds_and_given_up(self):
        flags = self.flags(log_dir=False)
        nobody, unused = support.free_ports(2)
        worker_hosts = "--worker_hosts=localhost:1,localhost:2"

        def worker(ps_host, index):
            return self.start([self.program(), f"--ps_hosts={ps_host}", worker_hosts, "--job_name=worker",
                               f"--task_index={index}", *flags, "--recovery_wait_secs=12"])

        refused = worker(f"localhost:{nobody}", 0)
        unknown = worker(f"no-such-host.invalid:{unused}", 0)
        chiefless = self.cluster(1, 2, flags)
        chiefless.start_task("ps", 0, "--recovery_wait_secs=2")
        alone = chiefless.start_task("worker", 1, "--recovery_wait_secs=12")
        for process, says in ((refused, rf"ps:0 localhost:{nobody} cannot be reached \(connection refused\)"),
                              (unknown, r"ps:0 no-such-host\.invalid:\d+ cannot resolve host"),
                              (alone, r"ps:0 localhost:\d+ has no model yet: worker:0 \(the chief\) has not init")):
            with self.subTest(says):
                process.wait_for(says + r".*; trying for another \d+ s")
                self.assert_refused(process, 138, says + r".*; gave up after 1\d s", deadline_s=support.LONG_DEADLINE_S)
        for process in (refused, alone):  # resolving an unknown name can block for a long time
            self.assertGreaterEqual(process.stderr.count("trying for another"), 2, process.stderr)
        self.assert_refused(chiefless.ps(), 138, "no sign of worker:0, worker:1 for 2 s")

    def test_a_worker_that_differs_from_the_chief_is_refused_with_both_values(self):
        cluster = self.cluster(1, 2, self.flags("--log_every=10", steps=small_runs.ENDLESS, log_dir=False))
        cluster.start_task("ps", 0)
        chief = cluster.start_task("worker", 0)
        chief.wait_for(r"^Worker : 0, Step: 10,")
        other_data = digits.write_data_set(self.folder / "other", self.TRAIN, self.TEST, seed=9)
        for flag, says in (("--batch_size=30", r"the batch per step \(--batch_size\) is 30 here but 20 at the chief"),
                           ("--batch_size_schedule=0:20,9:40",
                            r"the batch per step \(--batch_size\) is 0:20,9:40 here but 20 at the chief"),
                           ("--seed=4", "--seed is 4 here but 0 at the chief"),
                           ("--model=mlp", "--model is mlp here but softmax at the chief"),
                           ("--optimizer=sgd", "--optimizer is sgd here but adam at the chief"),
                           ("--learning_rate=0.5", "--learning_rate is 0.5 here but 0.01 at the chief"),
                           ("--train_steps=77", "--train_steps is 77 here but 1000000000 at the chief"),
                           ("--wire_dtype=bf16", "--wire_dtype is bf16 here but f32 at the chief"),
                           ("--on_nan=skip", "--on_nan is skip here but fail at the chief"),
                           ("--placement=round_robin", "--placement is round_robin here but split at the chief"),
                           (f"--data_dir={other_data}", r"the data is 400 \+ 100 .* here but 400 .* at the chief")):
            with self.subTest(flag):
                worker = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1",
                                     *self.flags(flag, steps=small_runs.ENDLESS, log_dir=False)])
                self.assert_refused(worker, 5, r"worker:1 does not fit this job: ", says)
        self.assertIsNone(chief.popen.poll())
        fitting = cluster.start_task("worker", 1)
        fitting.wait_for(r"^Worker : 1, Step: \d+0,")

    def test_a_worker_that_arrives_before_the_chief_is_also_refused(self):
        cluster = self.cluster(1, 2, self.flags(steps=small_runs.ENDLESS, log_dir=False))
        cluster.start_task("ps", 0)
        worker = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1",
                             *self.flags("--seed=4", steps=small_runs.ENDLESS, log_dir=False)])
        worker.wait_for("has no model yet")
        cluster.start_task("worker", 0)
        self.assert_refused(worker, 5, "--seed is 4 here but 0 at the chief")

    def test_a_chief_that_returns_with_different_flags_is_refused(self):
        cluster = self.cluster(1, 2, self.flags("--log_every=10", steps=small_runs.ENDLESS, log_dir=False)).start()
        cluster.worker(0).wait_for(r"^Worker : 0, Step: \d+0,")
        cluster.worker(0).kill()
        chief = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=0",
                            *self.flags("--learning_rate=0.5", steps=small_runs.ENDLESS, log_dir=False)])
        self.assert_refused(chief, 5, "holds the model of a different job: --learning_rate is 0.5 here but 0.01 at the "
                                      "chief")
        self.assertIsNone(cluster.worker(1).popen.poll())

    def test_tasks_with_different_cluster_descriptions(self):
        cluster = self.cluster(1, 2, self.flags(log_dir=False))
        cluster.start_task("ps", 0)
        for hosts, says in (([cluster.flags()[0], cluster.flags()[1] + ",localhost:1"], "with 2 workers.*3 workers"),
                            ([cluster.flags()[0] + ",localhost:1", cluster.flags()[1]], "ps:0 of 1.*ps:0 of 2")):
            worker = self.start([self.program(), *hosts, "--job_name=worker", "--task_index=0",
                                 *self.flags("--recovery_wait_secs=30", log_dir=False)])
            self.assert_refused(worker, 2, "the cluster descriptions differ", says)

    def test_a_cluster_that_diverges_ends(self):
        cluster = self.cluster(1, 2, self.flags(*small_runs.DIVERGING)).start()
        for task in cluster.tasks.values():
            self.assert_refused(task, 8, "lower --learning_rate")
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [])


if __name__ == "__main__":
    support.main()
