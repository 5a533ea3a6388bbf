"""The kinds of attack on a ps. Each is a function that makes one or a few connections with an Attacker, sends something
unusual, and chooses the details at random. None of them may have any effect. sealed.py has the attacks on a ps with
keys."""

import struct
import time

import wire

FIRST_ROUTING_ID = 0x6B8B4567  # the first routing id that a ZeroMQ ROUTER assigns: random() without a seed
FOREIGN = [b"GET / HTTP/1.1\r\nHost: ps\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-OpenSSH_9.2\r\n",
           b"EHLO ps\r\n", b"\0" * 300, b"{\"id\": 1}\n", b"\xff\xfb\x1f\xff\xfb\x20"]
ONE_RUN = ("pull", "push", "snapshot_begin", "snapshot_take", "await_others", "done", "leave", "ping", "join", "commit",
           "advance", "create", "load", "create_end")


# ---- Before any message ----

def silent(attacker):
    """Sends nothing."""
    attacker.hold(attacker.raw())


def half_greeting(attacker):
    """A greeting or a handshake that stops in the middle."""
    peer = attacker.raw()
    whole = wire.greeting() + wire.ready()
    peer.write(whole[:attacker.random.randrange(1, len(whole))])
    attacker.hold(peer)


def drip(attacker):
    """A handshake byte by byte."""
    peer = attacker.raw()
    for byte in wire.greeting() + wire.ready():
        peer.write(bytes([byte]))
    peer.read(64)
    peer.read_frame()
    attacker.hold(peer)


def foreign_protocol(attacker):
    """A web request, TLS, and other protocols."""
    peer = attacker.raw()
    peer.write(attacker.random.choice(FOREIGN))
    attacker.hold(peer)


def zmtp_versions(attacker):
    """Different versions of ZMTP, different mechanisms, and a server in place of a client."""
    roll = attacker.random
    peer = attacker.raw()
    if roll.random() < 0.2:
        peer.write(roll.choice([b"\xff" + bytes(8) + b"\x7f\1\5\0\0", b"\1\0\1\0", b"\xff" + bytes(8) + b"\x7f\0"]))
        return attacker.hold(peer)
    version = roll.choice([(0, 0), (1, 0), (2, 0), (2, 255), (3, 0), (3, 9), (4, 0), (255, 255)])
    mechanism = roll.choice([b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"null", b"", b"\xff" * 20, b"NULL\0x"])
    peer.write(wire.greeting(version, mechanism, roll.choice([0, 1, 255])))
    peer.write(wire.ready())
    attacker.hold(peer)


def routing_ids(attacker):
    """Claims the routing ids that a ZeroMQ server would assign to others, and those of earlier connections."""
    roll = attacker.random
    near = b"\0" + struct.pack(">I", FIRST_ROUTING_ID + roll.randrange(-3, 40))
    identity = roll.choice([near, str(1001 + roll.randrange(2000)).encode(), b"\0" * 5, b"", bytes(255), bytes(4000)])
    for _ in range(2):  # the second one claims the id of the first
        peer = attacker.peer(identity)
        attacker.ask(peer, "ping")
        attacker.hold(peer)


def other_sockets(attacker):
    """Sockets of different types, and invalid metadata."""
    roll = attacker.random
    peer = attacker.raw()
    peer.write(wire.greeting())
    name = roll.choice([b"ROUTER", b"PUB", b"SUB", b"REQ", b"STREAM", b"", b"dealer", b"DEALER" * 100])
    bad = roll.choice([
        wire.ready(socket_type=name), wire.frame(b"\5READY", wire.COMMAND), wire.frame(b"", wire.COMMAND),
        wire.frame(b"\xffREADY", wire.COMMAND), wire.frame(b"\5READY\x0bSocket-Type\xff\xff\xff\xff", wire.COMMAND),
        wire.frame(b"\5READY" + wire.metadata([(b"X" * 200, b"y" * 60_000)]), wire.COMMAND),
        wire.frame(b"\5ERROR\3no!", wire.COMMAND), wire.ready() * 50])
    peer.write(bad)
    attacker.hold(peer)


def handshake_and_silence(attacker):
    """Finishes the handshake and sends nothing more."""
    attacker.hold(attacker.peer())


# ---- Frames ----

def endless_parts(attacker):
    """One message whose parts never end."""
    peer = attacker.peer()
    part = wire.frame(attacker.random.choice([b"", b"x", bytes(112), bytes(1 << 20)]), wire.MORE)
    for _ in range(64):
        attacker.counts["messages"] += 1
        peer.write(part)
    attacker.hold(peer)


def huge_parts(attacker):
    """Parts and commands that announce sizes larger than any memory."""
    roll = attacker.random
    peer = attacker.peer()
    size = roll.choice([2**63, 2**64 - 1, 2**63 - 1, 2**40, 2**32, 2**31, (1 << 20) + 1, 1 << 20])
    if roll.random() < 0.5:
        peer.write(wire.frame(wire.header("push", dtype=wire.F32, payload_bytes=size % 2**32, range_size=wire.CHUNK), wire.MORE))
    peer.write(wire.frame_head(size, roll.choice([0, wire.MORE, wire.COMMAND, 0xF8])))
    peer.write(bytes(roll.randrange(1, 100_000)))
    attacker.hold(peer)


def large_before_greeting(attacker):
    """Complete messages of 1 MiB before a greeting, and large ones that are never completed."""
    peer = attacker.peer()
    head = wire.header("push", dtype=wire.F32, payload_bytes=wire.MAX_PAYLOAD, range_size=wire.CHUNK, samples=1)
    whole = attacker.random.random() < 0.5
    for _ in range(8):
        attacker.counts["messages"] += 1
        peer.write(wire.frame(head, wire.MORE) + wire.frame_head(wire.MAX_PAYLOAD))
        peer.write(bytes(wire.MAX_PAYLOAD if whole else 65_536))
    attacker.hold(peer)


def heartbeats(attacker):
    """Floods of ZMTP's own heartbeats and of unknown commands."""
    peer = attacker.peer()
    roll = attacker.random
    for _ in range(200):
        attacker.counts["messages"] += 1
        body = roll.choice([b"\4PING\0\1", b"\4PING\xff\xff" + bytes(16), b"\4PONG", b"\4PING", b"\x09SUBSCRIBEx"])
        peer.write(wire.frame(body, wire.COMMAND))
    attacker.hold(peer)


def unread_answers(attacker):
    """Asks again and again without reading the answers."""
    peer = attacker.peer(receives=4096)
    ping = wire.message(wire.header("ping", incarnation=attacker.number()))
    _pour(attacker, peer, ping)


def unread_heartbeats(attacker):
    """The same with ZMTP's own heartbeats."""
    peer = attacker.peer(receives=4096)
    _pour(attacker, peer, wire.frame(b"\4PING\0\1" + attacker.random.randbytes(16), wire.COMMAND))


def _pour(attacker, peer, message):
    """Sends one message again and again, up to a few MiB or until the ps reads no more."""
    block = message * (65_536 // len(message))
    peer.socket.settimeout(0.1)
    attacker.hold(peer)
    for _ in range(64):
        attacker.counts["messages"] += 65_536 // len(message)
        peer.write(block)


# ---- Messages ----

def pings(attacker):
    """Floods of pings without a session."""
    peer = attacker.peer()
    some = [wire.message(wire.header("ping", worker=worker, incarnation=attacker.number())) for worker in range(3)]
    for _ in range(100):
        attacker.counts["messages"] += 1
        peer.write(attacker.random.choice(some))
    attacker.listen(peer)
    attacker.hold(peer)


def faulty_headers(attacker):
    """Headers with one error."""
    roll = attacker.random
    right = dict(incarnation=attacker.number(), sequence=1)
    wrong = [
        wire.header("ping", magic=roll.getrandbits(32), **right), wire.header("ping", header_crc=7, **right),
        wire.header("ping", type=roll.choice([0, 18, 31, 48, 255]), **right), wire.header("ping", wants=roll.choice([0, 1, 9]), **right),
        wire.header("ping", dtype=roll.choice([5, 255]), **right), wire.header("pull", range_offset=2**60, **right),
        wire.header("pull", range_size=-1, **right), wire.header("pull", step=-1, commit=-2**63, **right),
        wire.header("ping", payload_bytes=2**32 - 1, **right), wire.header("hello", b"\1" * 30, payload_crc=1, **right),
        wire.header("push", dtype=wire.F32, range_size=wire.CHUNK, **right), b"", b"DIMN", bytes(112), bytes(256),
        wire.header("ping", **right)[:111], wire.header("ping", **right) + b"x"]
    peer = attacker.peer()
    for _ in range(5):
        attacker.counts["messages"] += 1
        peer.send(roll.choice(wrong), roll.choice([b"", b"x" * roll.randrange(1, 600)]))
    attacker.listen(peer)
    attacker.hold(peer)


def other_versions(attacker):
    """Messages with different protocol versions, with and without the rest of a header."""
    roll = attacker.random
    peer = attacker.peer()
    for _ in range(10):
        version = roll.choice([0, 1, 2, 3, wire.PROTOCOL_VERSION + 1, 255, 65_535])
        head = wire.header("hello", version=version, incarnation=attacker.number())
        attacker.counts["messages"] += 1
        peer.send(head[:roll.choice([8, 40, 112])], bytes(roll.randrange(100)))
    attacker.listen(peer)
    attacker.hold(peer)


def broken_records(attacker):
    """Records that are truncated, too long, or have wrong lengths."""
    roll = attacker.random
    kind, record = roll.choice([
        ("hello", wire.hello_record(attacker.target.hello)), ("create", wire.create_record([("x", 0, 10)])),
        ("reset", wire.reset_record(["a", "b"])), ("variable", wire.variable_record("add", "x", value=1.0)),
        ("snapshot_take", wire.updates_record([(1, 1.0, [(0, 1, 1)])])), ("advance", wire.updates_record([(1, 1.0, [(0, 1, 1)])])),
        ("leave", wire.refuse_record(8, "x"))])
    damaged = bytearray(record)
    for _ in range(roll.randrange(1, 4)):
        at = roll.randrange(len(damaged))
        damaged[at:at + 4] = roll.choice([b"\xff\xff\xff\xff", b"", b"\0\x10\0\0", bytes(roll.randrange(200))])
        damaged = damaged or bytearray(b"\1")
    if kind == "reset" and len(damaged) == 5 and damaged[1:] == bytes(4):
        damaged[0] = 2  # this one would be valid and drop everything
    peer = attacker.peer()
    attacker.ask(peer, kind, bytes(damaged), worker=roll.randrange(2), incarnation=attacker.number(), sequence=1)
    attacker.hold(peer)


# ---- Greetings ----

def refused_greetings(attacker):
    """A flood of greetings that do not fit the job, for tasks in use and for tasks that do not exist."""
    roll, hello = attacker.random, attacker.target.hello
    peer = attacker.peer()
    for _ in range(20):
        other = roll.choice([
            hello._replace(fingerprint=hello.fingerprint[:roll.randrange(len(hello.fingerprint))]),
            hello._replace(fingerprint=()), hello._replace(num_workers=roll.choice([0, 1, 3, 2**32 - 1])),
            hello._replace(num_ps=attacker.odd("I")), hello._replace(ps_index=1 + roll.randrange(9)),
            hello._replace(num_parameters=attacker.odd("q"))])
        record = wire.hello_record(other)
        attacker.say(peer, "hello", record, worker=roll.choice([0, 1, 2, 77, 2**32 - 1]),
                     incarnation=attacker.number(), sequence=1)
    attacker.listen(peer)
    attacker.hold(peer)


def greetings_for_taken_tasks(attacker):
    """Valid greetings for tasks that are in use."""
    roll = attacker.random
    peer = attacker.peer()
    incarnation = roll.choice([2**64 - 1, 2**63, 1, attacker.number()])
    worker = roll.randrange(2)
    hello = attacker.target.hello._replace(chief=worker == 0)
    attacker.greet(peer, worker, hello, incarnation=incarnation, sequence=roll.choice([1, 2**64 - 1]))
    attacker.hold(peer)


def odd_greetings(attacker):
    """Greetings with extreme numbers, invalid names and very many facts."""
    roll, hello = attacker.random, attacker.target.hello
    name = roll.choice(["a\nb: W ps:0] all is well", "\x1b[2J", "../../x", "x" * 256, "x" * 4096, "\0", "ünsinn"])
    other = roll.choice([
        hello._replace(container=name), hello._replace(fingerprint=((b"\x1b]0;x\7", b"\r\n" * 99),)),
        hello._replace(fingerprint=((b"n" * 4096, b"v" * 4096),) * 7), hello._replace(fingerprint=((b"", b""),) * 4096),
        hello._replace(num_workers=2**32 - 1, num_ps=2**32 - 1, ps_index=2**32 - 1)])
    fields = dict(incarnation=roll.choice([0, 2**64 - 1]), sequence=2**64 - 1, step=attacker.odd("q"), commit=2**63 - 1,
                  run=attacker.number(), lease=attacker.number(), samples=2**32 - 1, slot=255, flags=roll.getrandbits(16) & ~1)
    peer = attacker.peer()
    container = wire.container_id(other.container) if roll.random() < 0.8 else attacker.number()
    attacker.greet(peer, roll.choice([0, 1, 2, 2**32 - 1]), other, container=container, **fields)
    attacker.hold(peer)


def second_chiefs(attacker):
    """Asks to be the chief, in place of worker:0 and beside it, and creates a model."""
    peer = attacker.peer()
    worker = attacker.random.randrange(2)
    incarnation = attacker.number()
    got = attacker.greet(peer, worker, attacker.target.hello._replace(chief=True), incarnation=incarnation)
    lease = got[0]["lease"] if got else 0
    _create(attacker, peer, dict(worker=worker, incarnation=incarnation, lease=lease, run=attacker.number(),
                                 ps_epoch=got[0]["ps_epoch"] if got else 0))
    attacker.hold(peer)


# ---- Messages of a session that it does not have ----

def guessed_sessions(attacker):
    """Every message that a worker sends, for a worker that is connected, with guessed numbers and numbers from
    answers."""
    roll = attacker.random
    peer = attacker.peer()
    worker = roll.randrange(3)
    got = attacker.ask(peer, "ping", worker=worker, incarnation=attacker.number())
    told = got[0] if got else {}
    if told.get("lease"):
        attacker.counts["leaks"] += 1  # only the owner of the session should know it
    fields = dict(worker=worker, incarnation=roll.choice([1, 2, attacker.number()]), sequence=roll.choice([1, 5, 2**64 - 1]),
                  lease=roll.choice([told.get("lease", 0), 1, 2, attacker.number()]), ps_epoch=told.get("ps_epoch", 0),
                  run=told.get("run", 0), step=roll.choice([0, 1, 2**62]))
    for kind in roll.sample(ONE_RUN, 5):
        if kind == "create":
            _create(attacker, peer, {**fields, "run": attacker.number()})
        else:
            attacker.say(peer, kind, *_payload(attacker, kind), **{**fields, **_also(kind)})
    attacker.listen(peer)
    attacker.hold(peer)


def bad_pushes(attacker):
    """Gradients that are not finite or huge, without a session."""
    peer = attacker.peer()
    values = struct.pack("<f", attacker.random.choice([float("nan"), float("inf"), 1e22, -3e38])) * 7850
    fields = dict(worker=attacker.random.randrange(2), incarnation=attacker.number(), sequence=1, samples=20)
    attacker.say(peer, "push", values, dtype=wire.F32, range_size=7850, **fields)
    attacker.ask(peer, "commit", **fields)
    attacker.ask(peer, "leave", wire.refuse_record(8, "everything is NaN"), **fields)
    attacker.hold(peer)


def _payload(attacker, kind):
    worker = attacker.random.randrange(2)
    records = {"snapshot_take": wire.updates_record([(2**62, 1.0, [(worker, 2**64 - 1, 2**64 - 1)])]),
               "advance": wire.updates_record([(2**62, float("nan"), [(worker, 1, 1)])] * 3),
               "leave": wire.refuse_record(8, "the run has failed"),
               "push": struct.pack("<f", float("nan")) * 10, "load": bytes(40)}
    return [records[kind]] if kind in records else []


def _also(kind):
    return dict(dtype=wire.F32, range_size=10) if kind in ("push", "load") else {}


def _create(attacker, peer, fields):
    """A creation with more memory than a ps can spare, or of a small model."""
    size = attacker.random.choice([10, 1 << 29, 1 << 40])
    record = wire.create_record([("x", 0, size)], step=7)
    attacker.say(peer, "create", record, **fields)
    attacker.say(peer, "load", bytes(40), dtype=wire.F32, range_size=10, **fields)
    attacker.ask(peer, "create_end", **fields)


# ---- Questions from outside a run ----

def questions(attacker):
    """Resets of containers that do not exist, and questions about variables that a ps with one run does not have; none
    is valid."""
    roll = attacker.random
    name = roll.choice(["x", "x" * 4096, "a\nb", "", "\x1b[31m", "%s%n"])
    kind, record = roll.choice([
        ("reset", wire.reset_record([name or "x"])), ("reset", wire.reset_record(["n"] * 65)),
        ("reset", wire.reset_record(["n" * 4096] * 15)),
        ("variable", wire.variable_record(roll.choice(["init", "get", "add", "list"]), name, name, float("nan"))),
        ("variable", wire.variable_record("init", "x", num_ps=2**32 - 1, ps_index=5))])
    peer = attacker.peer()
    for _ in range(5):
        attacker.ask(peer, kind, record, incarnation=attacker.number(), sequence=attacker.odd("Q"))
    attacker.hold(peer)


# ---- Random changes ----

def mutations(attacker):
    """Valid conversations with some bytes changed, removed or repeated."""
    roll = attacker.random
    parts = [wire.greeting(), wire.ready()]
    fields = dict(worker=roll.randrange(3), incarnation=attacker.number())
    parts.append(_mutated_message(attacker, "hello", wire.hello_record(attacker.target.hello), **fields))
    for kind in roll.sample(ONE_RUN, 3):
        parts.append(_mutated_message(attacker, kind, *_payload(attacker, kind), **fields, **_also(kind)))
    stream = bytearray(b"".join(part for part in parts if roll.random() < 0.95))
    for _ in range(roll.choice([0, 1, 1, 2, 20])):
        at = roll.randrange(len(stream))
        change = roll.randrange(4)
        if change == 0:
            stream[at] ^= 1 << roll.randrange(8)
        elif change == 1:
            del stream[at:at + roll.randrange(1, 40)]
        elif change == 2:
            stream[at:at] = stream[at:at + roll.randrange(1, 200)]
        else:
            stream[at:at] = roll.randbytes(roll.randrange(1, 40))
    peer = attacker.raw()
    attacker.counts["messages"] += len(parts) - 2
    while stream:
        size = roll.choice([1, 10, 64, 1000, len(stream)])
        peer.write(bytes(stream[:size]))
        del stream[:size]
    attacker.hold(peer)


def _mutated_message(attacker, kind, payload=b"", **fields):
    """A message with some unusual fields and correct checksums, so that it is processed as far as possible."""
    roll = attacker.random
    for name in roll.sample([name for name in wire.FIELDS if name not in ("header_crc", "payload_crc")], roll.choice([0, 1, 1, 3])):
        fields[name] = attacker.odd(wire.FIELDS[name])
    return wire.message(wire.header(kind, payload, **fields), payload)


def closes_at_once(attacker):
    """Connects and closes, with and without a message."""
    peer = attacker.raw()
    if attacker.random.random() < 0.5:
        peer.write(wire.greeting() + wire.ready() + wire.message(wire.header("ping")))
    peer.close()


def many_at_once(attacker):
    """Tens of connections at the same moment, kept open."""
    for _ in range(32):
        peer = attacker.raw()
        attacker.hold(peer)
    time.sleep(0.01)


EARLY = (silent, half_greeting, drip, foreign_protocol, zmtp_versions, routing_ids, other_sockets, handshake_and_silence,
         closes_at_once, many_at_once)
FRAMES = (endless_parts, huge_parts, large_before_greeting, heartbeats, unread_answers, unread_heartbeats)
MESSAGES = (pings, faulty_headers, other_versions, broken_records, refused_greetings, greetings_for_taken_tasks,
            odd_greetings, second_chiefs, guessed_sessions, bad_pushes, questions, mutations)
ALL = EARLY + FRAMES + MESSAGES
# For a job whose tasks may be free: without greetings that could get a task.
BEFORE_THE_END = tuple(kind for kind in ALL if kind not in (greetings_for_taken_tasks, second_chiefs, mutations))


def mixture(kinds):
    """A random one of the kinds each time."""

    def any_of_them(attacker):
        attacker.random.choice(kinds)(attacker)

    return any_of_them
