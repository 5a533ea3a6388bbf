"""tools/download_mnist.py against servers on this host that do what mirrors do: serve, cut, lie, hang and be absent.

The module is imported and given a table of small files, so that the real checksums need no real files.
"""

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import pathlib
import pwd
import random
import signal
import sys
import threading
import unittest.mock

from script_case import ScriptTest, support

SCRIPT = support.ROOT / "tools" / "download_mnist.py"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPT.parent))
import download_mnist  # noqa: E402

# Bytes that do not compress, so that archives can be cut in the middle.
CONTENTS = {name: random.Random(name).randbytes(size) for name, size in (("images", 300000), ("labels", 5000))}
ARCHIVES = {name + ".gz": gzip.compress(data, mtime=0) for name, data in CONTENTS.items()}
FILES = tuple(download_mnist.MnistFile(name, hashlib.md5(data).hexdigest(), len(data))
              for name, data in CONTENTS.items())
IMAGES = ARCHIVES["images.gz"]
NOWHERE = "http://127.0.0.1:9/"


class Mirror(http.server.ThreadingHTTPServer):
    """One mirror: what it serves and how it fails."""

    daemon_threads = True

    def __init__(self, archives=None, cuts=0, cut_after=100000, knows_ranges=True, hangs=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives = ARCHIVES if archives is None else archives
        self.cuts_left, self.cut_after = cuts, cut_after
        self.knows_ranges, self.hangs = knows_ranges, hangs
        self.ended = threading.Event()
        self.requests = []  # (name, value of the Range header)
        self.url = "http://127.0.0.1:%d/mnist/" % self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.ended.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mirror, name, wanted = self.server, self.path.rsplit("/", 1)[-1], self.headers.get("Range")
        mirror.requests.append((name, wanted))
        if mirror.hangs:
            mirror.ended.wait(30)
            return
        data = mirror.archives.get(name)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and mirror.knows_ranges else 0
        if data is None or start >= len(data):
            self.send_error(404 if data is None else 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        mirror.cuts_left -= 1
        self.wfile.write(data[start:start + mirror.cut_after] if mirror.cuts_left >= 0 else data[start:])

    def log_message(self, *args):
        pass


class DownloadTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.target = self.folder / "deep" / "mnist"
        # A proxy of the environment must not stand between the test and its own server.
        without_proxy = unittest.mock.patch.dict(os.environ, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
        without_proxy.start()
        self.addCleanup(without_proxy.stop)

    def mirror(self, **how):
        mirror = Mirror(**how)
        self.addCleanup(mirror.close)
        return mirror

    def put(self, name, data):
        (self.target / name).parent.mkdir(parents=True, exist_ok=True)
        (self.target / name).write_bytes(data)

    def download(self, *mirrors, timeout_s=20):
        """Runs the download and returns what it said."""
        urls = [mirror.url if isinstance(mirror, Mirror) else mirror for mirror in mirrors]
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            download_mnist.download_all(self.target, FILES, urls, timeout_s)
        return said.getvalue()

    def assert_refused(self, code, *says, mirrors):
        with self.assertRaises(download_mnist.DownloadError) as caught:
            self.download(*mirrors)
        self.assertEqual(caught.exception.exit_code, code)
        for words in says:
            self.assertIn(words, str(caught.exception))

    def assert_complete(self):
        """Each file is there as it should be, packed or not, and no other file is left."""
        found = {path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes()
                 for path in self.target.iterdir() if path.is_file()}
        self.assertEqual(found, CONTENTS)

    def test_a_download_goes_on_with_what_is_there_if_that_is_of_use(self):
        for name, data, how, ranges in (
                (None, None, {}, [None]),
                (None, None, {"cuts": 2}, [None, "bytes=100000-", "bytes=200000-"]),
                ("images.gz.part", IMAGES[:1234], {}, ["bytes=1234-"]),
                ("images.gz.part", IMAGES[:1234], {"knows_ranges": False}, ["bytes=1234-"]),
                ("images.gz.part", IMAGES, {}, [f"bytes={len(IMAGES)}-"]),
                ("images.gz.part", b"of another archive", {}, ["bytes=18-", None]),
                ("images.gz", IMAGES[:5000], {}, [None]), ("images.gz", b"", {}, [None]),
                ("images.gz", IMAGES, {}, []), ("images", CONTENTS["images"], {}, []),
                ("images/a folder", b"", {}, [None])):
            with self.subTest(name=name, how=how, ranges=ranges):
                self.target = self.folder / str(len(list(self.folder.iterdir())))
                if name:
                    self.put(name, data)
                mirror = self.mirror(**how)
                self.download(mirror)
                self.assert_complete()
                self.assertEqual([each[1] for each in mirror.requests if each[0] == "images.gz"], ranges)

    def test_a_mirror_that_does_not_help_is_passed_over(self):
        endless = dict(ARCHIVES, **{"labels.gz": b"x" * 100000})
        others = {name: gzip.compress(b"another data set") for name in ARCHIVES}
        for mirror, says in ((self.mirror(archives=others), "its content is not that of MNIST"),
                             (self.mirror(archives=endless), "more than the"), (self.mirror(archives={}), "404"),
                             (self.mirror(cuts=1000, cut_after=10), "after 40 of %d bytes" % len(IMAGES)),
                             (self.mirror(hangs=True), "timed out"), (NOWHERE, "refused"), ("nonsense", "nonsense")):
            with self.subTest(says=says):
                self.target = self.folder / says
                self.assertIn(says, self.download(mirror, self.mirror(), timeout_s=0.5))
                self.assert_complete()

    def test_where_no_mirror_helps_each_is_named_and_no_file_is_left(self):
        wrong = self.mirror(archives={name: b"<html>please log in</html>" for name in ARCHIVES})
        self.assert_refused(3, NOWHERE, "refused", wrong.url, "checksum", mirrors=[NOWHERE, wrong])
        self.assertEqual(list(self.target.iterdir()), [])

    def test_another_data_set_of_the_user_is_never_overwritten(self):
        for name, data in (("images.gz", gzip.compress(b"fashion")), ("images", b"fashion")):
            self.put(name, data)
            self.assert_refused(3, str(self.target / name), mirrors=[self.mirror()])
            self.assertEqual((self.target / name).read_bytes(), data)
            (self.target / name).unlink()

    def test_two_downloads_into_one_folder_do_not_mix(self):
        self.target.mkdir(parents=True)
        with download_mnist.locked(self.target):
            self.assert_refused(6, mirrors=[self.mirror()])
        self.download(self.mirror())
        self.assert_complete()

    def test_the_published_table_is_that_of_mnist(self):
        for file in download_mnist.FILES:
            path = next(pathlib.Path(self.mnist()).glob(file.name + "*"))
            self.assertEqual(download_mnist.check(path, file), download_mnist.VALID)

    def run_script(self, *arguments, code=3, **environment):
        """As a process."""
        done = self.finish([sys.executable, SCRIPT, *arguments], code, env=environment)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def test_the_default_folder_is_in_the_cache_of_the_user_and_only_that_users(self):
        self.addCleanup(os.umask, os.umask(0o002))
        self.run_script("--mirror", NOWHERE, XDG_CACHE_HOME=str(self.folder))
        self.run_script("--mirror", NOWHERE, "--dir", self.folder / "shared")
        for name, mode in (("distmnist", 0o755), ("distmnist/mnist", 0o755), ("shared", 0o775)):
            self.assertEqual((self.folder / name).stat().st_mode & 0o777, mode, name)
        own = pwd.getpwuid(os.geteuid()).pw_dir
        for cache, home, expected in (("/cache", "/home/x", "/cache"), ("relative", "/home/x", "/home/x/.cache"),
                                      ("", "relative", own + "/.cache"), ("", "", own + "/.cache")):
            with self.subTest(cache=cache, home=home):
                done = self.run_script("--print_dir", code=0, XDG_CACHE_HOME=cache, HOME=home)
                self.assertEqual(done.stdout, f"{expected}/distmnist/mnist\n")

    def test_what_cannot_be_done_has_its_exit_code(self):
        file = self.folder / "file"
        file.write_text("")
        for arguments, code, says in ((["--no_such_flag"], 2, "no_such_flag"), (["--timeout", "0"], 2, "above 0"),
                                      (["--dir", file], 3, f"{file}: "),
                                      (["--dir", self.target, "--mirror", NOWHERE, self.mirror(archives={}).url], 3,
                                       "error: cannot download train-images-idx3-ubyte from any of 2 mirrors")):
            with self.subTest(arguments=arguments):
                done = self.run_script(*arguments, code=code)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_an_interrupt_is_exit_130_without_a_traceback(self):
        silent = self.mirror(hangs=True)
        process = self.start([sys.executable, SCRIPT, "--dir", self.target, "--mirror", silent.url])
        support.wait_until(lambda: silent.requests, "a request")
        process.send(signal.SIGINT)
        self.assert_fails(process, 130, "interrupted")
        self.assertNotIn("Traceback", process.stderr)


if __name__ == "__main__":
    support.main()
