"""Addresses on which tasks listen and to which they connect, and descriptions of a cluster."""

import contextlib
import json
import socket
import threading

import small_runs
import support

ZMTP_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
# The bytes that a server sends to a new connection: empty means nothing, and None means that it hangs up.
GREETINGS = {
    "does not answer like a ps.*or the ps is suspended": b"",
    "closes the connection: this host may not be on its allow list": None,
    r"is not a ps: what listens there says 'SSH-2\.0-Server'": b"SSH-2.0-Server\r\n",
    "is not a ps: what listens there speaks TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "is not a ps: what listens there is a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "does not answer like a ps": ZMTP_SIGNATURE,  # a ZeroMQ peer that sends nothing more
}


class Stranger:
    """Listens on a port of 127.0.0.1 and sends the same bytes to every connection."""

    def __init__(self, greeting):
        self.greeting = greeting
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                if self.greeting is None:
                    connection.close()
                    continue
                self.connections.append(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(self.greeting)

    def close(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class AddressTest(small_runs.SmallRunTest):
    def stranger(self, greeting):
        server = Stranger(greeting)
        self.addCleanup(server.close)
        return server

    def assert_listens(self, port, listens):
        with socket.socket() as probe:
            self.assertEqual(probe.connect_ex(("127.0.0.1", port)) == 0, listens, port)

    def test_a_ps_listens_on_the_given_address(self):
        listed, inner = support.free_ports(2)
        hosts = [f"--ps_hosts=127.0.0.1:{listed}", "--worker_hosts=203.0.113.7:1"]
        ps = self.start([self.program(), *hosts, "--job_name=ps", f"--bind=0.0.0.0:{inner}"])
        ps.wait_for(rf"listening on tcp://0\.0\.0\.0:{inner} and ipc://@distmnist-127\.0\.0\.1-{listed}")
        self.assert_listens(inner, True)
        self.assert_listens(listed, False)
        # The worker's address is not used: a worker does not listen.
        worker = self.start([self.program(), *hosts, "--job_name=worker", *self.flags(steps=5, log_dir=False)])
        self.assert_exit(worker, 0)
        self.assert_exit(ps, 0)

    def test_a_ps_behind_an_address_that_this_host_does_not_have(self):
        port, = support.free_ports(1)
        for bind in ("0.0.0.0", "[::]", "localhost"):
            with self.subTest(bind):
                ps = self.start([self.program(), f"--ps_hosts=203.0.113.7:{port}", "--worker_hosts=localhost:1",
                                 "--job_name=ps", f"--bind={bind}"])
                ps.wait_for("listening on")
                self.assert_listens(port, True)
                ps.kill()

    def test_a_worker_needs_no_resolvable_name_and_no_free_port(self):
        taken = self.stranger(b"")
        port, = support.free_ports(1)
        hosts = [f"--ps_hosts=localhost:{port}", f"--worker_hosts=worker-0.invalid:{taken.port},localhost:{taken.port}"]
        tasks = [self.start([self.program(), *hosts, "--job_name=ps"])]
        for index in range(2):
            tasks.append(self.start([self.program(), *hosts, "--job_name=worker", f"--task_index={index}",
                                     *self.flags(steps=9, log_dir=False)]))
        for task in tasks:
            self.assert_exit(task, 0)

    def test_a_name_that_does_not_resolve_is_tried_until_the_deadline(self):
        ps = self.start([self.program(), "--ps_hosts=ps-0.invalid:2222", "--worker_hosts=localhost:1", "--job_name=ps",
                         "--recovery_wait_secs=1.5"])
        self.assert_refused(ps, 138, r"ps:0: cannot resolve host 'ps-0\.invalid' of .*; gave up after \d+ s")
        self.assertIn("trying for another", ps.stderr)

    def test_other_servers_on_the_port_of_a_ps_are_recognized(self):
        workers = []
        for says, greeting in GREETINGS.items():
            port = self.stranger(greeting).port
            workers.append((says, port, self.start([self.program(), f"--ps_hosts=localhost:{port}", "--worker_hosts=h:1",
                                                    "--job_name=worker", *self.flags(log_dir=False),
                                                    "--recovery_wait_secs=8"])))
        for says, port, worker in workers:
            with self.subTest(says):
                worker.wait_for(rf"W worker:0\] ps:0 localhost:{port} {says}.*; try")
                self.assertNotIn("cannot be reached", worker.stderr)
                self.assert_refused(worker, 138, says + r".*; gave up after \d+ s")

    def test_a_question_to_another_server(self):
        server = self.stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        process = self.start([self.program(), "variable", "list", f"--ps_hosts=localhost:{server.port}",
                              "--recovery_wait_secs=1"])
        self.assert_refused(process, 138, "is not a ps: what listens there is a web server")

    def test_host_lists_can_be_lines_of_a_file(self):
        ports = support.free_ports(2)
        hosts = "".join(f"127.0.0.1:{port}\n" for port in ports)
        tasks = []
        for job, index in (("ps", 0), ("ps", 1), ("worker", 0)):
            tasks.append(self.start([self.program(), f"--ps_hosts={hosts}", "--worker_hosts=localhost:1",
                                     f"--job_name={job}", f"--task_index={index}",
                                     *self.flags(steps=5, log_dir=False)]))
        for task in tasks:
            self.assert_exit(task, 0)

    def test_cluster_files_with_numbered_tasks(self):
        port, = support.free_ports(1)
        whole, gap = self.folder / "whole.json", self.folder / "gap.json"
        description = {"ps": [f"localhost:{port}"], "worker": {"1": "localhost:2", "0": "localhost:1"},
                       "chief": ["localhost:3"]}
        whole.write_text(json.dumps(description))
        del description["worker"]["0"]
        gap.write_text(json.dumps(description))
        tasks = []
        for job, index, file in (("ps", 0, gap), ("worker", 0, whole), ("worker", 1, gap)):
            tasks.append(self.start([self.program(), f"--cluster={file}", f"--job_name={job}", f"--task_index={index}",
                                     *self.flags(steps=9, log_dir=False)]))
        for task in tasks:
            self.assert_exit(task, 0)
            self.assertRegex(task.stderr, r"W \w+:\d\] \S+: job 'chief' has no role here")
        self.assert_refused(self.run_program(f"--cluster={gap}", "--job_name=worker"), 2, "does not name worker:0")

    def test_a_tf_config_in_the_environment_causes_a_warning(self):
        text = json.dumps({"cluster": {"ps": ["localhost:1"], "worker": ["localhost:2"]},
                           "task": {"type": "worker", "index": 0}})
        process = self.run_program(*self.flags(steps=3, log_dir=False), env={"TF_CONFIG": text})
        self.assert_exit(process, 0)
        self.assertRegex(process.stderr, r"W local\] TF_CONFIG is set, .*--cluster.* trains alone")
        quiet = self.run_program(*self.flags(steps=3, log_dir=False), env={"TF_CONFIG": ""})
        self.assertNotIn("TF_CONFIG", quiet.stderr)


if __name__ == "__main__":
    support.main()
