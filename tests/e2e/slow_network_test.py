"""A network on which one request takes longer than the time after which a silent ps is given up."""

import socket
import threading
import time

import small_runs
import support


class SlowRelay:
    """Relays connections to a port of this host. It passes the client's bytes on at `rate` bytes per second until
    `slow_s` seconds after the first large piece."""

    PIECE = 16 * 1024

    def __init__(self, to_port, rate, slow_s):
        self.to_port, self.rate, self.slow_s = to_port, rate, slow_s
        self.slow_until = None
        self.large_connections = 0
        self.listening = socket.socket()
        # A small buffer, because the client considers bytes in the kernel's buffer to be in transit.
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * self.PIECE)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()
        self.port = self.listening.getsockname()[1]
        self.sockets = [self.listening]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
                ps = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            self.sockets += [client, ps]
            threading.Thread(target=self.relay, args=(client, ps, True), daemon=True).start()
            threading.Thread(target=self.relay, args=(ps, client, False), daemon=True).start()

    def relay(self, source, target, slowly):
        moved = 0
        try:
            while piece := source.recv(self.PIECE):
                before, moved = moved, moved + len(piece)
                if slowly and before < 10 * self.PIECE <= moved:
                    self.large_connections += 1
                    self.slow_until = self.slow_until or time.monotonic() + self.slow_s
                if slowly and self.slow_until and time.monotonic() < self.slow_until:
                    time.sleep(len(piece) / self.rate)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                end.close()

    def close(self):
        for end in self.sockets:
            end.close()


class SlowNetworkTest(small_runs.SmallRunTest):
    SILENCE_S = 15  # after which a worker gives up a connection

    def test_a_request_in_transit_for_longer_than_the_silence_limit_arrives_once(self):
        flags = self.flags("--model=mnist_cnn", steps=1)
        cluster = self.cluster(1, 1, flags)
        cluster.start_task("ps", 0)
        relay = SlowRelay(cluster.ps_ports[0], rate=200_000, slow_s=self.SILENCE_S + 3)
        self.addCleanup(relay.close)
        cluster.ps_ports = [relay.port]
        cluster.start_task("worker", 0)
        cluster.assert_all_done(support.LONG_DEADLINE_S)
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [1])
        self.assertNotIn("silent for", cluster.worker(0).stderr)
        self.assertEqual(relay.large_connections, 1, "one connection carried the model and the gradient")


if __name__ == "__main__":
    support.main()
