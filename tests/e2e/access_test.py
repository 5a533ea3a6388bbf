#!/usr/bin/env python3
"""Access to a ps without keys: the hosts of its cluster and --allow, and its own user over the Unix socket; the
conditions for public addresses; and the permission to reset."""
import socket
import unittest

import other_network
import small_runs
import support

ELSEWHERE = "10.255.255.1"  # a private address that this host does not have


class AccessTest(small_runs.SmallRunTest):
    def start_ps(self, ps_host, port, *arguments):
        return self.start([self.program(), f"--ps_hosts={ps_host}:{port}", f"--worker_hosts={ps_host}:1",
                           "--job_name=ps", *arguments])

    def first_bytes(self, port):
        """The first bytes that a server sends to a new TCP connection; empty if it hangs up."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=support.DEADLINE_S) as connection:
                return connection.recv(64)
        except ConnectionResetError:
            return b""

    def test_a_host_that_is_not_on_the_list_gets_no_answer(self):
        port, = support.free_ports(1)
        ps = self.start_ps(ELSEWHERE, port, "--bind=127.0.0.1")
        ps.wait_for("listening on")
        for _ in range(20):
            self.assertEqual(self.first_bytes(port), b"")
        ps.wait_for(r"cut off 127\.0\.0\.1: it is not on the allow list")
        self.assertEqual(ps.stderr.count("cut off"), 1)
        # A worker with such an address is told the probable reason.
        worker = self.start([self.program(), f"--ps_hosts=127.0.0.1:{port}", "--worker_hosts=127.0.0.1:1",
                             "--job_name=worker", *self.flags(log_dir=False), "--recovery_wait_secs=1"])
        self.assert_refused(worker, 138, r"closes the connection: this host may not be on its allow list \(see --allow\)")
        ps.kill()

    def test_allow_adds_to_the_list(self):
        port, = support.free_ports(1)
        ps = self.start_ps(ELSEWHERE, port, "--bind=127.0.0.1", "--allow=10.0.0.0/24,127.0.0.1")
        ps.wait_for("listening on")
        self.assertEqual(len(self.first_bytes(port)), 64)
        ps.kill()

    def test_all_interfaces_without_keys_are_warned_of(self):
        port, = support.free_ports(1)
        ps = self.start_ps("127.0.0.1", port, "--bind=0.0.0.0", "--insecure")
        ps.wait_for("listening on tcp")
        self.assertEqual(ps.stderr.count("this ps serves all interfaces without keys"), 1)
        ps.kill()
        quiet = self.start_ps("127.0.0.1", port)
        quiet.wait_for("listening on tcp")
        self.assertNotIn("without keys", quiet.stderr)

    def test_public_addresses_need_keys_or_a_flag(self):
        port, = support.free_ports(1)
        for arguments in (("--allow=8.8.8.0/24",), ("--allow=0.0.0.0/0",)):
            with self.subTest(arguments):
                self.assert_refused(self.start_ps("127.0.0.1", port, *arguments), 9,
                                    "has public addresses in it .*distmnist keygen .*--keys, or accept the risk with "
                                    "--insecure")
        worker_far = self.start([self.program(), f"--ps_hosts=127.0.0.1:{port}", "--worker_hosts=8.8.8.8:1",
                                 "--job_name=ps"])
        self.assert_refused(worker_far, 9, r"8\.8\.8\.8 is a public address \(8\.8\.8\.8:1\)")
        trusting = self.start_ps("127.0.0.1", port, "--allow=8.8.8.0/24", "--insecure")
        trusting.wait_for("listening on")

    def test_with_keys_every_address_is_allowed_unless_a_list_is_given(self):
        port, = support.free_ports(1)
        self.assert_exit(self.run_program("keygen", self.folder / "keys", "--tasks=ps:1,worker:1"), 0)
        keys = f"--keys={self.folder / 'keys'}"
        for allow, bytes_said in (((), 64), (("--allow=10.0.0.0/24",), 0), (("--allow=127.0.0.1,8.8.8.8",), 64)):
            with self.subTest(allow):
                ps = self.start_ps(ELSEWHERE, port, "--bind=127.0.0.1", keys, *allow)
                ps.wait_for("listening on")
                self.assertEqual(len(self.first_bytes(port)), bytes_said)
                ps.kill()
        self.assert_refused(self.start_ps("127.0.0.1", port, keys, "--insecure"), 2, "--insecure and --keys")

    def test_a_local_run_refuses_flags_about_access(self):
        for flag in ("--allow=10.0.0.0/24", "--insecure"):
            self.assert_refused(self.run_program(flag), 2, f"{flag} without --job_name")

    def test_invalid_lists_are_refused(self):
        for allow in ("somebody", "10.0.0.0/33", "10.0.0.1,,10.0.0.2"):
            with self.subTest(allow):
                self.assert_refused(self.start_ps("127.0.0.1", 2222, f"--allow={allow}"), 2, f"--allow={allow}: '")

    def test_a_reset_from_a_different_host_is_refused_unless_the_ps_stays(self):
        # A TCP connection from an address of this host counts as local, so a different host needs a separate network.
        with other_network.other_network() as network:
            if network is None:
                self.skipTest("another network can be made by root with ip only")
            for stays, code in ((False, 9), (True, 0)):
                with self.subTest(stays=stays):
                    port, = support.free_ports(1)
                    ps = self.start_ps(network.here, port, f"--allow={network.there}",
                                       *(["--ps_stay"] if stays else []))
                    ps.wait_for("listening on")
                    reset = self.start([*network.enter, self.program(), "reset", "--all",
                                        f"--ps_hosts={network.here}:{port}"])
                    self.assert_exit(reset, code)
                    if stays:
                        self.assertIn("no containers to drop", reset.stdout)
                    else:
                        self.assertIn("--ps_stay", reset.stdout)
                    ps.kill()


class WithKeysTest(small_runs.SmallRunTest):
    """Runs with keys, with the real program on both sides."""

    def setUp(self):
        super().setUp()
        self.keys = self.folder / "keys"
        self.assert_exit(self.run_program("keygen", self.keys, "--tasks=ps:1,worker:2"), 0)

    def test_a_run_with_keys_gives_the_same_result_as_one_without(self):
        self.train_cluster(1, 2, "--sync_replicas", log_dir=False)
        plain = self.train_cluster(1, 2, "--sync_replicas", f"--log_dir={self.folder / 'plain'}")
        locked = self.train_cluster(1, 2, "--sync_replicas", f"--keys={self.keys}")
        for task in ("ps:0", "worker:0", "worker:1"):
            self.assertIn(f"keys from {self.keys}/{task.replace(':', '-')}: what is sent is encrypted",
                          locked.tasks[task].stderr)
            self.assertNotIn("encrypted", plain.tasks[task].stderr)
        self.assertEqual(self.checkpoint(100).tensors, self.checkpoint(100, self.folder / "plain").tensors)

    def test_the_administrator_asks_with_the_admin_key(self):
        port, = support.free_ports(1)
        hosts = f"--ps_hosts=localhost:{port}"
        ps = self.start([self.program(), hosts, "--job_name=ps", "--ps_stay", f"--keys={self.keys}"])
        ps.wait_for("listening on")
        admin = f"--keys={self.keys / 'admin'}"
        self.assertEqual(self.run_program("variable", "init", "x", "--value=3", hosts, admin).stdout, "3.0\n")
        self.assertEqual(self.run_program("variable", "add", "x", "--value=2", hosts, admin).stdout, "5.0\n")
        reset = self.run_program("reset", "--all", hosts, admin)
        self.assert_exit(reset, 0)
        self.assertIn("dropped the default container", reset.stdout)
        without = self.run_program("reset", "--all", hosts)
        self.assert_exit(without, 9)
        self.assertIn("asks for a key, but this task has none; give --keys with the folder of the administrator's key",
                      without.stdout)
        other = self.folder / "other"
        self.assert_exit(self.run_program("keygen", other, "--tasks=ps:1,worker:2"), 0)
        foreign = self.run_program("reset", "--all", hosts, f"--keys={other / 'admin'}")
        self.assert_exit(foreign, 9)
        self.assertIn("does not recognize this task's key, or has a different key", foreign.stdout)
        ps.wait_for("cut off a process on this host: it (has no key of this job|hung up when it was asked for a key)")
        open_port, = support.free_ports(1)
        open_ps = self.start([self.program(), f"--ps_hosts=localhost:{open_port}", "--job_name=ps", "--ps_stay"])
        open_ps.wait_for("listening on")
        needless = self.run_program("reset", "--all", f"--ps_hosts=localhost:{open_port}", admin)
        self.assert_exit(needless, 9)
        self.assertIn("has no keys, but this task has; leave --keys out", needless.stdout)

    def test_the_launcher_creates_keys_for_one_run(self):
        run = self.start([support.LAUNCHER, "--binary", self.program(), "--secure", "--num_workers", 2, "--",
                          *self.flags(steps=60)], name="launch")
        self.assert_exit(run, 0, support.LONG_DEADLINE_S)
        self.assertEqual(len(small_runs.checkpoint_steps(self.log_dir)), 1)
        for flags in (["--", "--insecure"], ["--", "--keys=x"]):
            self.assert_exit(self.start([support.LAUNCHER, "--secure", *flags], name=f"launch{len(self.processes)}"), 2)


if __name__ == "__main__":
    support.main()
