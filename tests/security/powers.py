"""Shows the statements in docs/security.md about what an allowed peer without a key can and cannot do to a job. Each
function is one statement; its docstring is shown in the table. It fails with an AssertionError. Attacks in large
numbers are in campaign.py."""

import os
import resource
import signal
import socket
import struct
import threading
import time

import attacker
import curve
import kinds
import network
import wire
from job import IN_STEP, MODEL, Job, checkpoint, small_runs, support, when

LITTLE_TIME_S = 20.0
MOST_NAMES_KIB = 48 * 1024  # for 64 containers with 1024 names of 255 bytes each, the largest number that a ps accepts
PIECES = ((0, 78_400), (78_400, 100), (78_500, 1_000), (79_500, 10))  # of --model=mlp: offset and size in numbers


class Unfit(Exception):
    """This machine or this user cannot show the statement."""


class Foe(attacker.Attacker):
    """An unauthorized peer in this process that keeps the answers that it gets."""

    def __init__(self, job, hello, **target):
        given = dict(flag[2:].partition("=")[::2] for flag in job.flags)
        hello = hello_with(hello, train_steps=given["train_steps"], on_nan=given.get("on_nan", "fail"),
                           staleness=given.get("staleness", "keep"),
                           sync_replicas="true" if "sync_replicas" in given else "false")
        hello = hello._replace(num_ps=job.num_ps)
        super().__init__(attacker.Target(job.host, job.port, hello, job.server_key(), **target), 1)

    def greets(self, worker=1, chief=False, **fields):
        """(connection, values of the first relevant answer, its payload)"""
        peer = self.peer()
        fields = {"incarnation": self.number(), "sequence": 1, **fields}
        peer.say("hello", wire.hello_record(self.target.hello._replace(chief=chief)), worker=worker, **fields)
        got = peer.receive_until(("welcome", "refuse"))
        assert got, "a greeting was not answered"
        return peer, {**got[0], **fields, "worker": worker}, got[1]

    def takes_part(self, worker=1, chief=False, **fields):
        """(connection, the header fields of its session)"""
        peer, told, payload = self.greets(worker, chief, **fields)
        assert wire.NAMES[told["type"]] == "welcome", wire.read_refusal(payload)
        return peer, {name: told[name] for name in ("worker", "incarnation", "lease", "ps_epoch", "run")}


def floats(payload):
    return struct.unpack(f"<{len(payload) // 4}f", payload)


def pull(peer, session, sequence):
    """(values of a header, all parameters' bytes)"""
    peer.say("pull", sequence=sequence, **session)
    return parameters(peer)


def parameters(peer):
    """The parameters from the answers that arrive."""
    found = {}
    while len(found) < len(PIECES):
        got = peer.receive_until(("parameters",))
        assert got, "no parameters arrived"
        found[got[0]["range_offset"]] = got
    return found[0][0], b"".join(found[offset][1] for offset, _ in PIECES)


def push(peer, session, value, step, sequence=3):
    for offset, size in PIECES:
        peer.say("push", struct.pack("<f", value) * size, dtype=wire.F32, range_offset=offset, range_size=size, step=step,
                 samples=100, sequence=sequence, **session)


def refused_with(got):
    """The exit code of a refusal; None for any other answer."""
    return wire.read_refusal(got[1])[0] if got and got[0].get("type") == wire.TYPES["refuse"] else None


def half_a_job(program, name, *flags, in_step=False, **options):
    """A job without worker:1."""
    job = Job(program, name, flags=(*(IN_STEP if in_step else MODEL), *flags), **options)
    return job.start("ps:0", "worker:0")


class Pings(threading.Thread):
    """Keeps a session alive and answers probes, like a worker's heartbeat."""

    def __init__(self, peer, session):
        super().__init__(daemon=True)
        self.peer, self.session, self.on = peer, session, True
        self.start()

    def run(self):
        while self.on:
            try:
                self.peer.say("ping", **self.session)
                self.peer.receive(0.1)
            except (wire.Closed, TimeoutError, OSError):
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.on = False
        self.join(5)


# ---- It can ----

def takes_a_free_task(program, hello):
    """can: take a free task, read the parameters, push a finite gradient; the log has its address"""
    with half_a_job(program, "free_task") as job:
        job.wait_for_steps(20)
        peer, session = Foe(job, hello).takes_part()
        assert len(pull(peer, session, 2)[1]) == 4 * sum(size for _, size in PIECES)
        job.tasks["worker:0"].send(signal.SIGSTOP)  # so that only the attacker changes the parameters
        try:
            time.sleep(0.2)
            values, before = pull(peer, session, 3)
            push(peer, session, 1.0, values["step"], sequence=4)
            later, after = parameters(peer)
            assert later["commit"] == values["commit"] + 1 and after != before
        finally:
            job.tasks["worker:0"].send(signal.SIGCONT)
        assert when(lambda: any("worker:1" in line and job.host in line for line in job.ps.stderr.splitlines()), 2), job.ps.stderr


def keeps_a_free_task(program, hello):
    """can: hold a free task, whose own worker is then refused because the task is in use (exit 6)"""
    with half_a_job(program, "held_task") as job:
        job.wait_for_steps(20)
        peer, session = Foe(job, hello).takes_part()
        with Pings(peer, session):
            own = job.start_task("worker:1")
            assert own.wait(LITTLE_TIME_S) == 6, own.tail()
            assert "already running" in own.stderr
        peer.close()
        job.wait_for_steps(20)
        job.start_task("worker:1")  # after it has left, the task is free again within a second
        job.wait_for_steps(20, "worker:1")


def holds_the_others_up(program, hello):
    """can: make the others wait, as a synchronous worker that never pushes; they log which worker they wait for"""
    with half_a_job(program, "slow_worker", in_step=True) as job:
        job.ps.wait_for("model ready")
        peer, session = Foe(job, hello).takes_part()
        with Pings(peer, session):
            peer.say("join", sequence=2, **session)
            assert when(lambda: "waiting for worker:1" in job.tasks["worker:0"].stderr, LITTLE_TIME_S), job.said()
        peer.say("leave", **session)
        peer.close()
        job.start_task("worker:1")
        job.wait_for_steps(100)


def ends_a_run_with_a_bad_gradient(program, hello):
    """can: end a run with a gradient that is not finite, from a free task (exit 8); no checkpoint contains it"""
    with half_a_job(program, "not_finite", "--save_model_secs=1") as job:
        job.wait_for_steps(20)
        assert when(lambda: small_runs.checkpoint_steps(job.log_dir), LITTLE_TIME_S)
        peer, session = Foe(job, hello).takes_part()
        push(peer, session, float("nan"), 1)
        assert refused_with(peer.receive_until(("refuse",))) == 8
        peer.say("leave", **session)
        codes = {task: process.wait(LITTLE_TIME_S) for task, process in job.tasks.items()}
        assert set(codes.values()) == {8}, (codes, job.said())
        assert "worker:1" in job.ps.stderr
        for step in small_runs.checkpoint_steps(job.log_dir):
            for values in checkpoint(job.log_dir, step).values():
                assert all(abs(value) < 1e15 for value in floats(values))


def skips_its_bad_gradients(program, hello):
    """can: with --on_nan=skip have bad gradients dropped; the tenth in a row ends the run (exit 8)"""
    with half_a_job(program, "skipped", "--on_nan=skip") as job:
        job.wait_for_steps(20)
        peer, session = Foe(job, hello).takes_part()
        peer.say("join", sequence=2, **session)
        values, _ = parameters(peer)
        for number, value in enumerate((float("nan"), float("inf"), -float("inf"), 1e22, -3e38)):
            push(peer, session, value, values["step"], sequence=3 + number)
            peer.say("commit", sequence=3 + number, step=values["step"], commit=values["commit"], samples=100, **session)
            values, after = parameters(peer)
            assert all(abs(number) < 1e6 for number in floats(after)), value
        job.wait_for_steps(100)
        for sequence in range(8, 13):
            if sequence > 8:
                values, _ = parameters(peer)
            push(peer, session, float("nan"), values["step"], sequence=sequence)
            peer.say("commit", sequence=sequence, step=values["step"], commit=values["commit"], samples=100, **session)
        got = peer.receive_until(("refuse",))
        assert refused_with(got) == 8, got
        peer.say("leave", **session)
        codes = {task: process.wait(LITTLE_TIME_S) for task, process in job.tasks.items()}
        assert set(codes.values()) == {8}, (codes, job.said())


def ends_a_run_by_saying_that_it_failed(program, hello):
    """can: report that the run has failed, which ends it for all (exit 8)"""
    with half_a_job(program, "said_to_fail") as job:
        job.wait_for_steps(20)
        peer, session = Foe(job, hello).takes_part()
        peer.say("leave", wire.refuse_record(8, "the loss is \x1b[2J nan"), **session)
        codes = {task: process.wait(LITTLE_TIME_S) for task, process in job.tasks.items()}
        assert set(codes.values()) == {8}, (codes, job.said())
        assert "\x1b" not in job.said()


def commits_no_more_than_its_share(program, hello):
    """cannot: push twice in a synchronous step, or in a future step"""
    with half_a_job(program, "share", in_step=True) as job:
        job.ps.wait_for("model ready")
        peer, session = Foe(job, hello).takes_part()
        peer.say("join", sequence=2, **session)
        values, _ = parameters(peer)
        for sequence in range(3, 53):
            push(peer, session, 0.0, values["step"] + sequence % 2, sequence=sequence)
            peer.say("commit", sequence=sequence, step=values["step"] + sequence % 2, commit=values["commit"], samples=100,
                     **session)
        seen, _ = parameters(peer)
        assert seen["step"] <= values["step"] + 1, (values, seen)
        peer.say("leave", **session)
        peer.close()
        job.start_task("worker:1")
        job.wait_for_steps(100)


def leaves_a_task_that_was_said_to_be_done(program, hello):
    """cannot: make a task count as done for a later process"""
    with half_a_job(program, "done_before", in_step=True) as job:
        job.ps.wait_for("model ready")
        foe = Foe(job, hello)
        peer, session = foe.takes_part()
        peer.ask("done", sequence=2, timeout_s=3, **session)
        peer.say("leave", **session)
        peer.close()
        job.start_task("worker:1")
        job.wait_for_steps(100)
        _, _, payload = foe.greets(1)
        assert wire.read_refusal(payload)[0] == 6, payload
        job.wait_for_steps(100)


def hello_with(hello, **flags):
    changed = {f"--{name}".encode(): value.encode() for name, value in flags.items()}
    return hello._replace(fingerprint=tuple((name, changed.get(name, value)) for name, value in hello.fingerprint))


def resets_from_the_same_host(program, hello):
    """can: reset a run from the ps's own host, as any user there; the log names the sender"""
    with half_a_job(program, "own_host") as job:
        job.wait_for_steps(20)
        done = Foe(job, hello).peer().ask("reset", wire.reset_record(), incarnation=7, sequence=1, timeout_s=3)
        assert done[0]["type"] == wire.TYPES["reset_done"]
        assert job.tasks["worker:0"].wait(LITTLE_TIME_S) == 5, job.said()
        assert f"reset by {job.host}" in job.ps.stderr, job.ps.stderr
        assert job.ps.popen.poll() is None


def is_the_chief_first(program, hello):
    """can: be the chief before the real chief, which is then refused (exit 6); sizes that it names take no memory"""
    with Job(program, "first_chief", flags=MODEL) as job:
        job.start("ps:0").ps.wait_for("listening on")
        big = 1 << 29  # 2 GiB
        peer, session = Foe(job, hello._replace(num_parameters=big)).takes_part(0, chief=True)
        before = job.peak_kib()
        session["run"] = 99
        record = wire.create_record([("x", 0, big)])
        peer.say("create", record, sequence=2, **session)
        peer.say("load", bytes(4 * 1000), dtype=wire.F32, range_size=1000, sequence=2, **session)
        peer.say("create_end", sequence=2, **session)
        with Pings(peer, session):
            chief = job.start_task("worker:0")
            assert chief.wait(LITTLE_TIME_S) == 6, chief.tail()
            assert job.peak_kib() - before < 16 * 1024, job.peak_kib() - before
        peer.say("leave", **session)
        peer.close()
        job.start_task("worker:0")
        job.wait_for_steps(20)


# ---- It cannot ----

def is_no_second_chief(program, hello):
    """cannot: be a second chief, or do what only the chief may do as a different worker"""
    with half_a_job(program, "second_chief") as job:
        job.wait_for_steps(20)
        foe = Foe(job, hello)
        _, _, payload = foe.greets(0, chief=True)
        assert wire.read_refusal(payload)[0] == 6, payload
        _, _, payload = foe.greets(1, chief=True)
        assert wire.chief_of(payload) == 0, payload
        for kind, *payload in (("create", wire.create_record([("x", 0, 10)])), ("create_end",), ("snapshot_begin",),
                               ("snapshot_take", wire.updates_record()), ("await_others",)):
            peer, session = foe.takes_part()
            got = peer.ask(kind, *payload, sequence=2, timeout_s=3, **session)
            assert refused_with(got) == 2, (kind, got)
            peer.close()
        job.wait_for_steps(100)


def stops_nothing_with_done(program, hello):
    """cannot: end the ps or the other workers by reporting that it is done"""
    with half_a_job(program, "done", steps=2000) as job:
        job.wait_for_steps(20)
        foe = Foe(job, hello)
        peer, session = foe.takes_part()
        # It is answered when the chief is done.
        assert wire.NAMES[peer.ask("done", sequence=2, timeout_s=3, **session)[0]["type"]] == "notice"
        assert job.tasks["worker:0"].wait(support.LONG_DEADLINE_S) == 0, job.said()
        assert job.ps.wait(LITTLE_TIME_S) == 0
        assert small_runs.checkpoint_steps(job.log_dir) == [2000]


def locks_nobody_out(program, hello):
    """cannot: keep a task that it has left, whatever numbers it has used"""
    for incarnation in (2**64 - 1, 2**63, 1):
        with half_a_job(program, "locked_out") as job:
            job.wait_for_steps(20)
            peer, session = Foe(job, hello).takes_part(incarnation=incarnation, sequence=2**64 - 1)
            push(peer, session, 0.0, 1, sequence=2**64 - 1)
            peer.receive(1)
            peer.close()
            job.start_task("worker:1")
            job.wait_for_steps(20, "worker:1")


def speaks_for_no_other(program, hello):
    """cannot: act as a live worker, even with everything that it is told in its own task"""
    with half_a_job(program, "other", in_step=True) as job:
        job.ps.wait_for("model ready")
        foe = Foe(job, hello)
        peer, session = foe.takes_part()
        peer.say("join", sequence=2, **session)
        told = peer.receive_until(("token",))
        assert not list(pushes_of_token(told[1])), "a token names pushes of other workers"
        other = foe.peer()
        leases = set()
        for kind in ("ping", "leave", "done", "pull"):
            got = other.ask(kind, worker=0, incarnation=foe.number(), ps_epoch=session["ps_epoch"], run=session["run"],
                            sequence=1, timeout_s=2)
            assert got and got[0]["type"] == wire.TYPES["stale"], (kind, got)
            leases.add(got[0]["lease"])
        assert leases == {0}, "an answer contains the lease of a worker"
        peer.say("leave", **session)
        job.wait_for_steps(100)


def borrows_no_process(program, hello):
    """cannot: act as a worker whose process it was told, as members of a job with several ps tasks are"""
    with Job(program, "borrowed", flags=[*MODEL, "--staleness=drop:1000"], num_ps=2) as job:
        job.start("ps:0", "ps:1", "worker:0")
        job.wait_for_steps(20)
        foe = Foe(job, hello)
        peer, session = foe.takes_part()
        borrowed, end = set(), time.monotonic() + LITTLE_TIME_S
        sequence = 2
        while not borrowed and time.monotonic() < end:  # each token names the updates in progress
            peer.say("join", sequence=sequence, **session)
            token = peer.receive_until(("token",))[1]
            borrowed = {incarnation for worker, incarnation in pushes_of_token(token) if worker == 0}
            sequence += 1
        assert borrowed, "no token named the process of worker:0"
        for incarnation in borrowed:
            other, answer, payload = foe.greets(0, chief=True, incarnation=incarnation)
            assert refused_with((answer, payload)) == 6, answer
            for kind in ("ping", "leave", "done", "create_end", "pull"):
                got = foe.peer().ask(kind, worker=0, incarnation=incarnation, ps_epoch=session["ps_epoch"],
                                     run=session["run"], sequence=1, timeout_s=2)
                assert got and got[0]["type"] == wire.TYPES["stale"], (kind, got)
            other.close()
        peer.say("leave", **session)
        job.wait_for_steps(100)


def pushes_of_token(record):
    """(worker, incarnation) of the pushes that a TokenRecord names."""
    at = 1 + 1 + 8 + 4 + 8
    (updates,) = struct.unpack_from("<I", record, at)
    at += 4
    for _ in range(updates):
        (pushes,) = struct.unpack_from("<I", record, at + 8 + 4)
        at += 8 + 4 + 4
        for _ in range(pushes):
            worker, incarnation, _ = struct.unpack_from("<IQQ", record, at)
            at += 4 + 8 + 8
            yield worker, incarnation


def resets_nothing_from_afar(program, hello):
    """cannot: reset a run from a different host (refused with 9)"""
    if why := network.why_no_link():
        raise Unfit(why)

    def reset(foe):
        got = foe.ask(foe.peer(), "reset", wire.reset_record(), incarnation=7, sequence=1)
        foe.counts["nine"] = int(refused_with(got) == 9)

    with network.Link() as link, Job(program, "afar", network.OURS, MODEL) as job:
        job.start_task("ps:0", f"--allow={network.THEIRS}")
        job.start("worker:0", "worker:1")
        job.wait_for_steps(20)
        target = attacker.Target(job.host, job.port, hello)
        foe = attacker.Process(target, {"reset": reset}, 1, own_network=True)
        try:
            foe.result()
            with link.join(foe.pid):
                foe.ask("reset", 1, 1.0)
                done = foe.result()
        finally:
            foe.close()
        assert done["counts"].get("nine") == 1, done
        job.wait_for_steps(100)


def takes_no_descriptors(program, hello):
    """cannot: exclude a worker with connections up to the limit on descriptors, over TCP or the Unix socket"""
    _fill_connections(program, hello, lambda foe: foe.hold(foe.raw()))


def keeps_no_descriptors(program, hello):
    """cannot: do the same with valid greetings for tasks that are in use"""

    def greet(foe):
        peer = foe.peer()
        foe.hold(peer)
        foe.greet(peer, 1)

    _fill_connections(program, hello, greet)


def _fill_connections(program, hello, come):
    most = 256

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    for unix in (False, True):
        with Job(program, "descriptors", flags=MODEL) as job:
            job.start_task("ps:0", preexec_fn=limit)
            job.start("worker:0", "worker:1")
            job.wait_for_steps(20, "worker:1")
            before = job.descriptors()
            foe = Foe(job, hello, unix=unix)
            for _ in range(2 * most):
                try:
                    come(foe)
                except (wire.Closed, TimeoutError):
                    foe.counts["cut"] += 1
            time.sleep(0.5)  # waiting greetings have been refused by now
            job.tasks["worker:1"].kill()
            job.start_task("worker:1")
            job.wait_for_steps(20, "worker:1")
            job.wait_for_steps(20)
            for peer in foe.held:
                peer.close()
            # The workers' heartbeats may have connected after the first count.
            assert when(lambda: job.descriptors() <= before + 2, LITTLE_TIME_S), (before, job.descriptors())


def spreads_one_session_thin(program, hello):
    """cannot: use up the connections of a ps with those of one task that it has"""
    with half_a_job(program, "one_session") as job:
        job.wait_for_steps(20)
        foe = Foe(job, hello)
        peer, session = foe.takes_part()
        foe.hold(peer)
        before = job.descriptors()
        for _ in range(200):
            more = foe.peer()
            foe.hold(more)
            more.ask("ping", **session)
        time.sleep(6)  # connections without a greeting end after 5 s
        assert job.descriptors() - before <= 16, (before, job.descriptors())
        for held in foe.held:
            held.close()
        job.wait_for_steps(20)


def fills_a_ps_with_names(program, hello):
    """can: fill a ps with --ps_stay with variable names up to its limits: tens of MiB"""
    with Job(program, "questions", flags=MODEL) as job:
        job.start_task("ps:0", "--ps_stay").wait_for("listening on")
        peer = Foe(job, hello).peer()
        before = job.peak_kib()
        for container in range(64):
            for number in range(1024):
                name = f"{number:04}".ljust(255, "x")
                record = wire.variable_record("init", name, f"c{container}")
                peer.say("variable", record, checked=False, incarnation=number + 1, sequence=container)
                if container == number == 0:
                    assert peer.receive(3)
            while peer.receive(0.05):
                pass
        grown = job.peak_kib() - before
        assert grown < MOST_NAMES_KIB, f"{grown} KiB more"


def gets_nothing_by_squatting(program, hello):
    """cannot: intercept messages by taking the Unix socket's name as a different user; the ps logs it, TCP is used"""
    if os.geteuid() != 0:
        raise Unfit("this needs a different user, and only root can become one")
    with Job(program, "squatter", flags=IN_STEP) as job:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            _squat(wire.unix_name(job.host, job.port), theirs)
        os.close(theirs)
        try:
            assert os.read(ours, 1) == b"!"
            job.start()
            job.wait_for_steps(200)
            assert f"user {attacker.NOBODY}" in job.ps.stderr or "nobody" in job.ps.stderr, job.ps.stderr
            assert "TCP" in job.ps.stderr
            os.set_blocking(ours, False)
            try:
                read = os.read(ours, 1 << 16)
            except BlockingIOError:
                read = b""
            assert read == b"", f"{len(read)} bytes were intercepted"
            codes, _ = job.stop()
            assert set(codes.values()) == {143}, codes
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ours)


def _squat(name, pipe):
    """Writes "!" when it listens, and then every byte that it receives."""
    try:
        os.setgroups([])
        os.setgid(attacker.NOBODY)
        os.setuid(attacker.NOBODY)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen(20)
        os.write(pipe, b"!")
        while True:
            guest, _ = listener.accept()
            guest.settimeout(2)
            try:
                while got := guest.recv(1 << 16):
                    os.write(pipe, got)
            except OSError:
                pass
    finally:
        os._exit(1)


def speaks_with_its_own_key_only(program, hello):
    """cannot: act for a different task with the key of one task, or reset; the key of a ps grants no access"""
    if not curve.SODIUM:
        raise Unfit("libsodium was not found")
    with Job(program, "keys", flags=IN_STEP, secure=True) as job:
        job.start()
        job.wait_for_steps(20)
        for key, kind, record, worker in (("worker-1", "hello", wire.hello_record(hello._replace(chief=True)), 0),
                                          ("worker-1", "ping", b"", 0), ("worker-1", "reset", wire.reset_record(), 0),
                                          ("admin", "hello", wire.hello_record(hello), 1),
                                          ("admin", "push", b"", 1), ("ps-0", "reset", wire.reset_record(), 0)):
            foe = Foe(job, hello, own_keys=job.key_of(key))
            try:
                got = foe.peer().ask(kind, record, worker=worker, incarnation=9, sequence=1, timeout_s=3)
                assert refused_with(got) == 9, (key, kind, got)
            except (wire.Closed, curve.Broken):
                assert key == "ps-0", (key, kind)
        job.wait_for_steps(100)


def changes_no_run_from_its_first_moment_on(program, hello):
    """cannot: change a run that is attacked from before its ps listens until its end; exit codes 0"""
    steps = 2000
    with Job(program, "whole_run", flags=IN_STEP, steps=steps) as job, Job(program, "undisturbed") as other:
        target = attacker.Target(job.host, job.port, hello_with(hello, train_steps=str(steps)))
        foe = attacker.Process(target, {"mixture": kinds.mixture(kinds.BEFORE_THE_END)}, 11)
        try:
            foe.result()
            foe.ask("mixture", 100_000, 1000.0)
            job.start()
            codes = {task: process.wait(support.LONG_DEADLINE_S) for task, process in job.tasks.items()}
        finally:
            foe.close()
        assert set(codes.values()) == {0}, (codes, job.said())
        other.run("--num_workers=2", "--num_ps=1", *IN_STEP, f"--train_steps={steps}", f"--log_dir={other.log_dir}")
        assert checkpoint(job.log_dir, steps) == checkpoint(other.log_dir, steps), "the bits differ"


ALL = (takes_a_free_task, keeps_a_free_task, holds_the_others_up, ends_a_run_with_a_bad_gradient, resets_from_the_same_host,
       is_the_chief_first, skips_its_bad_gradients, ends_a_run_by_saying_that_it_failed, is_no_second_chief,
       commits_no_more_than_its_share, leaves_a_task_that_was_said_to_be_done, stops_nothing_with_done, locks_nobody_out,
       speaks_for_no_other, borrows_no_process, resets_nothing_from_afar, takes_no_descriptors, keeps_no_descriptors, spreads_one_session_thin,
       fills_a_ps_with_names, gets_nothing_by_squatting, speaks_with_its_own_key_only,
       changes_no_run_from_its_first_moment_on)
