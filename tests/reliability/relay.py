"""A relay between workers and a ps that can lose one message of a worker. It knows ZMTP 3 frames, and from a message
only its type."""

import socket
import struct
import threading

GREETING_BYTES = 64
MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame
TYPE_OFFSET = 6  # of the message's type in its header
PUSH = 6


class Relay:
    def __init__(self, to_port):
        self.to_port = to_port
        self.lose = 0  # so many of the next pushes are lost
        self.lost = 0
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()
        self.port = self.listening.getsockname()[1]
        self.sockets = [self.listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for end in self.sockets:
            end.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
                ps = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            self.sockets += [client, ps]
            for target, arguments in ((self._forward_messages, (client, ps)), (self._forward, (ps, client))):
                threading.Thread(target=self._until_closed, args=(target, *arguments), daemon=True).start()

    def _until_closed(self, target, source, sink):
        try:
            target(source, sink)
        except (OSError, EOFError):
            for end in (source, sink):
                end.close()

    def _forward(self, source, sink):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)

    def _forward_messages(self, source, sink):
        with source.makefile("rb") as stream:
            sink.sendall(_exactly(stream, GREETING_BYTES))
            while True:
                raw, header = _message(stream)
                if self.lose and header[TYPE_OFFSET:TYPE_OFFSET + 1] == bytes([PUSH]):
                    self.lose -= 1
                    self.lost += 1
                    continue
                sink.sendall(raw)


def _exactly(stream, size):
    piece = stream.read(size)
    if len(piece) < size:
        raise EOFError
    return piece


def _message(stream):
    """All frames of the next message as they are, and the body of the first one; a command is a message, too."""
    raw, first = b"", None
    while True:
        flags = _exactly(stream, 1)
        size_bytes = _exactly(stream, 8 if flags[0] & LONG else 1)
        size = struct.unpack(">Q", size_bytes)[0] if flags[0] & LONG else size_bytes[0]
        body = _exactly(stream, size)
        raw += flags + size_bytes + body
        if flags[0] & COMMAND:
            return raw, b""
        first = body if first is None else first
        if not flags[0] & MORE:
            return raw, first
