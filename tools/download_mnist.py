#!/usr/bin/env python3
"""Downloads MNIST: four .gz files, from the first mirror that has them.

Run it again to resume an interrupted download. Downloaded files are decompressed and compared with the published MD5
sums before they get their names. Files that already exist and are valid are not changed.

Exit codes: 0 done, 2 usage, 3 no mirror could provide the files (or the folder has a different data set), 6 another
download is writing to the folder, 7 no space, 130 interrupted.
"""

import argparse
import collections
import contextlib
import errno
import fcntl
import gzip
import hashlib
import http.client
import os
import pathlib
import pwd
import signal
import sys
import time
import urllib.error
import urllib.request
import zlib

# md5 and size_bytes are of the decompressed file, because some mirrors compress the archives again.
MnistFile = collections.namedtuple("MnistFile", "name md5 size_bytes")

FILES = (
    MnistFile("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", 47040016),
    MnistFile("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 60008),
    MnistFile("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 7840016),
    MnistFile("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 10008),
)

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)

CHUNK_BYTES = 64 * 1024
MAX_RESUMES = 3  # of one file from one mirror, after the connection broke

VALID, OTHER, BROKEN = "valid", "other", "broken"


class DownloadError(Exception):
    """The error as one sentence, and its exit code."""

    def __init__(self, message, exit_code=3):
        super().__init__(message)
        self.exit_code = exit_code


class MirrorError(Exception):
    """This mirror cannot provide the file; the next one may."""


class CutError(MirrorError):
    """The connection broke before the end of the file."""


def default_dir():
    """The cache of the program (the same rule as cache_folder in tools/environment.h); None if there is none."""
    cache, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    if not cache.startswith("/"):
        with contextlib.suppress(KeyError):
            home = home if home.startswith("/") else pwd.getpwuid(os.geteuid()).pw_dir
        cache = home + "/.cache" if home.startswith("/") else ""
    return pathlib.Path(cache) / "distmnist" / "mnist" if cache else None


def main(argv=None):
    parser = argparse.ArgumentParser(description="Downloads MNIST and checks it.")
    parser.add_argument("--dir", type=lambda text: pathlib.Path(text).expanduser(), default=None,
                        help="the folder for the files (default: $XDG_CACHE_HOME/distmnist/mnist or "
                             "~/.cache/distmnist/mnist)")
    parser.add_argument("--mirror", action="extend", nargs="+", metavar="URL", default=[],
                        help="URLs of folders to download from, in this order, instead of the built-in ones")
    parser.add_argument("--timeout", type=float, default=20, metavar="S",
                        help="seconds that a mirror may be silent (default: 20)")
    parser.add_argument("--print_dir", action="store_true", help="only print that folder")
    options = parser.parse_args(argv)
    if not options.timeout > 0:
        parser.error("--timeout %g: it must be above 0" % options.timeout)
    folder = options.dir or default_dir()
    if folder is None:
        parser.error("no $HOME and no home in the password file: name a folder with --dir")
    if options.print_dir:
        print(folder)
        return 0
    if folder == default_dir():
        os.umask(os.umask(0) | 0o022)  # the program does not use a cache that other users can write
    try:
        download_all(folder, FILES, options.mirror or MIRRORS, options.timeout)
    except DownloadError as error:
        print("download_mnist.py: error: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ndownload_mnist.py: interrupted; run it again to continue", file=sys.stderr)
        return 130
    print("MNIST is in %s" % folder)
    return 0


def download_all(folder, files, mirrors, timeout_s):
    """Makes sure that all of `files` are present and valid in `folder`. Raises DownloadError."""
    with local_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for file in files:
            if already_there(folder, file):
                say("%s: already there" % file.name)
            else:
                download(folder, file, mirrors, timeout_s)


def already_there(folder, file):
    """True for a valid file, plain or .gz. An intact file with different content belongs to a different data set and is
    never overwritten."""
    for path in (folder / file.name, folder / (file.name + ".gz")):
        if not path.is_file():  # some archives unpack into a folder with the file's name
            continue
        with local_errors(path):
            state = check(path, file)
        if state == VALID:
            return True
        if state == OTHER:
            raise DownloadError("%s exists, but it is not the MNIST file: move it away, or choose a different --dir"
                                % path)
        say("%s is broken and will be replaced" % path)
    return False


def download(folder, file, mirrors, timeout_s):
    """Tries the mirrors in turn until one provides a valid file."""
    path, part = folder / (file.name + ".gz"), folder / (file.name + ".gz.part")
    reasons = []
    for number, mirror in enumerate(mirrors, 1):
        url = mirror.rstrip("/") + "/" + path.name
        try:
            fetch_valid(url, part, file, timeout_s)
        except MirrorError as error:
            reasons.append("%s: %s" % (url, error))
            if number < len(mirrors):
                say("%s; trying the next mirror" % reasons[-1])
            continue
        with local_errors(path):
            os.replace(part, path)
        say("%s: downloaded from %s" % (file.name, mirror))
        return
    raise DownloadError("cannot download %s from any of %d mirrors (%s); check the network, or name a different mirror "
                        "with --mirror" % (file.name, len(mirrors), "; ".join(reasons)))


def fetch_valid(url, part, file, timeout_s):
    """Leaves a valid file in `part`. A wrong resumed file may be a mix of two archives, so it is downloaded once
    more."""
    for _ in range(2):
        resumed = fetch_whole(url, part, file, timeout_s)
        with local_errors(part):
            if check(part, file, compressed=True) == VALID:
                return
            part.unlink()
        if not resumed:
            break
        say("%s: the resumed file is wrong; downloading it from the start" % file.name)
    raise MirrorError("its content is not that of MNIST (wrong checksum)")


def fetch_whole(url, part, file, timeout_s):
    """fetch() that continues if the connection breaks. True if bytes from before were used."""
    for resumes_left in range(MAX_RESUMES, -1, -1):
        try:
            return fetch(url, part, file, timeout_s) or resumes_left < MAX_RESUMES
        except CutError as error:
            if not resumes_left:
                raise
            say("%s: %s; continuing from there" % (url, error))


def fetch(url, part, file, timeout_s):
    """Downloads `url` to the end of `part`. True if bytes from before were used."""
    with local_errors(part):
        have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "distmnist", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = "bytes=%d-" % have
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s) as response:
            resumed = have > 0 and starts_at(response, have)
            receive(response, part, have if resumed else 0, file)
            return resumed
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing follows our bytes: the check shows if they are complete
            return True
        raise MirrorError("HTTP status %d" % error.code) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise MirrorError(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from error


def starts_at(response, offset):
    """True if the answer to a request for a range is that range, and not the whole file."""
    content_range = response.headers.get("Content-Range") or ""
    return response.status == 206 and content_range.startswith("bytes %d-" % offset)


def receive(response, part, have, file):
    """Writes the body to `part`, starting at offset `have`."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    # Compression never makes a file much larger, so a mirror that sends more sends something else.
    limit = file.size_bytes + file.size_bytes // 100 + 1024
    progress = Progress(file.name, total)
    with local_errors(part), open(part, "ab" if have else "wb") as out:
        while True:
            chunk = read_chunk(response)
            if not chunk:
                break
            have += len(chunk)
            if have > limit:
                raise MirrorError("it sends more than the %d bytes that the file can have" % limit)
            out.write(chunk)
            progress.show(have)
    progress.end()
    if total is not None and have < total:
        raise CutError("the connection ended after %d of %d bytes" % (have, total))


def read_chunk(response):
    try:
        return response.read(CHUNK_BYTES)
    except (http.client.HTTPException, OSError) as error:
        raise CutError("the connection broke: %s" % (str(error) or type(error).__name__)) from error


def check(path, file, compressed=None):
    """VALID; OTHER, intact but with different content; or BROKEN: truncated, damaged or not a gzip file. `compressed`
    defaults to what the name suggests."""
    md5, size = hashlib.md5(), 0
    if compressed is None:
        compressed = path.suffix == ".gz"
    try:
        with gzip.open(path) if compressed else open(path, "rb") as data:
            while True:
                chunk = data.read(CHUNK_BYTES)
                if not chunk:
                    break
                size += len(chunk)
                if size > file.size_bytes:
                    return OTHER
                md5.update(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return BROKEN
    if size == 0:
        return BROKEN
    return VALID if (size, md5.hexdigest()) == (file.size_bytes, file.md5) else OTHER


@contextlib.contextmanager
def local_errors(path):
    """Turns file system errors into a DownloadError that names the path."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DownloadError("%s: %s" % (path, error.strerror or error), 7 if full else 3) from error


@contextlib.contextmanager
def locked(folder):
    """Allows one download per folder, because two would damage each other's partial files."""
    with local_errors(folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError("another download is writing to %s: wait for it, or stop it" % folder, 6) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(fd)


def say(line):
    print(line, file=sys.stderr, flush=True)


class Progress:
    """One line that is overwritten on a terminal; no output otherwise."""

    INTERVAL_S = 0.1

    def __init__(self, name, total_bytes):
        self.name, self.total_bytes = name, total_bytes
        self.on_terminal = sys.stderr.isatty()
        self.next_s = 0.0
        self.shown = False

    def show(self, have_bytes):
        if not self.on_terminal or time.monotonic() < self.next_s:
            return
        self.next_s = time.monotonic() + self.INTERVAL_S
        done = "%.1f MB" % (have_bytes / 1e6)
        if self.total_bytes:
            done += " of %.1f MB (%d %%)" % (self.total_bytes / 1e6, 100 * have_bytes // self.total_bytes)
        print("\r\033[K%s: %s" % (self.name, done), end="", file=sys.stderr, flush=True)
        self.shown = True

    def end(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def interrupt_once(number, frame):
    """Ignores a second Ctrl-C, from the terminal or from a process that waits for us, so that it does not disturb the
    end."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt_once)
    sys.exit(main())
