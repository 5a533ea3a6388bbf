"""A relay between workers and a ps that can lose one message of a worker. It knows ZMTP 3 frames, and from a message
only its type."""

import struct

from relay import Relay

GREETING_BYTES = 64
MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame
TYPE_OFFSET = 6  # of the message's type in its header
PUSH = 6


class LosingRelay(Relay):
    def __init__(self, to_port):
        self.lose = 0  # so many of the next pushes are lost
        self.lost = 0
        super().__init__(to_port)

    def forward_from_client(self, client, ps):
        with client.makefile("rb") as stream:
            ps.sendall(_exactly(stream, GREETING_BYTES))
            while True:
                raw, header = _message(stream)
                if self.lose and header[TYPE_OFFSET:TYPE_OFFSET + 1] == bytes([PUSH]):
                    self.lose -= 1
                    self.lost += 1
                    continue
                ps.sendall(raw)


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
