"""Keys for the tasks of one run, made by the program: in a temporary folder for a run on this host, or as commands to
copy for a run on several hosts."""

import contextlib
import errno
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

from processes import EXIT_RESOURCES, EXIT_USAGE, UsageError, say

PRINTED_FOLDER = "distmnist-keys"


def keygen_command(binary, folder, cluster_flags):
    return [binary, "keygen", str(folder), *cluster_flags]


@contextlib.contextmanager
def keys_of_run(binary, cluster_flags):
    """Makes the keys and yields their folder, which only this user can access and which is removed at the end."""
    leave_on_signals()
    own = make_private_folder()
    try:
        folder = pathlib.Path(own) / "keys"
        try:
            made = subprocess.run(keygen_command(binary, folder, cluster_flags), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, check=False)
        except OSError as error:
            raise UsageError(f"could not make keys with {binary}: {error}") from error
        if made.returncode != 0:
            raise UsageError(f"could not make the keys of this run with {binary} keygen",
                             made.returncode if made.returncode > 0 else 128 - made.returncode)
        say(f"the keys of this run are in {folder} until it ends; reset and variable take --keys {shlex.quote(str(folder))}")
        yield folder
    finally:
        shutil.rmtree(own, ignore_errors=True)


def make_private_folder():
    try:
        return tempfile.mkdtemp(prefix="distmnist-keys-")
    except OSError as error:
        code = EXIT_RESOURCES if error.errno in (errno.ENOSPC, errno.EDQUOT) else EXIT_USAGE
        raise UsageError(f"could not make a folder for the keys of this run: {error.strerror}; choose a different "
                         "place with $TMPDIR",
                         code) from error


def leave_on_signals():
    """Until the cluster runs, which handles signals itself, a signal ends this process like an error, so that it cleans
    up."""

    def leave(number, frame):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)


def is_here(host):
    return host == "localhost" or host.startswith("127.") or host == "[::1]"


def folder_of(host):
    """The program's name for a host's folder."""
    return host.strip("[]").lower()


def printed_folder(host):
    """The folder for the tasks on a host after the printed commands were run. The program expands ~."""
    return PRINTED_FOLDER if is_here(host) else f"~/{folder_of(host)}"


def printed_lines(binary, hosts, cluster_flags):
    """The commands that make the keys and copy them to the hosts."""
    yield "# once, and first: the keys of all tasks, and each host's own to the host"
    yield shlex.join(keygen_command(binary, PRINTED_FOLDER, cluster_flags))
    for host in dict.fromkeys(hosts):
        if not is_here(host):
            yield shlex.join(["scp", "-rp", f"{PRINTED_FOLDER}/{folder_of(host)}", f"{host}:"])
