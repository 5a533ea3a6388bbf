#!/usr/bin/env python3
"""tools/download_mnist.py against servers on this host that do what mirrors do: serve, cut, lie, hang and be absent.

The module is imported and given a table of small files, so that the real checksums need no real files.
"""

import contextlib
import gzip
import hashlib
import http.server
import importlib.util
import io
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "download_mnist.py"

sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("download_mnist", SCRIPT)
download_mnist = importlib.util.module_from_spec(spec)
spec.loader.exec_module(download_mnist)


def content(seed, size):
    """Bytes that compress badly, so that archives can be cut in the middle."""
    out = b""
    while len(out) < size:
        seed = hashlib.sha256(str(seed).encode()).hexdigest()
        out += bytes.fromhex(seed)
    return out[:size]


CONTENTS = {"images": content("images", 300000), "labels": content("labels", 5000)}
ARCHIVES = {name + ".gz": gzip.compress(data, mtime=0) for name, data in CONTENTS.items()}
FILES = tuple(download_mnist.MnistFile(name, hashlib.md5(data).hexdigest(), len(data))
              for name, data in CONTENTS.items())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves mirror.archives; understands ranges if the mirror does."""

    def do_GET(self):
        mirror, name = self.server.mirror, self.path.rsplit("/", 1)[-1]
        mirror.requests.append((name, self.headers.get("Range")))
        if mirror.hangs:
            mirror.stop_hanging.wait(30)
            return
        data, start = mirror.archives.get(name), 0
        if data is None:
            self.send_error(404)
            return
        if self.headers.get("Range") and mirror.knows_ranges:
            start = int(self.headers["Range"].split("=")[1].rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data)
        if mirror.cuts_left:
            mirror.cuts_left -= 1
            end = min(end, start + mirror.cut_after)
        self.wfile.write(data[start:end])

    def log_message(self, *args):
        pass


class Mirror:
    """One mirror: what it serves and how it fails."""

    def __init__(self, archives=None, cuts=0, cut_after=100000, knows_ranges=True, hangs=False):
        self.archives = ARCHIVES if archives is None else archives
        self.cuts_left, self.cut_after = cuts, cut_after
        self.knows_ranges, self.hangs = knows_ranges, hangs
        self.stop_hanging = threading.Event()
        self.requests = []  # (name, value of the Range header)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.mirror = self
        self.url = "http://127.0.0.1:%d/mnist/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.stop_hanging.set()
        self.server.shutdown()
        self.server.server_close()


def unreachable_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "http://127.0.0.1:%d/" % probe.getsockname()[1]


class MirrorTest(unittest.TestCase):
    """A fresh folder and mirrors that end with the case."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="distmnist_test_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name) / "deep" / "mnist"
        # A proxy of the environment must not stand between the test and its own server.
        old = {key: os.environ.get(key) for key in ("no_proxy", "NO_PROXY")}
        os.environ.update(no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
        self.addCleanup(lambda: [os.environ.pop(k, None) if v is None else os.environ.update({k: v})
                                 for k, v in old.items()])

    def mirror(self, **how):
        mirror = Mirror(**how)
        self.addCleanup(mirror.close)
        return mirror


class DownloadTest(MirrorTest):
    def download(self, *mirrors, timeout_s=20):
        """Runs the download and returns what it said."""
        urls = [m.url if isinstance(m, Mirror) else m for m in mirrors]
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            download_mnist.download_all(self.folder, FILES, urls, timeout_s)
        return said.getvalue()

    def failing_download(self, *mirrors, timeout_s=20):
        with self.assertRaises(download_mnist.DownloadError) as caught:
            self.download(*mirrors, timeout_s=timeout_s)
        return caught.exception

    def assert_complete(self):
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), sorted(ARCHIVES))
        for name, data in CONTENTS.items():
            self.assertEqual(gzip.decompress((self.folder / (name + ".gz")).read_bytes()), data)

    def start_part(self, name, data):
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / (name + ".gz.part")).write_bytes(data)

    def test_every_file_is_downloaded_and_nothing_else_left(self):
        mirror = self.mirror()
        self.download(mirror)
        self.assert_complete()
        self.assertEqual(mirror.requests, [("images.gz", None), ("labels.gz", None)])

    def test_valid_files_are_left_alone(self):
        mirror = self.mirror()
        self.folder.mkdir(parents=True)
        (self.folder / "images.gz").write_bytes(ARCHIVES["images.gz"])
        (self.folder / "labels").write_bytes(CONTENTS["labels"])
        self.download(mirror)
        self.assertEqual(mirror.requests, [])

    def test_a_folder_of_a_files_name_is_no_file(self):
        (self.folder / "labels").mkdir(parents=True)
        self.download(self.mirror())
        self.assertEqual(gzip.decompress((self.folder / "labels.gz").read_bytes()), CONTENTS["labels"])
        self.assertTrue((self.folder / "labels").is_dir())

    def test_a_cut_transfer_goes_on_where_it_broke(self):
        mirror = self.mirror(cuts=2)
        said = self.download(mirror)
        self.assert_complete()
        self.assertEqual([r for r in mirror.requests if r[0] == "images.gz"],
                         [("images.gz", None), ("images.gz", "bytes=100000-"), ("images.gz", "bytes=200000-")])
        self.assertIn("100000 of %d bytes" % len(ARCHIVES["images.gz"]), said)

    def test_a_mirror_that_always_cuts_is_given_up(self):
        mirror = self.mirror(cuts=1000, cut_after=10)
        error = self.failing_download(mirror)
        self.assertEqual(len(mirror.requests), 1 + download_mnist.MAX_RESUMES)
        self.assertIn("40 of %d bytes" % len(ARCHIVES["images.gz"]), str(error))
        self.download(self.mirror())
        self.assert_complete()

    def test_the_next_run_goes_on_with_the_partial_file(self):
        self.start_part("images", ARCHIVES["images.gz"][:1234])
        mirror = self.mirror()
        self.download(mirror)
        self.assert_complete()
        self.assertEqual(mirror.requests[0], ("images.gz", "bytes=1234-"))

    def test_a_mirror_without_ranges_starts_again(self):
        self.start_part("images", ARCHIVES["images.gz"][:1234])
        self.download(self.mirror(knows_ranges=False))
        self.assert_complete()

    def test_a_partial_file_that_was_already_complete_is_taken(self):
        self.start_part("images", ARCHIVES["images.gz"])
        self.download(self.mirror())
        self.assert_complete()

    def test_a_partial_file_of_another_archive_is_downloaded_from_the_start(self):
        self.start_part("images", b"of another archive")
        mirror = self.mirror()
        self.download(mirror)
        self.assert_complete()
        self.assertEqual([r[1] for r in mirror.requests if r[0] == "images.gz"], ["bytes=18-", None])

    def test_wrong_content_is_discarded_and_the_next_mirror_asked(self):
        wrong = {name: gzip.compress(b"another data set") for name in ARCHIVES}
        mirror = self.mirror(archives=wrong)
        said = self.download(mirror, self.mirror())
        self.assert_complete()
        self.assertIn(mirror.url + "images.gz: its content is not that of MNIST", said)

    def test_content_that_is_wrong_everywhere_leaves_no_file(self):
        wrong = {name: b"<html>please log in</html>" for name in ARCHIVES}
        error = self.failing_download(self.mirror(archives=wrong))
        self.assertEqual(error.exit_code, 3)
        self.assertIn("checksum", str(error))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_mirror_that_sends_far_too_much_is_stopped(self):
        endless = dict(ARCHIVES, **{"labels.gz": b"x" * 100000})
        said = self.download(self.mirror(archives=endless), self.mirror())
        self.assertIn("more than the", said)
        self.assert_complete()

    def test_missing_files_and_unreachable_mirrors_are_passed_over(self):
        self.download(unreachable_url(), self.mirror(archives={}), "nonsense", self.mirror())
        self.assert_complete()

    def test_when_no_mirror_helps_the_error_names_each_with_its_reason(self):
        nowhere, empty = unreachable_url(), self.mirror(archives={})
        error = self.failing_download(nowhere, empty)
        self.assertEqual(error.exit_code, 3)
        for words in ("cannot download images", "2 mirrors", nowhere, "refused", empty.url, "404", "--mirror"):
            self.assertIn(words, str(error))

    def test_a_silent_mirror_is_given_up_after_the_timeout(self):
        silent = self.mirror(hangs=True)
        said = self.download(silent, self.mirror(), timeout_s=0.2)
        self.assertIn("timed out", said)
        self.assert_complete()

    def test_a_broken_file_is_replaced(self):
        self.folder.mkdir(parents=True)
        (self.folder / "images.gz").write_bytes(ARCHIVES["images.gz"][:5000])
        (self.folder / "labels.gz").write_bytes(b"")
        self.download(self.mirror())
        self.assert_complete()

    def test_another_data_set_of_the_user_is_never_overwritten(self):
        self.folder.mkdir(parents=True)
        for name, data in (("images.gz", gzip.compress(b"fashion")), ("images", b"fashion")):
            path = self.folder / name
            path.write_bytes(data)
            error = self.failing_download(self.mirror())
            self.assertEqual(error.exit_code, 3)
            self.assertIn(str(path), str(error))
            self.assertEqual(path.read_bytes(), data)
            path.unlink()

    def test_two_downloads_into_one_folder_do_not_mix(self):
        self.folder.mkdir(parents=True)
        with download_mnist.locked(self.folder):
            error = self.failing_download(self.mirror())
        self.assertEqual(error.exit_code, 6)
        self.download(self.mirror())
        self.assert_complete()

    def test_a_folder_that_cannot_be_made_is_named(self):
        self.folder.parent.mkdir(parents=True)
        self.folder.write_text("a file")
        error = self.failing_download(self.mirror())
        self.assertEqual(error.exit_code, 3)
        self.assertIn(str(self.folder), str(error))

    def test_the_published_table_is_that_of_mnist(self):
        self.assertEqual([f.size_bytes for f in download_mnist.FILES], [47040016, 60008, 7840016, 10008])
        self.assertTrue(all(len(f.md5) == 32 for f in download_mnist.FILES))
        self.assertGreaterEqual(len(download_mnist.MIRRORS), 3)


class CommandLineTest(MirrorTest):
    """The script as a process."""

    def run_script(self, *arguments, **environment):
        return subprocess.run([sys.executable, str(SCRIPT), *arguments], env={**os.environ, **environment},
                              capture_output=True, text=True, timeout=60)

    def test_failure_is_exit_3_and_one_clear_line(self):
        done = self.run_script("--dir", str(self.folder), "--mirror", unreachable_url(), self.mirror(archives={}).url)
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout, "")
        self.assertIn("error: cannot download train-images-idx3-ubyte from any of 2 mirrors", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_the_default_folder_is_in_the_cache_of_the_user(self):
        done = self.run_script("--mirror", unreachable_url(), XDG_CACHE_HOME=str(self.folder))
        self.assertEqual(done.returncode, 3)
        self.assertTrue((self.folder / "distmnist" / "mnist").is_dir())
        with unittest.mock.patch.dict(os.environ, HOME="/home/someone"):
            os.environ.pop("XDG_CACHE_HOME", None)
            self.assertEqual(str(download_mnist.default_dir()), "/home/someone/.cache/distmnist/mnist")
            os.environ["XDG_CACHE_HOME"] = "relative"  # counts as none
            self.assertEqual(str(download_mnist.default_dir()), "/home/someone/.cache/distmnist/mnist")
            for home in (None, "", "relative"):
                os.environ.update(HOME=home or "")
                if home is None:
                    del os.environ["HOME"]
                own = pwd.getpwuid(os.geteuid()).pw_dir
                self.assertEqual(str(download_mnist.default_dir()), own + "/.cache/distmnist/mnist")

    def test_in_the_cache_the_folders_are_the_users_alone_and_elsewhere_as_the_umask_says(self):
        old = os.umask(0o002)
        self.addCleanup(os.umask, old)
        self.run_script("--mirror", unreachable_url(), XDG_CACHE_HOME=str(self.folder))
        self.run_script("--dir", str(self.folder / "shared"), "--mirror", unreachable_url())
        self.assertEqual((self.folder / "distmnist" / "mnist").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.folder / "distmnist").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.folder / "shared").stat().st_mode & 0o777, 0o775)

    def test_print_dir_only_prints_the_folder(self):
        done = self.run_script("--print_dir", XDG_CACHE_HOME=str(self.folder))
        self.assertEqual((done.returncode, done.stdout), (0, f"{self.folder}/distmnist/mnist\n"))
        self.assertFalse(self.folder.exists())

    def test_bad_usage_is_exit_2(self):
        self.assertEqual(self.run_script("--no_such_flag").returncode, 2)
        self.assertEqual(self.run_script("--timeout", "0").returncode, 2)

    def test_an_interrupt_is_exit_130_without_a_traceback(self):
        silent = self.mirror(hangs=True)
        process = subprocess.Popen([sys.executable, str(SCRIPT), "--dir", str(self.folder), "--mirror", silent.url],
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 30
        while not silent.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted", said)
        self.assertNotIn("Traceback", said)


if __name__ == "__main__":
    unittest.main()
