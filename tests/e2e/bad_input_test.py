"""Bad input: each case gets one clear sentence and its exit code, and leaves no partial file."""

import array
import gzip
import json
import math
import os
import shutil
import struct

import digits
import pictures
import small_runs
import support

PS_AND_WORKER = ["--ps_hosts=localhost:2222", "--worker_hosts=localhost:2223"]
GPU_HERE = os.path.exists("/dev/nvidia0")


class CommandLineTest(small_runs.SmallRunTest):
    """Errors that are found before anything is read or started: stderr is exactly one line."""

    def assert_usage_error(self, *arguments, says):
        process = self.run_program(*arguments)
        self.assert_refused(process, 2, says)
        self.assertEqual(len(process.stderr.splitlines()), 1, process.stderr)

    def test_flags_that_do_not_exist(self):
        for arguments in (["--nonsense"], ["--nonsense=3"], ["--password=secret"], ["--in_graph"],
                          ["extra"], ["report"], ["inspect", "x.safetensors", "--device=/cpu:0"],
                          ["evaluate", "--log_dir=x", "--batch_size=3"]):
            with self.subTest(arguments):
                self.assert_usage_error(*arguments, says=arguments[-1].partition("=")[0])

    def test_conflicting_replication_flags(self):
        for arguments, says in ((["--replicas_to_aggregate=2"], "give --sync_replicas"),
                                (["--on_lost_worker=wait"], "give --sync_replicas"),
                                (["--sync_replicas", "--staleness=drop:3"], "--staleness is for asynchronous runs"),
                                (["--sync_replicas", "--max_staleness=0"], "--max_staleness is for asynchronous runs"),
                                (["--sync_replicas", "--warmup_steps=5"], "--warmup_steps is for asynchronous runs"),
                                (["--warmup_steps=5", "--warmup_epochs=1"], "give only one"),
                                (["--staleness=drop"], "drop:K"), (["--staleness=drop:-1"], "drop:K"),
                                (["--staleness=drop:2x"], "drop:K"), (["--on_lost_worker=pray"], "wait, shrink or fail"),
                                (["--max_staleness=-2"], "--max_staleness=-2"), (["--num_workers=0"], "--num_workers=0"),
                                (["--warmup_epochs=nan"], "--warmup_epochs"),
                                (["--sync_replicas", "--replicas_to_aggregate=5000"], "--replicas_to_aggregate=5000"),
                                (["--num_workers=2", "--job_name=worker"], "--num_workers=2 is for local runs"),
                                (["--replication=in_graph", "--devices=/cpu:0,/cpu:1", "--num_workers=2"], "one worker")):
            with self.subTest(arguments):
                self.assert_usage_error(*arguments, says=says)

    def test_invalid_values(self):
        for flag, says in (("--batch_size=abc", "abc: not a whole"), ("--batch_size=", "--batch_size"), ("--batch_size=0", "=0"),
                           ("--batch_size=-5", "-5"), ("--batch_size=1e3", "1e3: not a whole"), ("--train_steps=0", "=0"),
                           ("--train_steps=99999999999999999999", "99999999999999999999"), ("--log_every=0", "=0"),
                           ("--seed=-1", "-1: not a whole"), ("--seed=3.5", "3.5: not a whole"), ("--learning_rate=0", "learning_rate"),
                           ("--learning_rate=nan", "nan"), ("--learning_rate=fast", "fast"), ("--momentum=2", "=2"),
                           ("--recovery_wait_secs=nan", "nan"), ("--recovery_wait_secs=-1", "-1"),
                           ("--save_model_secs=0", "=0"), ("--max_to_keep=-1", "-1"), ("--task_index=-1", "-1"),
                           ("--task_index=one", "one: not a whole"), ("--optimizer=adamw", "adamw.*momentum"),
                           ("--nesterov", "--nesterov"), ("--momentum=0.5", "--momentum=0.5.*adam"),
                           ("--learning_rate_schedule=linear", "linear.*cosine"), ("--decay_rate=0.5", "=0.5.*constant"),
                           ("--augment=mirror", "mirror.*affine"), ("--preset=quick", "quick.*best"),
                           ("--decay_steps=5", "=5"), ("--learning_rate_warmup_steps=-1", "-1"),
                           ("--placement=anywhere", "anywhere.*round_robin"), ("--dataset=cifar", "cifar"),
                           ("--placement=manual", "--place_variables"),
                           ("--place_variables=*=/job:ps/task:0", "manual"),
                           ("--replication=in_graph", "--devices or --num_gpus"), ("--replication=both", "both"),
                           ("--devices=/cpu:0,/tpu:0", "tpu"), ("--num_gpus=-1", "-1"), ("--precision=f16", "f16.*bf16"),
                           ("--per_process_gpu_memory_fraction=0", "above 0 and at most 1"),
                           ("--progress=loud", "loud"), ("--log_format=xml", "xml"), ("--fresh=perhaps", "perhaps"),
                           ("--intra_op_parallelism_threads=-2", "-2"), ("--train_steps", "--train_steps")):
            with self.subTest(flag):
                self.assert_usage_error(flag, says=says)

    def test_a_misspelled_flag_is_answered_with_the_most_similar_one(self):
        for arguments, says in ((["--trian_steps=5"], "'--trian_steps' is not a flag of distmnist .did you mean --train_steps"),
                                (["-log_dir", "x"], "did you mean --log_dir"),
                                (["evalute", "--log_dir=x"], "'evalute' is not an argument.* .did you mean evaluate"),
                                (["evaluate", "--log_dirs=x"], "not a flag of distmnist evaluate .did you mean --log_dir")):
            with self.subTest(arguments):
                self.assert_usage_error(*arguments, says=says)

    def test_a_flag_does_not_take_the_next_flag_as_its_value(self):
        self.assert_usage_error("--log_dir", "--fresh", says="--log_dir takes a value, but --fresh follows")
        for flag in "--adam_beta1", "--learning_rate", "--recovery_wait_secs", "--warmup_epochs", "--momentum":
            self.assert_usage_error(f"{flag}=", "--progress=none", says=f"{flag}=: the value is empty; give a number")
        self.assert_usage_error("--fresh=", "--progress=none", says="--fresh=: the value is empty")
        process = self.run_program("--log_dir=", *self.flags(steps=3, log_dir=False), cwd=self.folder)
        self.assert_exit(process, 0)
        self.assertFalse((self.folder / f"--data_dir={self.data}").exists())

    def test_a_leading_tilde_means_the_home_folder(self):
        home = self.folder / "home"
        home.mkdir()
        config = home / "c.toml"
        config.write_text('log_dir = "~/configured"\n')
        flags = self.flags(steps=3, log_dir=False)
        for extra, run in (["--log_dir=~/given"], "given"), (["--config=~/c.toml"], "configured"):
            with self.subTest(run):
                self.assert_exit(self.run_program(*flags, *extra, cwd=self.folder, env={"HOME": str(home)}), 0)
                self.assertTrue((home / run / "model.ckpt-3.safetensors").exists())
                self.assertFalse((self.folder / "~").exists())

    def test_configuration_files_from_other_systems(self):
        config = self.folder / "c.toml"
        config.write_bytes(b"\xef\xbb\xbfbatch_size = 10\r\nseed = 4\r\n")
        flags = [flag for flag in self.flags(steps=3) if not flag.startswith(("--batch_size", "--seed"))]
        self.assert_exit(self.run_program(f"--config={config}", *flags), 0)
        self.assertEqual(self.checkpoint(3).metadata["seed"], "4")
        config.write_text("seed = 4\n", encoding="utf-16")
        self.assert_usage_error(f"--config={config}", says="UTF-16")
        config.write_text("train_steps = 5\nseed = 4\ntrain_steps = 6\n")
        self.assert_usage_error(f"--config={config}", says="'train_steps' appears twice")
        os.mkfifo(self.folder / "pipe")
        for odd, says in ((self.folder / "pipe", "a pipe or device; name a file"), (self.folder, "a folder; name a file")):
            self.assert_usage_error(f"--config={odd}", says=says)
            self.assert_usage_error("--config", odd, says=says)
        config.write_text("trian_steps = 4\n")
        self.assert_usage_error(f"--config={config}", says="'trian_steps' is not a flag.* .did you mean --train_steps")

    def test_a_flag_given_twice(self):
        self.assert_usage_error("--model=mlp", "--model=softmax", says="--model")

    def test_an_unknown_model_is_refused_with_a_list_of_the_known_ones(self):
        self.assert_usage_error("--model=resnet", says="resnet.*mnist_cnn, softmax, mlp")

    def test_subcommands_report_missing_arguments(self):
        self.assert_usage_error("evaluate", says="--log_dir")
        self.assert_usage_error("predict", f"--log_dir={self.folder}", says="FILE")
        self.assert_usage_error("inspect", says="CHECKPOINT")

    def test_config_files(self):
        config = self.folder / "c.toml"
        config.write_text("nonsense = 3\n")
        self.assert_usage_error(f"--config={config}", says="--config=.*: 'nonsense' is not a flag")
        self.assert_usage_error(f"--config={self.folder}/none.toml", says=r"--config=\S+/none.toml: no such file")
        config.write_text('batch_size = "many"\n')
        self.assert_usage_error(f"--config={config}", says="--batch_size=many: not a whole number")

    def test_a_valid_config_is_used_and_the_command_line_has_priority(self):
        config = self.folder / "c.toml"
        config.write_text('model = "softmax"\ntrain_steps = 7\nbatch_size = 20\nseed = 5\nmax_to_keep = 3\n')
        process = self.run_program(f"--config={config}", f"--data_dir={self.data}", "--train-steps=9",
                                   f"--log-dir={self.log_dir}")
        self.assert_exit(process, 0)
        self.assertEqual(support.closing_line(process.stdout)[1], 9)
        self.assertEqual(self.checkpoint(9).metadata["seed"], "5")
        again = self.run_program(f"--config={self.log_dir}/config.toml", f"--data_dir={self.data}", "--train_steps=11",
                                 f"--log_dir={self.log_dir}")
        self.assert_exit(again, 0)
        self.assertIn("restored global_step 9\n", again.stderr)

    def test_invalid_cluster_descriptions(self):
        worker = ["--job_name=worker"]
        for arguments, says in (
                ([*PS_AND_WORKER], "--job_name is missing"),
                (["--job_name=master", *PS_AND_WORKER], "--job_name=master"),
                ([*worker, "--task-index=1", *PS_AND_WORKER], "--task_index=1 is out of range.*worker:0"),
                ([*worker, "--task_index", "3"], "--task_index=3 is out of range.*built-in.*worker:2"),
                ([*worker, "--ps_hosts=localhost", PS_AND_WORKER[1]], "'localhost' has no port"),
                ([*worker, "--ps_hosts=localhost:", PS_AND_WORKER[1]], "'localhost:'"),
                ([*worker, "--ps_hosts=localhost:65536", PS_AND_WORKER[1]], "65536.*1 to 65535"),
                ([*worker, "--ps_hosts=localhost:0", PS_AND_WORKER[1]], "1 to 65535"),
                ([*worker, "--ps_hosts=tcp://localhost:2222", PS_AND_WORKER[1]], "scheme"),
                ([*worker, "--ps_hosts=::1:2222", PS_AND_WORKER[1]], "brackets"),
                ([*worker, "--ps_hosts=localhost:2222,", PS_AND_WORKER[1]], "empty"),
                ([*worker, PS_AND_WORKER[0]], "no worker"),
                ([*worker, PS_AND_WORKER[1]], "no ps"),
                ([*worker, "--ps_hosts=localhost:2222", "--worker_hosts=localhost:2223,LocalHost:2222"],
                 "ps:0 and worker:1 are both at LocalHost:2222"),
                ([*worker, "--ps_hosts=a:1;b:2", PS_AND_WORKER[1]], "separated by commas or spaces, not by ';'"),
                ([*worker, "--ps_hosts=a:1", "b:2", PS_AND_WORKER[1]], "'b:2'.*quote"),
                ([*worker, "--ps_hosts=0.0.0.0:2222", PS_AND_WORKER[1]], "every interface.*--bind=0.0.0.0"),
                (["--job_name=ps", "--bind=*", *PS_AND_WORKER], "--bind=.*not an address to listen on"),
                (["--bind=0.0.0.0"], "--bind=0.0.0.0 without --job_name"),
                (["--task_index=1"], "--task_index=1 without --job_name")):
            with self.subTest(arguments):
                self.assert_usage_error(*arguments, says=says)

    def test_an_address_of_a_different_host_is_refused_with_the_local_ones(self):
        process = self.run_program("--job_name=ps", "--ps_hosts=198.51.100.7:2222", PS_AND_WORKER[1])
        self.assert_refused(process, 2, r"ps:0 cannot listen on 198\.51\.100\.7:2222: .*127\.0\.0\.1.*--bind=0\.0\.0\.0")

    def test_cluster_files(self):
        file = self.folder / "cluster.json"
        arguments = ["--job_name=ps", f"--cluster={file}"]
        self.assert_usage_error(*arguments, says=r"cluster\.json.*No such file")
        for content, says in (("{", r"cluster\.json is not JSON"), ("[]", r"cluster\.json"), ("", r"cluster\.json"),
                              ('{"worker": ["localhost:1"]}', r"no job 'ps' \(it has 'worker'\).*--ps_job"),
                              ('{"ps": ["localhost:1"], "ps": ["localhost:2"], "worker": ["localhost:3"]}', "twice"),
                              ('{"ps": ["localhost"], "worker": ["localhost:3"]}', "no port"),
                              ('{"ps": ["localhost:1"], "worker": {"one": "localhost:3"}}',
                               "'one' .* not a task number"),
                              ('{"cluster": {"ps": ["h:1"], "worker": ["h:2"]}, "task": {"type": "ps", "index": 0}}',
                               'TF_CONFIG.*"cluster".*"task"'),
                              ('{"ps": "localhost:1", "worker": ["localhost:3"]}', r"cluster\.json")):
            with self.subTest(content):
                file.write_text(content)
                self.assert_usage_error(*arguments, says=says)
        file.write_text('{"ps": ["localhost:1"], "worker": ["localhost:3"]}')
        self.assert_usage_error(*arguments, *PS_AND_WORKER, says="both describe the cluster")
        self.assert_usage_error("--job_name=ps", f"--cluster={self.folder}", says="--cluster=")


class DeviceTest(small_runs.SmallRunTest):
    def test_missing_devices(self):
        devices = {"/tpu:0": "tpu", "nonsense": "nonsense", "/cpu:1": "cpu.*number 0"}
        if not GPU_HERE:
            devices["/gpu:0"] = r"CUDA.*--device=/cpu:0"
        for device, says in devices.items():
            with self.subTest(device):
                self.assert_refused(self.run_program(*self.flags(f"--device={device}")), 2, says)
                self.assertFalse(self.log_dir.exists())

    def test_the_reference_device_is_available(self):
        self.train("--device=/device:REFERENCE:0", steps=5)


class DataTest(small_runs.SmallRunTest):
    """Damaged data: the error names the file and the position, and no run folder is created."""

    TRAIN, TEST = 100, 50

    def assert_refused_data(self, folder, *says, code=3, extra=()):
        process = self.run_program(*self.flags(f"--data_dir={folder}", *extra))
        self.assert_refused(process, code, *says)
        self.assertFalse(self.log_dir.exists())

    def damaged(self, name, change, gz=False):
        """A copy of the data in which change(bytes) is applied to one file."""
        folder = self.folder / f"data{len(list(self.folder.iterdir()))}"
        if gz:
            digits.write_data_set(folder, self.TRAIN, self.TEST, gz=True)
        else:
            shutil.copytree(self.data, folder)
        path = folder / (name + (".gz" if gz else ""))
        path.write_bytes(change(path.read_bytes()))
        return folder

    def test_a_missing_folder(self):
        self.assert_refused_data(self.folder / "none", r"/none: there is no such folder.*--download_only")

    def test_a_missing_file(self):
        folder = self.damaged("train-images-idx3-ubyte", bytes)
        (folder / "t10k-labels-idx1-ubyte").unlink()
        self.assert_refused_data(folder, r"missing t10k-labels-idx1-ubyte ")

    def test_damaged_plain_files(self):
        images, labels = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
        whole = 16 + self.TRAIN * 784
        for what, name, change, says in (
                ("truncated", images, lambda b: b[:5000], rf"truncated at offset 5000; its header announces {whole} "),
                ("header only", images, lambda b: b[:16], "truncated at offset 16;"),
                ("within the header", images, lambda b: b[:7], "truncated at offset 7, inside the 16-byte header"),
                ("empty", images, lambda b: b"", "truncated at offset 0"),
                ("magic", images, lambda b: b"\0\0\x0d\x03" + b[4:], "magic number 0x00000d03 at offset 0"),
                ("labels for images", images, lambda b: digits.idx_labels([1] * 9), "magic number 0x00000801"),
                ("more announced", labels, lambda b: b[:4] + struct.pack(">I", 51) + b[8:], "truncated at offset 58"),
                ("huge count", images, lambda b: b[:4] + b"\xff" * 12 + b[16:], "offset"),
                ("no images", images, lambda b: digits.idx_images([]), "dimension 0 at offset 4"),
                ("trailing bytes", labels, lambda b: b + b"\0", "1 unexpected bytes after the data, from offset 58"),
                ("label", labels, lambda b: b[:13] + b"\x0a" + b[14:], "label 10 of item 5 at offset 13 is above 9")):
            with self.subTest(what):
                self.assert_refused_data(self.damaged(name, change), rf"/{name}: ", says)

    def test_damaged_compressed_files(self):
        images = "train-images-idx3-ubyte"

        def flipped(content, at):
            return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1:]

        for what, change, says in (
                ("truncated", lambda b: b[:len(b) // 2], "offset"),
                ("checksum", lambda b: flipped(b, len(b) - 6), "offset"),
                ("middle", lambda b: flipped(b, len(b) // 2), "offset"),
                ("not packed", lambda b: b"\x1f\x8b nonsense", "offset"),
                ("trailing bytes", lambda b: gzip.compress(gzip.decompress(b) + b"\0"), "unexpected bytes")):
            with self.subTest(what):
                self.assert_refused_data(self.damaged(images, change, gz=True), rf"/{images}\.gz: ", says)

    def test_files_that_do_not_match(self):
        folder = self.damaged("train-labels-idx1-ubyte", lambda b: digits.idx_labels([3] * 99))
        self.assert_refused_data(folder, r"100 images, but \S+ has 99 labels: they do not belong together")

    def test_images_with_a_different_size(self):
        folder = self.damaged("t10k-images-idx3-ubyte",
                              lambda b: struct.pack(">4BIII", 0, 0, 8, 3, 50, 14, 14) + bytes(50 * 14 * 14))
        self.assert_refused_data(folder, "its images are 14x14")

    def test_a_batch_larger_than_the_training_set(self):
        self.assert_refused_data(self.data, "--batch_size=101: a step of 101 samples is larger .* 100 images", code=2,
                                 extra=["--batch_size=101"])
        self.assert_refused_data(self.data, r"--batch_size_schedule=0:20,9:101: a step of 101 samples is larger", code=2,
                                 extra=["--batch_size_schedule=0:20,9:101"])
        self.train("--batch_size=100", steps=3)


class RunFolderTest(small_runs.SmallRunTest):
    def test_folders_that_cannot_be_written(self):
        file = self.folder / "file"
        file.write_text("mine")
        for log_dir in (file, file / "below", "/proc/distmnist-run"):
            with self.subTest(log_dir):
                self.assert_refused(self.run_program(*self.flags(f"--log_dir={log_dir}")), 2,
                                    rf"cannot \w+ .*run folder {log_dir}: .*choose a different --log_dir")
        self.assertEqual(file.read_text(), "mine")

    def test_a_folder_that_another_run_uses(self):
        first = self.start([self.program(), *self.flags("--log_every=10", steps=small_runs.ENDLESS)])
        first.wait_for(r"^Worker : 0, Step: 10,")
        for extra in ([], ["--fresh"]):
            self.assert_refused(self.run_program(*self.flags(*extra)), 6, r"/run is in use by another process")
        self.assertIsNone(first.popen.poll())
        self.assertFalse((self.log_dir / "old-1").exists())

    def test_a_checkpoint_of_a_different_model_or_optimizer_is_refused_and_kept(self):
        self.train(steps=10)
        before = small_runs.contents(self.log_dir)
        for flag, says in (("--model=mlp", r"model\.ckpt-10\.safetensors.*softmax.*mlp"),
                           ("--optimizer=sgd", r"model\.ckpt-10\.safetensors.*adam.*sgd")):
            with self.subTest(flag):
                self.assert_refused(self.run_program(*self.flags(flag, steps=20)), 5, says)
                self.assertEqual(small_runs.contents(self.log_dir), before)

    def test_a_foreign_checkpoint_is_refused(self):
        self.log_dir.mkdir()
        header = json.dumps({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        small_runs.checkpoint_path(self.log_dir, 10).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        before = small_runs.contents(self.log_dir)
        process = self.run_program(*self.flags())
        self.assert_refused(process, 3, r"1 checkpoint in \S+/run, but none is valid")
        self.assertRegex(process.stderr, r"W local\] skipped a broken checkpoint: \S+model\.ckpt-10\.safetensors: ")
        self.assertEqual({name: content for name, content in small_runs.contents(self.log_dir).items()
                          if name in before}, before)
        self.assert_refused(self.run_program("predict", f"--log_dir={self.log_dir}", self.folder / "x.png"), 3,
                            "1 checkpoint in .* none is valid")

    def test_a_run_that_diverges_ends_with_8_and_does_not_save_its_model(self):
        self.assert_refused(self.run_program(*self.flags(*small_runs.DIVERGING)), 8,
                            r"the loss is nan at global_step \d+; lower --learning_rate")
        self.assertEqual(small_runs.checkpoint_steps(self.log_dir), [])

    def test_divergence_in_the_last_step_is_detected(self):
        codes = []
        for steps in (1, 2, 3, 4, 5):
            process = self.run_program(*self.flags(*small_runs.DIVERGING, "--fresh", steps=steps))
            codes.append(process.popen.returncode)
            self.assertEqual(bool(small_runs.checkpoint_steps(self.log_dir)), codes[-1] == 0, process.tail())
            for tensor in self.checkpoint(steps).tensors.values() if codes[-1] == 0 else ():
                self.assertTrue(math.isfinite(sum(array.array("f", tensor))), f"after {steps} steps")
        self.assertEqual(set(codes), {0, 8}, "from some step on the run diverges")
        self.assertEqual(codes, sorted(codes))


class SubcommandTest(small_runs.SmallRunTest):
    def test_predict_refuses_files_that_are_not_pictures(self):
        self.train(steps=5)
        picture = pictures.png(28, 28, bytes(784))
        (self.folder / "text.png").write_text("not a picture")
        (self.folder / "cut.png").write_bytes(picture[:50])
        (self.folder / "text.txt").write_text("not a picture at all")
        (self.folder / "labels").write_bytes(digits.idx_labels([1, 2]))
        (self.folder / "small").write_bytes(struct.pack(">4BIII", 0, 0, 8, 3, 1, 14, 14) + bytes(196))
        (self.folder / "huge.png").write_bytes(pictures.png(50_000, 1, bytes(50_000)))
        (self.folder / "empty.png").write_bytes(b"")
        for name, says in (("text.png", r"text \(\"not a picture\"\); only PNG, JPEG and IDX"),
                           ("cut.png", r"a PNG .*cut off"),
                           ("text.txt", r"text \(\"not a picture at all\"\)"), ("labels", "IDX file of labels"),
                           ("small", "14x14.*28x28"),
                           ("huge.png", "50000 x 1 pixels are too many; scale it down to at most 30000"),
                           ("empty.png", "empty"), ("none.png", "No such file"), ("none", "No such file")):
            with self.subTest(name):
                process = self.run_program("predict", f"--log_dir={self.log_dir}", self.folder / name)
                self.assert_refused(process, 3, rf"{self.folder}/{name}", says)

    def test_inspect_refuses_files_that_are_not_checkpoints(self):
        for name, content in (("text", b"not a checkpoint, by far"), ("empty", b""), ("header", b"\xff" * 8),
                              ("brackets", struct.pack("<Q", 100_000) + b"[" * 100_000)):
            with self.subTest(name):
                (self.folder / name).write_bytes(content)
                self.assert_refused(self.run_program("inspect", self.folder / name), 3, rf"{self.folder}/{name}: ")
        self.assert_refused(self.run_program("inspect", self.folder / "none"), 3, "/none: No such file")
        self.assert_refused(self.run_program("inspect", self.folder), 3, str(self.folder))

    def test_evaluate_refuses_an_empty_folder_and_missing_data(self):
        for log_dir in (self.folder / "none", self.folder):
            self.assert_refused(self.run_program("evaluate", f"--log_dir={log_dir}", f"--data_dir={self.data}"), 3,
                                rf"{log_dir} has no checkpoint")
        self.train(steps=5)
        no_data = self.folder / "no"
        self.assert_refused(self.run_program("evaluate", f"--log_dir={self.log_dir}", f"--data_dir={no_data}"), 3,
                            "/no: there is no such folder")


if __name__ == "__main__":
    support.main()
