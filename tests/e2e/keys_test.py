"""Key files and folders: what keygen creates, what --keys accepts, and the keys that the launcher creates for a run."""

import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys

import support

FAKE = pathlib.Path(__file__).resolve().parent / "fake_program.py"
NOBODY = 65534


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def secret_of(path):
    return re.search(r'secret-key = "(.{40})"', path.read_text()).group(1)


class KeysTest(support.EndToEndTest):
    def keygen(self, *arguments, code=0):
        made = self.run_program("keygen", *arguments)
        self.assert_exit(made, code)
        return made

    def keys(self, tasks="ps:1,worker:2"):
        folder = self.folder / "keys"
        self.keygen(folder, "--tasks", tasks)
        return folder

    def worker(self, *flags, index=0, **options):
        """A worker that finds no ps and gives up soon. It reads its keys before that."""
        port = support.free_ports(1)[0]
        return self.run_program(f"--ps_hosts=localhost:{port}", "--worker_hosts=localhost:1,localhost:2", "--job_name=worker",
                                f"--task_index={index}", "--recovery_wait_secs=0", "--dataset=synthetic", "--model=softmax",
                                *flags, **options)


class KeygenTest(KeysTest):
    def test_the_table_lists_where_and_how_to_copy_each_folder(self):
        folder = self.folder / "a b"
        said = self.keygen(folder, "--ps_hosts=10.0.0.1:2222,[fe80::1]:2222",
                           "--worker_hosts=10.0.0.1:2223,localhost:1").stdout
        self.assertRegex(said, rf"ps-0, worker-0 +scp -rp '{folder}/10.0.0.1' 10.0.0.1: +--keys ~/10.0.0.1\n")
        self.assertRegex(said, rf"ps-1 +scp -rp '{folder}/fe80::1' '\[fe80::1\]:' +--keys ~/fe80::1\n")
        self.assertRegex(said, rf"worker-1 +already in place +--keys '{folder}/localhost'\n")
        self.assertRegex(said, rf"admin +stays with you +reset and variable take --keys '{folder}/admin'\n")
        self.assertEqual(sorted(os.listdir(folder)), ["10.0.0.1", "admin", "fe80::1", "localhost"])
        self.assertEqual(sorted(name for name in os.listdir(folder / "10.0.0.1") if name.endswith("_secret")),
                         ["ps-0.key_secret", "worker-0.key_secret"])

    def test_a_cluster_file_is_accepted(self):
        cluster = self.folder / "cluster.json"
        cluster.write_text('{"psx": ["a:1"], "worker": {"0": "b:1", "2": "b:2"}}')
        self.keygen(self.folder / "keys", "--cluster", cluster, "--ps_job=psx")
        self.assertTrue((self.folder / "keys" / "b" / "worker-2.key_secret").exists())
        self.assertFalse((self.folder / "keys" / "b" / "worker-1.key").exists())

    def test_no_secret_is_printed(self):
        folder = self.keys()
        worker = self.worker("--keys", folder)
        everything = "".join(process.stdout + process.stderr for process in self.processes)
        self.assertIn("cannot be reached", worker.stderr)
        for path in folder.glob("*/*.key_secret"):
            self.assertNotIn(secret_of(path), everything)

    def test_the_folder_is_private_even_with_an_open_umask(self):
        made = self.start([self.program(), "keygen", self.folder / "keys", "--tasks=ps:1"], preexec_fn=lambda: os.umask(0))
        self.assert_exit(made, 0)
        for path in (self.folder / "keys", self.folder / "keys" / "ps-0"):
            self.assertEqual(mode_of(path), 0o700)
        self.assertEqual(mode_of(self.folder / "keys" / "ps-0" / "ps-0.key_secret"), 0o600)

    def test_keys_are_never_overwritten(self):
        folder = self.keys()
        before = {path: path.read_bytes() for path in folder.glob("*/*")}
        self.assertRegex(self.keygen(folder, "--tasks=ps:1", code=6).stderr,
                         "not empty, and keys are never overwritten")
        self.assertEqual({path: path.read_bytes() for path in folder.glob("*/*")}, before)

    def test_only_one_of_two_simultaneous_keygens_creates_the_keys(self):
        folder = self.folder / "keys"
        makers = [self.start([self.program(), "keygen", folder, "--tasks=ps:2,worker:20"]) for _ in range(4)]
        codes = sorted(maker.wait() for maker in makers)
        self.assertEqual(codes, [0, 6, 6, 6])
        self.assertEqual(self.worker("--keys", folder).wait(), 138)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".")], [])

    def test_without_disk_space_no_file_is_left(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        made = subprocess.run([self.program(), "keygen", self.folder / "keys", "--tasks=ps:1"], preexec_fn=limit, text=True,
                              capture_output=True, check=False)
        self.assertEqual(made.returncode, 7, made.stderr)
        self.assertIn("File too large", made.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_usage_errors_are_reported(self):
        self.assertRegex(self.keygen(self.folder / "k", code=2).stderr, "say for which tasks")
        self.assertRegex(self.keygen(self.folder / "k", "--tasks=ps:1", "--ps_hosts=a:1", code=2).stderr, "give either")
        self.assertRegex(self.keygen(self.folder / "k", "--tasks=ps:x", code=2).stderr, "'x' is not a number")
        self.assertRegex(self.keygen("--tasks=ps:1", code=2).stderr, "FOLDER")
        self.assertRegex(self.keygen(self.folder / "a" / "k", "--tasks=ps:1", code=2).stderr, "make it first")
        self.assertEqual([path for path in self.folder.iterdir() if path.is_dir()], [])


class KeysFlagTest(KeysTest):
    def test_a_worker_finds_its_key_in_either_folder(self):
        folder = self.keys()
        for named in (folder, folder / "worker-1"):
            self.assert_fails(self.worker("--keys", named, index=1), 138, "cannot be reached")

    def test_errors_in_keys_are_reported_before_the_start(self):
        folder = self.keys()
        secret = folder / "worker-0" / "worker-0.key_secret"
        secret.chmod(0o640)
        for flags, says in (((f"--keys={folder}",), f"chmod 600 {secret}"),
                            ((f"--keys={folder / 'none'}",), "No such file or directory; make a folder of keys"),
                            (("--keys=",), "name of the folder is empty"),
                            ((f"--keys={folder / 'ps-0'}",), "it has the secret of ps-0")):
            worker = self.worker(*flags)
            self.assert_fails(worker, 9, re.escape(says))
            self.assertEqual(len(re.findall("error:", worker.stderr)), 1)
            self.assertNotIn("pixels", worker.stderr)

    def test_admin_commands_and_ps_take_keys_too(self):
        folder = self.keys()
        port = support.free_ports(1)[0]
        ask = ["--all", f"--ps_hosts=localhost:{port}", "--recovery_wait_secs=0"]
        self.assert_fails(self.run_program("reset", *ask, "--keys", folder), 138, "cannot be reached|was not reset")
        self.assert_fails(self.run_program("reset", *ask, "--keys", folder / "worker-0"), 9, "admin.key_secret")
        self.assert_fails(self.run_program("variable", "get", "x", *ask[1:], "--keys", folder / "worker-0"), 9, "admin.key_secret")
        self.assert_fails(self.run_program(f"--ps_hosts=localhost:{port}", "--worker_hosts=localhost:1", "--job_name=ps",
                                           "--keys", folder / "worker-0"), 9, "ps-0.key_secret")
        self.assert_fails(self.run_program(f"--ps_hosts=localhost:{port}", "--worker_hosts=a:1,a:2,a:3", "--job_name=ps",
                                           "--keys", folder), 9, "worker-2.key, the public key of worker:2, is not in")

    def test_a_local_run_refuses_keys(self):
        self.assert_fails(self.run_program("--keys", self.keys(), "--dataset=synthetic"), 2, "without --job_name")

    def test_home_is_found_without_a_shell(self):
        folder = self.keys()
        worker = self.worker("--keys=~/keys", env={"HOME": str(folder.parent)})
        self.assert_fails(worker, 138, "cannot be reached")

    def test_the_keys_of_a_different_user_are_refused(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        folder = self.keys()
        self.folder.chmod(0o755)
        program = self.folder / "distmnist"  # other users may not be able to read the checkout
        shutil.copy(self.program(), program)

        def become_nobody():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        flags = [f"--ps_hosts=localhost:{support.free_ports(1)[0]}", "--worker_hosts=a:1", "--job_name=worker",
                 "--recovery_wait_secs=0", "--dataset=synthetic", "--model=softmax", "--keys", folder]
        self.assert_fails(self.start([program, *flags], preexec_fn=become_nobody), 9, "Permission denied|another user")
        for path in [folder, *folder.glob("**/*")]:
            os.chown(path, NOBODY, NOBODY)
        self.assert_fails(self.start([program, *flags], preexec_fn=become_nobody), 138, "cannot be reached")
        os.chown(folder / "worker-0" / "ps-0.key", NOBODY - 1, NOBODY - 1)
        self.assert_fails(self.start([program, *flags], preexec_fn=become_nobody), 9, "belongs to another user")


PYZMQ_READS = """
import sys, zmq.auth
public, secret = zmq.auth.load_certificate(sys.argv[1])
print(public.decode(), secret.decode() if secret else None)
"""
PYZMQ_WRITES = "import sys, zmq.auth; zmq.auth.create_certificates(sys.argv[1], sys.argv[2], metadata={'a': 'b'})"


class PyzmqTest(KeysTest):
    def python(self, script, *arguments):
        python = os.environ.get("DISTMNIST_TEST_PYTHON", sys.executable)
        if subprocess.run([python, "-c", "import zmq.auth"], capture_output=True, check=False).returncode != 0:
            self.skipTest("set DISTMNIST_TEST_PYTHON to a Python that has pyzmq")
        return subprocess.run([python, "-c", script, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    def test_keys_are_read_by_pyzmq(self):
        folder = self.keys() / "ps-0"
        public, secret = self.python(PYZMQ_READS, folder / "ps-0.key_secret").split()
        self.assertEqual(secret, secret_of(folder / "ps-0.key_secret"))
        self.assertEqual(self.python(PYZMQ_READS, folder / "ps-0.key").split(), [public, "None"])

    def test_keys_of_pyzmq_are_read_by_the_program(self):
        folder = self.folder / "keys"
        folder.mkdir(mode=0o700)
        for task in ("ps-0", "worker-0"):
            self.python(PYZMQ_WRITES, folder, task)
            (folder / f"{task}.key_secret").chmod(0o600)
        self.assert_fails(self.worker("--keys", folder), 138, "cannot be reached")


class LauncherTest(KeysTest):
    def setUp(self):
        super().setUp()
        self.notes = self.folder / "notes"
        self.temporary = self.folder / "tmp"
        self.notes.mkdir()
        self.temporary.mkdir()

    def launch(self, *flags, do=(), keygen=None):
        """Starts the launcher with the real keygen, unless `keygen` is a command to replace it, and tasks that follow
        `do`."""
        binary = self.folder / "binary"
        keygen = keygen or f'exec {shlex.quote(self.program())} "$@"'
        binary.write_text(f'#!/bin/sh\nif [ "$1" = keygen ]; then {keygen}; fi\nexec {shlex.quote(str(FAKE))} "$@"\n')
        binary.chmod(0o755)
        behaviours = [f"--do={item}" for item in do]
        return self.start([support.LAUNCHER, "--binary", binary, "--secure", *flags, "--", "--notes", self.notes, *behaviours],
                          name="launch", env={"TMPDIR": str(self.temporary)})

    def running(self, task):
        note = self.notes / f"{task}.json"
        support.wait_until(note.exists, f"{task} to start")
        return note.read_text()

    def assert_nothing_is_left(self):
        self.assertEqual(os.listdir(self.temporary), [])

    def test_a_run_has_temporary_keys(self):
        launch = self.launch("--num_ps", 2, "--num_workers", 2, do=["worker:0=save:0"])
        named = re.search(r'"--keys=([^"]+)"', self.running("worker_0")).group(1)
        self.assertIn(f'"--keys={named}"', self.running("ps_1"))
        self.assertTrue(named.startswith(str(self.temporary)))
        for folder in (named, pathlib.Path(named).parent, pathlib.Path(named) / "localhost"):
            self.assertEqual(mode_of(folder), 0o700)
        for task in ("ps-0", "ps-1", "worker-0", "worker-1"):
            self.assertTrue((pathlib.Path(named) / "localhost" / f"{task}.key_secret").exists())
        self.assertRegex(launch.stderr, "reset and variable take --keys " + re.escape(named))
        launch.send(signal.SIGINT)
        self.assert_exit(launch, 130)
        self.assert_nothing_is_left()

    def test_the_keys_are_deleted_however_the_run_ends(self):
        self.assert_exit(self.launch("--num_workers", 1), 0)
        self.assert_nothing_is_left()
        self.assert_exit(self.launch("--num_workers", 1, do=["worker:0=exit:3"]), 3)
        self.assert_nothing_is_left()
        launch = self.launch("--num_workers", 1, keygen='echo on >"$(dirname "$2")/going"; exec sleep 60')
        support.wait_until(lambda: list(self.temporary.glob("*/going")), "keygen")
        launch.send(signal.SIGTERM)
        self.assert_exit(launch, 143)
        self.assert_nothing_is_left()

    def test_a_failure_of_keygen_ends_the_launcher(self):
        launch = self.launch(keygen="echo no room >&2; exit 7")
        self.assert_fails(launch, 7, "no room", "could not make the keys of this run")
        self.assertEqual(os.listdir(self.notes), [])
        self.assert_nothing_is_left()

    def test_keys_from_two_flags_are_refused(self):
        for given in (["--keys", "x"], ["--keys=x"]):
            launch = self.start([support.LAUNCHER, "--secure", "--", *given])
            self.assert_fails(launch, 2, "give only one of them")

    def test_printed_commands_can_be_copied_and_run(self):
        base = support.free_ports(1)[0]
        printed = self.start([support.LAUNCHER, "--secure", "--print", "--base_port", base, "--num_workers", 1, "--",
                              "--recovery_wait_secs=0", "--dataset=synthetic", "--model=softmax"])
        self.assert_exit(printed, 0)
        commands = [line for line in printed.stdout.splitlines() if not line.startswith("#")]
        self.assertEqual(len(commands), 3, printed.stdout)  # keygen, ps, worker
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "distmnist").symlink_to(self.program())
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        codes = [self.start(["bash", "-c", command], cwd=self.folder, env={"PATH": path}).wait()
                 for command in (commands[0], commands[2])]
        self.assertEqual(codes, [0, 138])

    def test_printed_commands_for_several_hosts_copy_the_keys(self):
        printed = self.start([support.LAUNCHER, "--secure", "--print", "--hosts", "a,B,[::2]"])
        self.assert_exit(printed, 0)
        lines = printed.stdout.splitlines()
        self.assertEqual([shlex.split(line) for line in lines if line.startswith("scp")],
                         [["scp", "-rp", "distmnist-keys/a", "a:"], ["scp", "-rp", "distmnist-keys/b", "B:"],
                          ["scp", "-rp", "distmnist-keys/::2", "[::2]:"]])
        told = {shlex.split(line)[-1] for line in lines if "--job_name=worker" in line}
        self.assertEqual(told, {"--keys=~/a", "--keys=~/b", "--keys=~/::2"})
        keygen = shlex.split(next(line for line in lines if " keygen " in line))
        made = self.start([self.program(), *keygen[1:]], cwd=self.folder)
        self.assert_exit(made, 0)
        self.assertEqual(sorted(os.listdir(self.folder / "distmnist-keys")), ["::2", "a", "admin", "b"])


if __name__ == "__main__":
    support.main()
