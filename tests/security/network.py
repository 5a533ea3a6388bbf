"""Positions that need a network: a second host beside this one in the form of a network namespace, and addresses of
this host. For attackers; tests/e2e/other_network.py does the same for end-to-end tests."""

import contextlib
import os
import subprocess

OURS, THEIRS = "10.213.77.1", "10.213.77.2"


def _ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=True)


class Link:
    """A pair of interfaces: OURS here, and THEIRS in the network of the process given to join(). It is removed with
    that process, or at the end."""

    def __init__(self):
        self.names = f"dm{os.getpid() % 100_000}a", f"dm{os.getpid() % 100_000}b"

    def __enter__(self):
        _ip("link", "add", self.names[0], "type", "veth", "peer", "name", self.names[1])
        _ip("address", "add", f"{OURS}/30", "dev", self.names[0])
        _ip("link", "set", self.names[0], "up")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.SubprocessError):
            _ip("link", "delete", self.names[0])

    @contextlib.contextmanager
    def join(self, pid):
        """Moves the other end into the network namespace of this process."""
        _ip("link", "set", self.names[1], "netns", str(pid))
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
        for command in (["address", "add", f"{THEIRS}/30", "dev", self.names[1]], ["link", "set", self.names[1], "up"]):
            subprocess.run([*inside, *command], check=True, capture_output=True, timeout=20)
        yield
        _ip("link", "set", self.names[0], "up")


def why_no_link():
    """Empty if this process can create a Link."""
    if os.geteuid() != 0:
        return "a second host needs a network namespace, which only root can create"
    try:
        with Link():
            return ""
    except (OSError, subprocess.SubprocessError) as error:
        return f"no pair of network interfaces can be created here: {getattr(error, 'stderr', '') or error}".strip()
