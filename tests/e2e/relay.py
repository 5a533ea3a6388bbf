"""A relay between clients and a port of this host."""

import socket
import threading


class Relay:
    """Passes on what both sides send, until one of them closes. Subclasses change what a client's bytes meet."""

    PIECE = 1 << 16

    def __init__(self, to_port, receive_buffer_bytes=None):
        self.to_port = to_port
        self.listening = socket.socket()
        if receive_buffer_bytes:
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()
        self.port = self.listening.getsockname()[1]
        self.sockets = [self.listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for end in self.sockets:
            end.close()

    def forward_from_client(self, client, ps):
        self.forward(client, ps)

    def forward(self, source, sink):
        while piece := source.recv(self.PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)

    def _accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
                ps = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            self.sockets += [client, ps]
            for target, ends in ((self.forward_from_client, (client, ps)), (self.forward, (ps, client))):
                threading.Thread(target=self._until_closed, args=(target, *ends), daemon=True).start()

    def _until_closed(self, target, source, sink):
        try:
            target(source, sink)
        except (OSError, EOFError):
            for end in (source, sink):
                end.close()
