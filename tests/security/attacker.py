"""An attacker in a separate process with the lowest priority. It runs kinds of attack (kinds.py) on a target from one
position at a given pace, and counts the results. Use it for load; powers.py builds on the same Attacker class in the
test's own process."""

import collections
import contextlib
import ctypes
import dataclasses
import json
import os
import random
import resource
import signal
import socket
import time
import traceback

import curve
import wire

NOBODY = 65534
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
MOST_HELD = 200  # connections that one attacker keeps open
OVERTIME_S = 1.0  # by which a window can exceed its length


@dataclasses.dataclass
class Target:
    """The address of a ps, and the knowledge of an attacker that has the program and can guess its flags."""

    host: str
    port: int
    hello: wire.Hello  # the greeting that a worker of the job sends
    server_key: bytes = b""  # the public key of the ps, if it has keys
    own_keys: tuple = ()  # the attacker's (public, secret); random if empty
    unix: bool = False  # connect over the abstract Unix socket
    source: str = ""  # the source address of the connections
    source_port: int = 0
    extras: dict = dataclasses.field(default_factory=dict)


class Attacker:
    """The operations that kinds of attack use."""

    def __init__(self, target, seed):
        self.target = target
        self.random = random.Random(seed)
        self.counts = collections.Counter()  # connections, messages, cut, silent
        self.answers = collections.Counter()  # messages of our protocol that arrived, by type
        self.refusals = collections.Counter()  # by exit code
        self.held = []
        self.deadline = float("inf")

    # ---- Connections ----

    def connect(self, receives=0):
        """A connected socket. `receives`: size of the kernel's buffer for unread answers (default: large)."""
        if self.target.unix:
            plain = socket.socket(socket.AF_UNIX)
            where = wire.unix_name(self.target.host, self.target.port)
        else:
            plain = socket.socket()
            where = (self.target.host, self.target.port)
        self.counts["connections"] += 1
        try:
            plain.settimeout(2.0)
            if receives:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            if self.target.source and not self.target.unix:
                plain.bind((self.target.source, 0))
            plain.connect(where)
        except OSError as error:
            plain.close()
            raise wire.Closed(str(error)) from None
        return plain

    def raw(self, **options):
        """A connection that has not sent anything."""
        return wire.Peer(self.connect(**options), self.on_message)

    def peer(self, identity=b"", **options):
        """A connection after the handshake, or as far as the handshake succeeds."""
        peer = self.raw(**options)
        if self.target.own_keys:
            peer.greet_sealed(curve.Client(self.target.server_key, self.target.own_keys))
        else:
            peer.greet(identity)
        return peer

    def hold(self, peer):
        """Keeps the connection open until the window ends; closes the oldest one if there are too many."""
        self.held.append(peer)
        if len(self.held) > MOST_HELD:
            self.held.pop(0).close()

    # ---- Messages ----

    def on_message(self, values):
        self.answers[wire.NAMES.get(values["type"], str(values["type"]))] += 1

    def say(self, peer, kind, payload=b"", **fields):
        self.counts["messages"] += 1
        peer.say(kind, payload, **fields)

    def listen(self, peer, timeout_s=0.2):
        """Counts the answer and returns (values, payload), or None."""
        got = peer.receive(timeout_s)
        if not got:
            self.counts["silent"] += 1
        elif got[0].get("type") == wire.TYPES["refuse"]:
            self.refusals[wire.read_refusal(got[1])[0]] += 1
        return got

    def ask(self, peer, kind, payload=b"", **fields):
        self.say(peer, kind, payload, **fields)
        return self.listen(peer)

    def greet(self, peer, worker, hello=None, **fields):
        record = wire.hello_record(hello or self.target.hello)
        fields = {"incarnation": self.number(), "sequence": 1, **fields}
        return self.ask(peer, "hello", record, worker=worker, **fields)

    # ---- Random numbers ----

    def number(self, bits=64):
        return self.random.getrandbits(bits) or 1

    def odd(self, layout):
        """A number of the layout's type that often reveals errors in programs."""
        largest = wire.LARGEST[layout]
        choices = [0, 1, 2, largest, largest - 1, largest // 2, largest // 2 + 1, self.random.randrange(largest)]
        value = self.random.choice(choices)
        return -value if layout == "q" and self.random.random() < 0.3 else value

    # ---- A window ----

    def run(self, kind, connections, window_s):
        """Repeats `kind` until it has made this number of connections, spread over the window."""
        self.counts.clear()
        self.answers.clear()
        self.refusals.clear()
        begin = time.monotonic()
        self.deadline = begin + window_s + OVERTIME_S
        faults = collections.Counter()
        while self.counts["connections"] < connections and time.monotonic() < self.deadline:
            try:
                kind(self)
            except (wire.Closed, TimeoutError, curve.Broken):
                self.counts["cut"] += 1
            except Exception:  # an error in the test itself
                faults[traceback.format_exc(limit=3)] += 1
            due = begin + window_s * self.counts["connections"] / connections
            time.sleep(max(0.0, min(due, self.deadline) - time.monotonic()))
        time.sleep(max(0.0, begin + window_s - time.monotonic()))
        self.counts["cut"] += sum(peer.is_closed() for peer in self.held)
        for peer in self.held:
            peer.close()
        self.held.clear()
        return {"counts": self.counts, "answers": self.answers, "refusals": self.refusals, "faults": faults}


# ---- The process ----

class Process:
    """A forked process, so that it does not have to read files of the checkout after it changes its user."""

    def __init__(self, target, kinds, seed, user=None, own_network=False):
        """`kinds`: name -> function. `own_network`: in a separate network namespace, which the caller has to
        connect."""
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(theirs, target, kinds, seed, user, own_network)
        theirs.close()
        self.pipe = ours.makefile("rw")

    def ask(self, name, connections=0, window_s=0.0):
        """Starts a window; result() waits for its end."""
        self.pipe.write(json.dumps([name, connections, window_s]) + "\n")
        self.pipe.flush()

    def result(self):
        line = self.pipe.readline()
        if not line:
            raise AssertionError("an attacker has ended")
        return json.loads(line)

    def close(self):
        with contextlib.suppress(OSError):
            self.pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _be_unimportant():
    os.setsid()
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):  # for systems that share the processors between sessions
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("19")


def _serve(pipe, target, kinds, seed, user, own_network):
    status = 1
    try:
        _be_unimportant()
        if own_network and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            os._exit(2)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        attacker = Attacker(target, seed)
        lines = pipe.makefile("rw")
        lines.write("true\n")  # signals that the process runs, in its network
        lines.flush()
        for line in lines:
            name, connections, window_s = json.loads(line)
            done = attacker.run(kinds[name], connections, window_s)
            lines.write(json.dumps(done) + "\n")
            lines.flush()
        status = 0
    finally:
        os._exit(status)
