"""What some parts need of the machine: root, small disks on loop devices, separate networks, strace, a C compiler. All
of it ends with this process, also if it is killed: mounts are in a mount namespace of the campaign, networks belong to
processes that die with it, and a helper thaws a frozen disk."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

from trial import Skip
import support

IN_NAMESPACE = "DISTMNIST_RELIABILITY_NAMESPACE"


def run(*command, **options):
    try:
        return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60,
                              **options).stdout
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(map(str, command))}: {error.stderr.strip() or error.returncode}") from None


def enter_namespace():
    """Starts this program again in a mount namespace of its own, in which a mount cannot outlive it. Without root it
    goes on here: no part mounts anything then."""
    if os.geteuid() != 0 or os.environ.get(IN_NAMESPACE) or not shutil.which("unshare"):
        return
    os.environ[IN_NAMESPACE] = "1"
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0:
        os.execvp(command[0], command)


def has_namespace():
    return os.environ.get(IN_NAMESPACE) == "1"


def why_no_tools(*names):
    missing = [name for name in names if not shutil.which(name)]
    return f"{', '.join(missing)} not installed" if missing else ""


def why_no_disks(*also):
    """Empty if this process can mount small disks."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    if not has_namespace():
        return "no mount namespace can be made here"
    if missing := why_no_tools("mount", "umount", "mkfs.ext4", *also):
        return missing
    return "" if os.path.exists("/dev/loop-control") else "there are no loop devices here"


# ---- Disks ----

@contextlib.contextmanager
def mounted(image, folder, *options):
    """Mounts the image of a disk."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    try:
        run("mount", "-o", ",".join(["loop", *options]), image, folder)
    except RuntimeError as error:
        raise Skip(f"a loop device cannot be mounted: {error}") from None
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder):
    if subprocess.run(["umount", str(folder)], capture_output=True).returncode != 0:
        # A process that is about to end still has a file open there: the mount goes with it.
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def make_image(path, mib, *options):
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    run("mkfs.ext4", "-q", "-F", *options, path)
    return path


class Freeze:
    """A frozen file system: nothing that is written there returns. A context manager. The helper thaws it when its
    standard input ends, and therefore also when this process is killed."""

    def __init__(self, folder):
        self.folder, self.helper = str(folder), None

    def __enter__(self):
        script = 'trap "" INT TERM HUP; fsfreeze --freeze "$1" && echo frozen; read -r _; fsfreeze --unfreeze "$1"'
        self.helper = subprocess.Popen(["sh", "-c", script, "sh", self.folder], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if self.helper.stdout.readline() != b"frozen\n":
            self.thaw()
            raise Skip("this file system cannot be frozen")
        return self

    def __exit__(self, *_):
        self.thaw()

    def thaw(self):
        if self.helper:
            self.helper.communicate()
            self.helper = None


# ---- Networks ----

@dataclasses.dataclass
class Host:
    name: str
    address: str
    enter: list  # a prefix for commands that run there
    port: str  # the interface of the switch


class Network:
    """Hosts at a switch, each in a network namespace of its own. A context manager."""

    def __init__(self, trial, names):
        self.trial, self.names, self.hosts = trial, names, {}

    def __enter__(self):
        self.switch = self._namespace("switch")
        self._ip("link", "add", "switch", "type", "bridge")
        self._ip("link", "set", "switch", "up")
        for number, name in enumerate(self.names):
            self.hosts[name] = self._add(name, f"10.213.79.{number + 1}", f"port{number}")
        return self

    def __exit__(self, *_):
        pass  # the namespaces end with the processes of the trial

    def _namespace(self, name):
        holder = self.trial.start(["unshare", "--net", "sh", "-c", "echo made; exec sleep 86400"], name=f"host-{name}")
        support.wait_until(lambda: holder.stdout or holder.popen.poll() is not None, "a network namespace")
        if not holder.stdout:
            raise Skip(f"no network namespace can be made here: {holder.stderr.strip()}")
        return holder

    def _ip(self, *arguments, inside=None, program="ip"):
        return run("nsenter", f"--net=/proc/{(inside or self.switch).pid}/ns/net", program, *arguments)

    def _add(self, name, address, port):
        holder = self._namespace(name.replace(":", ""))
        try:
            self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", holder.pid)
            self._ip("link", "set", port, "master", "switch", "up")
            self._ip("link", "set", "lo", "up", inside=holder)
            self._ip("address", "add", f"{address}/24", "dev", "eth0", inside=holder)
            self._ip("link", "set", "eth0", "up", inside=holder)
        except RuntimeError as error:
            raise Skip(f"no network can be made here: {error}") from None
        return Host(name, address, ["nsenter", f"--net=/proc/{holder.pid}/ns/net"], port)

    @contextlib.contextmanager
    def cut(self, name):
        """The switch drops what comes from and goes to this host. No interface goes down, so no end is told."""
        self._set_state(name, "0")  # disabled
        try:
            yield
        finally:
            self._set_state(name, "3")  # forwarding

    def _set_state(self, name, state):
        self._ip("link", "set", "dev", self.hosts[name].port, "state", state, program="bridge")


def why_no_networks():
    if os.geteuid() != 0:
        return "only root can make networks"
    return why_no_tools("ip", "bridge", "unshare", "nsenter")


# ---- Libraries that are loaded into the program ----

def preload(trial, source, **settings):
    """The environment of a process with this C file in front of the C library."""
    compiler = next(filter(shutil.which, (os.environ.get("CC", "cc"), "cc", "gcc", "clang")), None)
    if not compiler:
        raise Skip("there is no C compiler")
    library = trial.folder / (pathlib.Path(source).stem + ".so")
    run(compiler, "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).parent / source, "-ldl")
    return {"LD_PRELOAD": str(library), **{name: str(value) for name, value in settings.items()}}
