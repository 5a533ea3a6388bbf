"""A second host in the form of a network namespace, for tests in which a connection must come from a different network.
Needs root and the program ip."""
import contextlib
import dataclasses
import os
import subprocess


@dataclasses.dataclass
class Network:
    here: str  # this host's address
    there: str  # the address of the second host
    enter: list  # a prefix for commands that run on the second host


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def other_network():
    """A Network, or None if it cannot be created."""
    name = f"dm{os.getpid() % 100_000}"
    network = Network("10.213.78.1", "10.213.78.2", ["ip", "netns", "exec", name])
    try:
        _ip("netns", "add", name)
        try:
            _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
            _ip("address", "add", f"{network.here}/30", "dev", f"{name}a")
            _ip("link", "set", f"{name}a", "up")
            _ip("-n", name, "address", "add", f"{network.there}/30", "dev", f"{name}b")
            _ip("-n", name, "link", "set", f"{name}b", "up")
        except (OSError, subprocess.SubprocessError):
            _ip("netns", "delete", name)
            raise
    except (OSError, subprocess.SubprocessError):
        yield None
        return
    try:
        yield network
    finally:
        _ip("netns", "delete", name)
