"""A run knows its data: workers compare images, evaluate uses the data of the run, and different data is reported or
refused."""

import json
import shutil
import struct

import digits
import small_runs
import support


def changed(source, folder, images=bytes, labels=bytes):
    """A copy of a data set with functions of bytes applied to its pixels and labels."""
    shutil.copytree(source, folder)
    for path in folder.iterdir():
        header, change = (16, images) if "images" in path.name else (8, labels)
        content = path.read_bytes()
        path.write_bytes(content[:header] + change(content[header:]))
    return folder


def inverted(pixels):
    return bytes(255 - pixel for pixel in pixels)


def without_data(path):
    """Rewrites a checkpoint in the form of versions before this one."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    metadata = {key: value for key, value in header["__metadata__"].items() if not key.startswith("data_")}
    header["__metadata__"] = {**metadata, "crc32c_header": "00000000"}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text
    head = head.replace(b'"crc32c_header":"00000000"', b'"crc32c_header":"%08x"' % crc32c(head))
    path.write_bytes(head + content[8 + size:])


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class EvaluateTest(small_runs.SmallRunTest):
    def evaluate(self, *extra, **options):
        return self.run_program("evaluate", f"--log_dir={self.log_dir}", *extra, **options)

    def assert_evaluates(self, trained, *extra, **options):
        process = self.evaluate(*extra, **options)
        self.assert_exit(process, 0)
        self.assertEqual(support.closing_line(process.stdout), trained)
        return process

    def test_the_data_of_the_run_is_found_from_any_working_directory(self):
        work = self.folder / "work"
        shutil.copytree(self.data, work / "data")
        process = self.start([self.program(), *self.flags("--data_dir=data", steps=6)], cwd=work)
        self.assert_exit(process, 0)
        trained = support.closing_line(process.stdout)
        self.assert_evaluates(trained)
        self.assert_evaluates(trained, cwd="/")
        self.assertIn(f'data_dir = "{work}/data"\n', (self.log_dir / "config.toml").read_text())
        self.assertEqual(self.checkpoint(6).metadata["data_source"], f"{work}/data")
        again = self.start([self.program(), f"--config={self.log_dir}/config.toml", "--train_steps=4"], cwd="/")
        self.assert_exit(again, 0)
        self.assertIn(f"data: MNIST from {work}/data (400 + 100)", again.stderr)

        (work / "data").rename(work / "moved")
        self.assert_refused(self.evaluate(), 3, rf"model\.ckpt-6.*trained on the data \"{work}/data\", which cannot be used",
                            "--data_dir")
        self.assert_evaluates(trained, f"--data_dir={work}/moved")

    def test_a_cluster_run_stores_the_chiefs_data(self):
        cluster = self.train_cluster(1, 2, steps=40)
        self.assert_evaluates(support.closing_line(cluster.worker(0).stdout))

    def test_runs_on_synthetic_digits_and_on_the_cache_are_evaluated_on_them(self):
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        shutil.copytree(self.data, self.folder / "cache" / "distmnist" / "mnist")
        small = [flag for flag in self.flags(steps=6) if not flag.startswith("--data_dir")]
        for source, flags in (("mnist", []), ("synthetic", ["--dataset=synthetic", "--fresh"])):
            with self.subTest(source):
                process = self.run_program(*small, *flags, env=cache)
                self.assert_exit(process, 0)
                self.assertEqual(self.checkpoint(6).metadata["data_source"], source)
                self.assert_evaluates(support.closing_line(process.stdout), env=cache)

    def test_different_data_is_refused_unless_a_flag_allows_it(self):
        trained = support.closing_line(self.train(steps=6).stdout)
        other = changed(self.data, self.folder / "other", images=inverted)
        self.assert_refused(self.evaluate(f"--data_dir={other}"), 3, rf"trained on the data \"{self.data}\" \(400 \+ 100",
                            rf"MNIST from {other} \(400 \+ 100\) is different data", "--other_data")
        self.assert_refused(self.evaluate("--dataset=synthetic"), 3, r"synthetic digits .*is different data")
        process = self.evaluate(f"--data_dir={other}", "--other_data")
        self.assert_exit(process, 0)
        self.assertNotEqual(support.closing_line(process.stdout), trained)
        self.assert_evaluates(trained, "--other_data")

    def test_the_same_folder_with_different_data_is_refused(self):
        data = self.folder / "data"
        shutil.copytree(self.data, data)
        self.train(f"--data_dir={data}", steps=6)
        shutil.rmtree(data)
        changed(self.data, data, labels=lambda labels: labels[::-1])
        self.assert_refused(self.evaluate(), 3, "is different data")

    def test_checkpoints_of_earlier_versions_are_evaluated_with_a_warning(self):
        trained = support.closing_line(self.train(steps=6).stdout)
        without_data(small_runs.checkpoint_path(self.log_dir, 6))
        process = self.assert_evaluates(trained, f"--data_dir={self.data}")
        self.assertNotIn("does not say", process.stderr)
        process = self.evaluate("--dataset=synthetic")
        self.assert_exit(process, 0)
        shutil.copytree(self.data, self.folder / "cache" / "distmnist" / "mnist")
        process = self.assert_evaluates(trained, env={"XDG_CACHE_HOME": str(self.folder / "cache")})
        self.assertRegex(process.stderr, r"W local\] \S+model\.ckpt-6\.\S+ does not say which data")
        self.assertNotIn("trained on other data", self.train(steps=8).stderr)


class ResumeTest(small_runs.SmallRunTest):
    WARNING = r"W local\] the checkpoint of global_step 20 was trained on other data: "

    def test_the_same_data_in_a_different_folder_causes_no_warning(self):
        self.train(steps=20)
        shutil.copytree(self.data, self.folder / "copy")
        self.assertNotIn("trained on other data", self.train(f"--data_dir={self.folder}/copy", steps=30).stderr)

    def test_different_data_causes_one_warning_that_names_both(self):
        other = digits.write_data_set(self.folder / "other", 300, 50, seed=2)
        for what, data in (("counts", other), ("images", changed(self.data, self.folder / "i", images=inverted)),
                           ("labels", changed(self.data, self.folder / "l", labels=lambda labels: labels[::-1]))):
            with self.subTest(what):
                self.train("--fresh", steps=20)
                process = self.train(f"--data_dir={data}", steps=30)
                self.assertRegex(process.stderr, self.WARNING + rf"{self.data} .*; the run continues with {data} ")
                self.assertEqual(process.stderr.count("trained on other data"), 1)
                self.assertEqual(self.checkpoint(30).metadata["data_source"], str(data))
                self.assertNotIn("trained on other data", self.train(f"--data_dir={data}", steps=35).stderr)

    def test_different_classes_are_refused_and_the_run_is_not_changed(self):
        self.train(steps=20)
        before = small_runs.contents(self.log_dir)
        five = changed(self.data, self.folder / "five", labels=lambda labels: bytes(label % 5 for label in labels))
        self.assert_refused(self.run_program(*self.flags(f"--data_dir={five}", steps=30)), 3,
                            r"in 10 classes.*in 5 classes.*different classes.*--fresh")
        self.assertEqual(small_runs.contents(self.log_dir), before)
        self.train(f"--data_dir={five}", "--fresh", steps=5)

    def test_in_a_cluster_the_chief_warns(self):
        self.train(steps=20)
        other = changed(self.data, self.folder / "other", images=inverted)
        cluster = self.train_cluster(1, 2, f"--data_dir={other}", steps=40)
        self.assertEqual([cluster.worker(i).stderr.count("trained on other data") for i in (0, 1)], [1, 0])


class WorkersTest(small_runs.SmallRunTest):
    def test_a_worker_with_different_images_is_refused(self):
        scaled = changed(self.data, self.folder / "scaled", images=lambda pixels: bytes(p // 2 for p in pixels))
        cluster = self.cluster(1, 2, self.flags(steps=small_runs.ENDLESS, log_dir=False))
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 0).wait_for(r"first step")
        worker = self.start(
            [self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1",
             *self.flags(f"--data_dir={scaled}", steps=small_runs.ENDLESS, log_dir=False)])
        self.assert_refused(worker, 5, "the data", r"400 \+ 100 images")

    def test_a_worker_with_the_same_data_in_a_different_folder_is_accepted(self):
        shutil.copytree(self.data, self.folder / "copy")
        cluster = self.cluster(1, 2, self.flags(steps=60))
        cluster.start_task("ps", 0)
        cluster.start_task("worker", 0)
        other = self.start([self.program(), *cluster.flags(), "--job_name=worker", "--task_index=1",
                            *self.flags(f"--data_dir={self.folder}/copy", steps=60)])
        cluster.assert_all_done()
        self.assert_exit(other, 0)
        self.assertEqual(self.checkpoint(small_runs.checkpoint_steps(self.log_dir)[-1]).metadata["data_source"],
                         str(self.data))


if __name__ == "__main__":
    support.main()
