"""Speaks the protocol of docs/protocol.md within ZMTP 3 over a plain socket, byte for byte. Use it where messages must
be invalid: it uses no code of the program, so every error can be produced.

The layouts are repeated only here within these tests.
"""

import collections
import functools
import struct
import time

PROTOCOL_VERSION = 5
MAGIC = 0x4E4D4944
HEADER_BYTES = 112
MAX_PAYLOAD = 1 << 20
CHUNK = 262_144  # numbers in one message

TYPES = {
    "hello": 1, "create": 2, "load": 3, "create_end": 4, "pull": 5, "push": 6, "snapshot_begin": 7, "snapshot_take": 8,
    "await_others": 9, "done": 10, "leave": 11, "ping": 12, "join": 13, "commit": 14, "advance": 15, "reset": 16,
    "variable": 17, "welcome": 32, "refuse": 33, "stale": 34, "parameters": 35, "snapshot_point": 36,
    "snapshot_data": 37, "snapshot_end": 38, "others_done": 39, "done_ack": 40, "pong": 41, "probe": 42, "staged": 43,
    "token": 44, "notice": 45, "reset_done": 46, "variable_answer": 47,
}
NAMES = {number: name for name, number in TYPES.items()}

NO_PAYLOAD, RECORD, F32 = 0, 1, 2  # dtype
PAYLOAD_CHECKED = 1  # flags

FIELDS = {  # name -> format, in order
    "magic": "I", "version": "H", "type": "B", "wants": "B", "dtype": "B", "slot": "B", "flags": "H", "worker": "I",
    "run": "Q", "ps_epoch": "Q", "lease": "Q", "incarnation": "Q", "sequence": "Q", "container": "Q", "commit": "q",
    "step": "q", "range_offset": "q", "range_size": "q", "payload_bytes": "I", "payload_crc": "I", "samples": "I",
    "header_crc": "I",
}
LAYOUT = struct.Struct("<" + "".join(FIELDS.values()))
assert LAYOUT.size == HEADER_BYTES

LARGEST = {"B": 2**8 - 1, "H": 2**16 - 1, "I": 2**32 - 1, "Q": 2**64 - 1, "q": 2**63 - 1}


# ---- Checksums and names ----

def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


@functools.lru_cache(maxsize=64)  # cached, because attackers should cost time in the ps, not here
def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def container_id(name=""):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


# ---- Headers ----

def header(kind, payload=b"", checked=None, **fields):
    """A valid header for `payload`, changed by `fields`. `checked`: with the payload's checksum (default: for
    records)."""
    values = dict.fromkeys(FIELDS, 0)
    values.update(magic=MAGIC, version=PROTOCOL_VERSION, type=TYPES.get(kind, kind), wants=F32,
                  dtype=RECORD if payload else NO_PAYLOAD, container=container_id(), payload_bytes=len(payload))
    values.update(fields)
    if values["dtype"] == RECORD if checked is None else checked:
        values["flags"] |= PAYLOAD_CHECKED
        values.setdefault("payload_crc", 0)
        values["payload_crc"] = fields.get("payload_crc", crc32c(payload))
    return seal(values, fields.get("header_crc"))


def seal(values, header_crc=None):
    """The bytes of a header's values, with the correct checksum unless one is given."""
    raw = LAYOUT.pack(*(values[name] for name in FIELDS))
    crc = crc32c(raw[:-4]) if header_crc is None else header_crc
    return raw[:-4] + struct.pack("<I", crc)


def parse(raw):
    """The values of a header; None if it is not a header of our protocol."""
    if len(raw) != HEADER_BYTES:
        return None
    values = dict(zip(FIELDS, LAYOUT.unpack(raw)))
    return values if values["magic"] == MAGIC else None


# ---- Records: a byte 1, then the fields, without names ----

def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(raw)) + raw


def listed(items):
    items = list(items)
    return struct.pack("<I", len(items)) + b"".join(items)


Hello = collections.namedtuple("Hello", "container chief num_workers num_ps ps_index fingerprint num_parameters",
                               defaults=("", False, 2, 1, 0, (), 0))


def hello_record(hello):
    return (b"\1" + text(hello.container) + bytes([hello.chief])
            + struct.pack("<III", hello.num_workers, hello.num_ps, hello.ps_index)
            + listed(text(name) + text(value) for name, value in hello.fingerprint)
            + struct.pack("<q", hello.num_parameters))


def read_hello(record):
    at = 1

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, record, at)
        at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def take_text():
        nonlocal at
        size = take("I")
        at += size
        return record[at - size:at]

    container = take_text().decode()
    chief, num_workers, num_ps, ps_index = take("?III")
    fingerprint = tuple((take_text(), take_text()) for _ in range(take("I")))
    num_parameters = take("q")
    assert at == len(record), "the program's hello has a different layout"
    return Hello(container, chief, num_workers, num_ps, ps_index, fingerprint, num_parameters)


def create_record(pieces, step=0, consumed=(), sync=True, replicas=2):
    """`pieces`: (name, offset, size). The optimizer is sgd at 0.1."""
    learning_rate = struct.pack("<Bfqfq", 0, 0.1, 0, 0.96, 0)
    optimizer = b"\0" + learning_rate + struct.pack("<f?ffff", 0.9, False, 0.9, 0.999, 0.9, 1e-8)
    strategy = struct.pack("<?IBBqqqqB", sync, replicas, 1, 0, 0, -1, 0, 1 << 40, 0)
    return (b"\1" + listed(text(name) + struct.pack("<qq", offset, size) for name, offset, size in pieces)
            + optimizer + strategy + struct.pack("<q", step)
            + struct.pack("<Q", 1) + listed(struct.pack("<Iq", worker, samples) for worker, samples in consumed)
            + listed(()))


def chief_of(welcome):
    """The worker that a WelcomeRecord names as the chief."""
    return struct.unpack_from("<I", welcome, 2)[0]


def reset_record(containers=()):
    return b"\1" + listed(map(text, containers))


def variable_record(action, name="", container="", value=0.0, num_ps=1, ps_index=0):
    return (b"\1" + struct.pack("<BII", ("init", "get", "add", "list").index(action), num_ps, ps_index)
            + text(container) + text(name) + struct.pack("<d", value))


def updates_record(updates=(), dropped=0):
    """`updates`: (commit, rate_factor, [(worker, incarnation, sequence)])."""
    return (b"\1" + listed(struct.pack("<qf", commit, factor) + listed(struct.pack("<IQQ", *push) for push in pushes)
                           for commit, factor, pushes in updates) + struct.pack("<Q", dropped))


def refuse_record(exit_code, reason):
    return b"\1" + struct.pack("<i", exit_code) + text(reason)


def read_refusal(payload):
    """(exit code, reason)"""
    code, size = struct.unpack_from("<iI", payload, 1)
    return code, payload[9:9 + size].decode(errors="replace")


# ---- ZMTP ----

MORE, LONG, COMMAND = 1, 2, 4


def greeting(version=(3, 1), mechanism=b"NULL", as_server=0):
    return (b"\xff" + bytes(7) + b"\1\x7f" + bytes(version) + mechanism.ljust(20, b"\0")[:20] + bytes([as_server])
            + bytes(31))


def frame(body, flags=0):
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + struct.pack(">Q", len(body)) + body


def frame_head(size, flags=0):
    """The start of a long frame, whose body does not have to follow."""
    return bytes([flags | LONG]) + struct.pack(">Q", size)


def metadata(properties):
    return b"".join(bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in properties)


def ready(identity=b"", socket_type=b"DEALER"):
    properties = [(b"Socket-Type", socket_type), (b"Identity", identity)]
    return frame(b"\5READY" + metadata(properties), COMMAND)


def message(head, payload=b""):
    return frame(head, MORE) + frame(payload)


class Closed(Exception):
    """The peer has closed the connection."""


class Peer:
    """One connection. `on_message(values)` is called with the header's values of each message of our protocol."""

    def __init__(self, connected, on_message=lambda values: None, deadline_s=3.0):
        self.socket = connected
        self.deadline_s = deadline_s
        self.buffer = b""
        self.on_message = on_message
        self.curve = None  # set after the handshake, if there are keys
        connected.settimeout(deadline_s)

    def close(self):
        self.socket.close()

    def is_closed(self):
        """True if the peer has closed it. Discards the bytes received until then."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def write(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from None

    def read(self, size):
        while len(self.buffer) < size:
            try:
                more = self.socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from None
            if not more:
                raise Closed("end of file")
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read_frame(self):
        flags = self.read(1)[0]
        size = struct.unpack(">Q", self.read(8))[0] if flags & LONG else self.read(1)[0]
        return flags, self.read(size)

    def greet(self, identity=b"", socket_type=b"DEALER"):
        """The handshake without keys."""
        self.write(greeting())
        self.read(64)
        self.write(ready(identity, socket_type))
        self.read_frame()

    def greet_sealed(self, client):
        """The handshake with CURVE, using a curve.Client."""
        self.write(greeting(mechanism=b"CURVE"))
        self.read(64)
        self.write(frame(client.hello(), COMMAND))
        self.write(frame(client.initiate(self.read_frame()[1]), COMMAND))
        client.finish(self.read_frame()[1])
        self.curve = client

    def send_frame(self, body, flags=0):
        self.write(frame(self.curve.seal(body, flags)) if self.curve else frame(body, flags))

    def send(self, head, payload=b""):
        if self.curve:
            self.send_frame(head, MORE)
            self.send_frame(payload)
        else:
            self.write(message(head, payload))

    def say(self, kind, payload=b"", **fields):
        self.send(header(kind, payload, **fields), payload)

    def receive(self, timeout_s=0.5):
        """(header's values, payload) of the next message; None if none arrives in time."""
        self.socket.settimeout(timeout_s)
        try:
            parts = []
            while True:
                flags, body = self.read_frame()
                if self.curve:
                    flags, body = self.curve.open(body)
                if flags & COMMAND:
                    continue
                parts.append(body)
                if not flags & MORE:
                    break
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(self.deadline_s)
        values = parse(parts[0])
        if values:
            self.on_message(values)
        return values or {}, parts[1] if len(parts) > 1 else b""

    def receive_until(self, kinds, timeout_s=3.0):
        """The first message of one of these kinds; None if none arrives in time."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            got = self.receive(left)
            if got and NAMES.get(got[0].get("type")) in kinds:
                return got
        return None

    def ask(self, kind, payload=b"", timeout_s=0.5, **fields):
        self.say(kind, payload, **fields)
        return self.receive(timeout_s)


def unix_name(host, port):
    """The name of a ps's abstract Unix socket, for socket.connect."""
    return f"\0distmnist-{host}-{port}"


# ---- A listener that receives a worker's greeting ----

def overheard_hello(listener, deadline_s=20.0):
    """The HelloRecord of the first worker that connects to the listening socket, which looks like a ps to it."""
    end = time.monotonic() + deadline_s
    listener.settimeout(1.0)
    while time.monotonic() < end:
        try:
            peer = Peer(listener.accept()[0])
            peer.greet(socket_type=b"ROUTER")
            while True:
                got = peer.receive(2.0)
                if got and got[0].get("type") == TYPES["hello"]:
                    return got[1]
                if not got:
                    break
        except (Closed, TimeoutError):
            continue
    raise AssertionError("no worker sent a greeting")
