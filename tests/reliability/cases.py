"""Single losses at a chosen moment: one trial for each."""

import ctypes
import os
import pathlib
import re
import signal
import time

from job import Job
from losing_relay import LosingRelay
from trial import Exhausted, Part, Skip, wait_until
import machine
import small_runs

PTRACE_CONT, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 0x4206, 0x4207
WAIT_FOR_ALL = 0x40000000  # __WALL
TRIES = 20
TERMINATED, LOST, DIVERGED = 143, 138, 8


def run(trial):
    if trial.seed > len(CASES):
        raise Exhausted
    case = CASES[trial.seed - 1]
    trial.did(f"{case.__name__}: {case.__doc__.strip()}")
    case(trial)


def stop_job(trial, job, besides=()):
    for task in job.tasks.values():
        task.send(signal.SIGTERM)
    for name, task in job.tasks.items():
        code = task.wait()
        trial.check(name in besides or code == TERMINATED, f"{name} ended with {code}\n{task.tail()}")


def require_counted_batches(trial, job):
    """Of an asynchronous run: every push is in the checkpoint's parameters and in its positions, or in neither."""
    final = job.final_checkpoint()
    batches = sum(final.consumed_batches.values())
    trial.check(batches == final.global_step, f"{batches} batches in {final.global_step} steps")


# ---- Requests and pushes ----

def unanswered(trial):
    """a push that never reaches a living ps is noticed and repeated"""
    answer_s = 2
    job = Job(trial, 1, 2, f"--answer_secs={answer_s}")
    job.start_task("ps", 0)
    relay = LosingRelay(job.ps_ports[0])
    trial.cleanups.callback(relay.close)
    job.start_task("worker", 0)
    job.ps_ports = [relay.port]
    job.start_task("worker", 1)
    job.wait_for_progress()
    relay.lose = 1
    wait_until(lambda: relay.lost, "a push through the relay")
    begin = time.monotonic()
    time.sleep(0.2)
    resumed = job.wait_for_progress(["worker:1"])
    trial.measure("lost push repeated", resumed - begin)
    said = job.said("worker:1")
    trial.check("has not answered a request" in said or "does not answer requests" in said,
                f"no log line about the unanswered request\n{job.tasks['worker:1'].tail()}")
    trial.check(resumed - begin < 2 * answer_s + 5, f"the work went on only after {resumed - begin:.1f} s")
    stop_job(trial, job)
    require_counted_batches(trial, job)


def half_push(trial):
    """a worker dies when its push has reached one of two ps tasks; the chief goes on saving"""
    job = Job(trial, 2, 2, "--max_to_keep=0").start_and_wait()
    for _ in range(3):
        job.tasks["ps:1"].send(signal.SIGSTOP)
        time.sleep(trial.rng.uniform(0.3, 0.8))
        job.tasks["worker:1"].kill()
        job.tasks["ps:1"].send(signal.SIGCONT)
        saves = len(job.acknowledged())
        begin = time.monotonic()
        wait_until(lambda: len(job.acknowledged()) >= saves + 2, "two more saves", 30)
        trial.measure("two saves after a half push", time.monotonic() - begin)
        job.start_named("worker:1")
        job.wait_for_progress()
    stop_job(trial, job)
    job.require_valid_checkpoints()
    require_counted_batches(trial, job)


def lost_hello(trial):
    """a ps dies while a new worker's greeting waits for the probe of the old process"""
    job = Job(trial, 1, 2).start_and_wait()
    wait_until(job.acknowledged, "the first save")
    for pause_s in (0.0, 0.0, 0.3, 0.3):
        job.tasks["worker:1"].kill()
        worker = job.start_named("worker:1")
        time.sleep(trial.rng.uniform(0.1, 0.8))
        job.tasks["ps:0"].kill()
        time.sleep(pause_s)
        job.start_named("ps:0")
        begin = time.monotonic()
        wait_until(lambda: worker.stdout, "the first line of worker:1")
        trial.measure("worker after a lost greeting", time.monotonic() - begin)
        job.wait_for_progress()
    stop_job(trial, job)


# ---- The end ----

def done_then_ps(trial, *flags):
    """A worker is done and has left; then the ps is started again, and the chief reaches the end."""
    for number in range(TRIES):
        job = Job(trial, 1, 2, "--recovery_wait_secs=15", "--silence_secs=3", *flags, steps=6000,
                  log_dir=trial.folder / f"run-{number}")
        job.start()
        job.wait_for_progress(lines=1)
        if stop_before_done(trial, job, bool(flags)):
            break
        job.await_end()
    else:
        raise Skip(f"the chief was done before it could be stopped, {TRIES} times")
    job.tasks["ps:0"].kill()
    job.start_named("ps:0")
    time.sleep(0.3)
    job.tasks["worker:0"].send(signal.SIGCONT)
    begin = time.monotonic()
    job.await_end(80)
    trial.measure("end after a ps forgot who is done", time.monotonic() - begin)
    trial.check(job.final_checkpoint().global_step >= 6000, "the last checkpoint is not of the last step")


def stop_before_done(trial, job, together):
    """Stops the chief before it is done, and waits until worker 1 has ended. A synchronous run reaches the end with all
    workers, so the chief is stopped in the few milliseconds after its last step. False if that was too late."""
    chief, other = job.tasks["worker:0"], job.tasks["worker:1"]
    if together:
        with open(chief.err_path, "rb") as log:
            while b"trained until" not in log.read() and chief.popen.poll() is None:
                pass
    chief.send(signal.SIGSTOP)
    trial.check(other.wait() == 0, f"worker:1 ended with {other.popen.returncode}\n{other.tail()}")
    stopped = chief.popen.poll() is None and "worker:0 is done" not in job.said("ps:0")
    if not stopped:
        chief.send(signal.SIGCONT)
    return stopped


def done_then_ps_async(trial):
    """a ps that is started again after worker 1 was done: asynchronous"""
    done_then_ps(trial)


def done_then_ps_sync(trial):
    """a ps that is started again after worker 1 was done: synchronous"""
    done_then_ps(trial, "--sync_replicas")


def done_then_ps_wait(trial):
    """a ps that is started again after worker 1 was done: synchronous, --on_lost_worker=wait"""
    done_then_ps(trial, "--sync_replicas", "--on_lost_worker=wait")


def last_save(trial):
    """the chief dies after the last step, before its last save, and is started again"""
    job = Job(trial, 1, 2, "--save_model_secs=600", "--recovery_wait_secs=15", steps=3000)
    job.start()
    job.wait_for_progress(lines=1)
    chief = job.tasks["worker:0"]
    job.tasks["worker:1"].send(signal.SIGSTOP)  # the chief waits for it before the last save
    wait_until(lambda: "trained until" in chief.stderr, "the last step of the chief")
    chief.kill()
    job.start_named("worker:0")
    time.sleep(trial.rng.uniform(0, 1))
    job.tasks["worker:1"].send(signal.SIGCONT)
    job.await_end()
    saved = small_runs.checkpoint_steps(job.log_dir)
    trial.check(saved and saved[-1] >= 3000, f"all tasks ended with 0, but the last checkpoints are of steps {saved}")


def unsaved(trial):
    """SIGTERM of the chief while the ps does not answer: it does not claim to have saved"""
    job = Job(trial, 1, 1, "--save_model_secs=1000", "--silence_secs=3", "--recovery_wait_secs=3")
    job.start_and_wait()
    job.tasks["ps:0"].send(signal.SIGSTOP)
    time.sleep(0.5)
    chief = job.tasks["worker:0"]
    chief.send(signal.SIGTERM)
    begin = time.monotonic()
    code = chief.wait(60)
    trial.measure("SIGTERM without a ps", time.monotonic() - begin)
    saved = small_runs.checkpoint_steps(job.log_dir)
    trial.check(code != TERMINATED or saved, f"the chief ended with {code} and saved nothing\n{chief.tail()}")
    trial.check(code in (LOST, TERMINATED), f"the chief ended with {code}\n{chief.tail()}")


# ---- Pauses ----

def pause_ps(trial):
    """a ps that is stopped for longer than --recovery_wait_secs and the lease ends no task"""
    job = Job(trial, 1, 2, "--silence_secs=3", "--recovery_wait_secs=4").start_and_wait()
    job.tasks["ps:0"].send(signal.SIGSTOP)
    time.sleep(5.5)
    job.require_health()
    job.tasks["ps:0"].send(signal.SIGCONT)
    begin = time.monotonic()
    trial.measure("after a pause of the ps", job.wait_for_progress() - begin)
    time.sleep(5)  # the time after which a ps without workers ends
    job.require_health()


def hung(trial):
    """the computing thread of a worker hangs in a computation: the ps names the worker, and the job ends"""
    hang(trial, in_system_call=False)


def hung_in_exchange(trial):
    """the computing thread of a worker hangs in a system call: the ps names the worker, and the job ends"""
    hang(trial, in_system_call=True)


def hang(trial, in_system_call):
    job = Job(trial, 1, 2, "--stuck_secs=3", "--recovery_wait_secs=5", "--model=mnist_cnn", steps=600)
    job.start_and_wait()
    stop_thread(job.tasks["worker:1"].pid, in_system_call)
    begin = time.monotonic()
    wait_until(lambda: re.search(r"worker:1.*no progress", job.said("ps:0")), "a line of the ps about worker:1", 60)
    trial.measure("noticed that worker:1 hangs", time.monotonic() - begin)
    wait_until(lambda: not any(map(job.runs, job.tasks)), "the end of the job", 90)
    codes = {name: job.code(name) for name in job.tasks}
    trial.did(f"exit codes {codes}")
    trial.check(codes["worker:0"] == 0, f"exit codes {codes}\n{job.tails()}")
    trial.check(codes["worker:1"] == LOST, f"exit codes {codes}\n{job.tails()}")
    trial.check(codes["ps:0"] in (0, LOST), f"exit codes {codes}\n{job.tails()}")
    job.require_valid_checkpoints()


def stop_thread(tid, in_system_call):
    """Stops one thread of a process, outside or inside a system call; the others go on. It stays stopped while this
    process lives."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long

    def ptrace(request):
        if libc.ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    ptrace(PTRACE_SEIZE)
    for _ in range(1000):
        ptrace(PTRACE_INTERRUPT)
        os.waitpid(tid, WAIT_FOR_ALL)  # otherwise subprocess would take the stop for an end
        outside = pathlib.Path(f"/proc/{tid}/syscall").read_text().startswith("-1")
        if outside != in_system_call:
            return
        ptrace(PTRACE_CONT)
        time.sleep(0.003)
    raise Skip("the thread was not stopped at the wanted place")


# ---- Clocks ----

def clock(trial):
    """workers whose time of day is wrong: restarts take over as usual"""
    job = Job(trial, 1, 2, "--recovery_wait_secs=20").start_and_wait()
    for shift in (-60, 86_400, 0, -86_400):
        job.tasks["worker:1"].kill()
        environment = machine.preload(trial, "clock.c", CLOCK_SHIFT=shift) if shift else None
        worker = job.start_named("worker:1", env=environment)
        begin = time.monotonic()
        wait_until(lambda: worker.stdout or worker.popen.poll() is not None, f"worker:1 with a clock {shift} s off")
        trial.check(worker.popen.poll() is None, f"worker:1 with a clock {shift} s off ended\n{worker.tail()}")
        trial.measure("worker with a wrong clock", time.monotonic() - begin)
        job.wait_for_progress()
    stop_job(trial, job)


# ---- Diverged ----

def diverged(trial):
    """a run that diverges ends with 8 everywhere, and its checkpoints are finite"""
    job = Job(trial, 2, 2, "--model=mnist_cnn", "--optimizer=sgd", "--learning_rate=1e6", "--log_every=1")
    job.start()
    wait_until(lambda: not any(map(job.runs, job.tasks)), "the end of all tasks", 60)
    codes = {name: job.code(name) for name in job.tasks}
    trial.check(set(codes.values()) == {DIVERGED}, f"exit codes {codes}\n{job.tails()}")
    job.require_valid_checkpoints()


CASES = (unanswered, half_push, lost_hello, done_then_ps_async, done_then_ps_sync, done_then_ps_wait, last_save,
         unsaved, pause_ps, hung, hung_in_exchange, clock, diverged)
PARTS = [Part("cases", "single losses at a chosen moment", run, len(CASES), len(CASES), unit="cases")]
