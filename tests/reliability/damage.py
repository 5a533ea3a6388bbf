"""Every truncation of a checkpoint, and single changed bits: each is refused with exit code 3."""

import concurrent.futures
import random
import subprocess

from job import error_lines, train_alone
from trial import Exhausted, Hang, Part
import small_runs

BITS = 10_000  # changed bits; besides every length
BATCH = 500  # damaged files of one trial
AT_ONCE = 2
LIST = 100  # files for one process
REFUSED = 3


def run(trial):
    content = checkpoint(trial)
    order = list(range(len(content) + BITS))
    random.Random("order").shuffle(order)
    mine = order[(trial.seed - 1) * BATCH:trial.seed * BATCH]
    if not mine:
        raise Exhausted
    check_sound(trial, content)
    files = {}
    for number in mine:
        path = trial.folder / f"damaged-{number}.safetensors"
        files[path] = write_damaged(path, content, number)
    accepted = [f"{what}: {said}" for path, what, said in not_refused(trial, files)]
    trial.did(f"{len(files)} damaged files", events=len(files))
    trial.check(not accepted, "\n".join(accepted[:20]))


def checkpoint(trial):
    """Of softmax and sgd: the smallest there is. It names no folder of this machine, so all campaigns have the same."""
    train_alone(trial, "--dataset=synthetic", "--data_dir=", "--optimizer=sgd", "--log_every=1000", steps=20,
                log_dir=trial.folder / "run")
    return small_runs.checkpoint_path(trial.folder / "run", 20).read_bytes()


def write_damaged(path, content, number):
    """Damage `number`: a length, or after those a changed bit. Returns what it is."""
    if number < len(content):
        path.write_bytes(content[:number])
        return f"cut to {number} bytes"
    rng = random.Random(number)
    # Half of the bits are in the header, which is small but has many different parts.
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    bit = rng.randrange(8 * rng.choice((header_bytes, len(content))))
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    return f"bit {bit % 8} of byte {bit // 8} changed"


def check_sound(trial, content):
    """The undamaged file is accepted, otherwise the refusals show nothing."""
    path = trial.folder / "sound.safetensors"
    path.write_bytes(content)
    ((_, _, said),) = not_refused(trial, {path: "sound"})
    trial.check("exit 0" in said, f"the sound checkpoint was not accepted: {said}")


def not_refused(trial, files):
    """[(path, what, outcome)] of the files that were not refused in good order."""
    check = check_list if can_verify(trial) else check_one
    size = LIST if can_verify(trial) else 1
    paths = list(files)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        batches = [paths[begin:begin + size] for begin in range(0, len(paths), size)]
        outcomes = pool.map(lambda batch: check(trial.program(), batch), batches)
        return [(path, files[path], said) for outcome in outcomes for path, said in outcome]


def call(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        raise Hang(f"{' '.join(map(str, command[:3]))} still ran after 60 s") from None


def check_one(program, paths):
    (path,) = paths
    done = call(program, "inspect", path)
    if done.returncode == REFUSED and len(error_lines(done.stderr)) == 1:
        return []
    return [(path, f"exit {done.returncode}: {(done.stderr or done.stdout)[-300:]}")]


def check_list(program, paths):
    """One process for many files: each refused file has an error line that names it."""
    done = call(program, "verify", *paths)
    if done.returncode not in (0, REFUSED):
        return [(path, f"exit {done.returncode} for the list: {done.stderr[-300:]}") for path in paths]
    refused = "\n".join(error_lines(done.stderr))
    return [(path, f"exit 0 of verify: {done.stdout[-300:]}") for path in paths if f"{path}:" not in refused]


def can_verify(trial):
    """The subcommand that checks a list of files, if this version of the program has it."""
    if not hasattr(can_verify, "known"):
        can_verify.known = "\n  verify " in call(trial.program(), "--help").stdout
    return can_verify.known


PARTS = [Part("damage", "every truncation and 10,000 changed bits of a checkpoint are refused", run, 45_000, 1000,
              unit="files")]
