"""A network on which one request takes longer than the time after which a silent ps is given up."""

import socket
import time

import relay
import small_runs
import support


class SlowRelay(relay.Relay):
    """Passes the client's bytes on at `rate` bytes per second until `slow_s` seconds after the first large piece."""

    PIECE = 16 * 1024

    def __init__(self, to_port, rate, slow_s):
        self.rate, self.slow_s = rate, slow_s
        self.slow_until = None
        self.large_connections = 0
        # A small buffer, because the client considers bytes in the kernel's buffer to be in transit.
        super().__init__(to_port, receive_buffer_bytes=2 * self.PIECE)

    def forward_from_client(self, client, ps):
        moved = 0
        while piece := client.recv(self.PIECE):
            before, moved = moved, moved + len(piece)
            if before < 10 * self.PIECE <= moved:
                self.large_connections += 1
                self.slow_until = self.slow_until or time.monotonic() + self.slow_s
            if self.slow_until and time.monotonic() < self.slow_until:
                time.sleep(len(piece) / self.rate)
            ps.sendall(piece)
        ps.shutdown(socket.SHUT_WR)


class SlowNetworkTest(small_runs.SmallRunTest):
    SILENCE_S = 15  # after which a worker gives up a connection

    def test_a_request_in_transit_for_longer_than_the_silence_limit_arrives_once(self):
        flags = self.flags("--model=mnist_cnn", steps=1)
        cluster = self.cluster(1, 1, flags)
        cluster.start_task("ps", 0)
        slow = SlowRelay(cluster.ps_ports[0], rate=200_000, slow_s=self.SILENCE_S + 3)
        self.addCleanup(slow.close)
        cluster.ps_ports = [slow.port]
        cluster.start_task("worker", 0)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [1])
        self.assertNotIn("silent for", cluster.worker(0).stderr)
        self.assertEqual(slow.large_connections, 1, "one connection carried the model and the gradient")


if __name__ == "__main__":
    support.main()
