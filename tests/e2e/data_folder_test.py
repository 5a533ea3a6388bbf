"""Finding data in a folder, and errors that describe the folder otherwise: names and locations of the data, folders
without access, files in place of folders, and the cache."""

import gzip
import os
import shutil
import unittest

import digits
import pictures
import small_runs
import support

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PAGE = b"<html><head><title>403 Forbidden</title></head></html>\n"
NOBODY = 65534


class LayoutTest(small_runs.SmallRunTest):
    TRAIN, TEST = 60, 20

    def lay_out(self, place):
        """Creates a folder with the bytes of each file NAME at place(NAME)."""
        folder = self.folder / f"data{len(list(self.folder.iterdir()))}"
        for name in NAMES:
            path = folder / place(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.data / name, path)
        return folder

    def test_layouts_of_common_unpacking_tools_are_found(self):
        dotted = {name: name.replace("-idx", ".idx") for name in NAMES}
        for what, place in (("dots", dotted.get), ("upper case", str.upper), ("raw", lambda n: f"raw/{n}"),
                            ("torchvision", lambda n: f"MNIST/raw/{n}"), ("a folder each", lambda n: f"{n}/{n}"),
                            ("a folder each, dots", lambda n: f"{n}/{dotted[n]}"), ("plain under .gz", lambda n: f"{n}.gz")):
            with self.subTest(what):
                self.train(f"--data_dir={self.lay_out(place)}", steps=3, log_dir=False)

    def test_a_broken_plain_file_beside_a_compressed_one_is_a_warning(self):
        folder = self.lay_out(lambda name: name)
        images = folder / NAMES[0]
        images.with_name(NAMES[0] + ".gz").write_bytes(gzip.compress(images.read_bytes()))
        for broken in (images.read_bytes()[:-1000], b"", PAGE):
            images.write_bytes(broken)
            process = self.train(f"--data_dir={folder}", steps=3, log_dir=False)
            self.assertRegex(process.stderr, rf"W local\] data: using {images}\.gz instead of {images}: ")

    def test_error_pages_and_archives_with_the_files_names_are_recognized(self):
        for content, says in ((PAGE, "an HTML page.*a failed download; fetch the file again"),
                              (gzip.compress(PAGE), "its gzip data is an HTML page"), (b"", "the file is empty"),
                              (b"PK\3\4 and so on", "a zip archive"), (bytes(5000), "zeros"),
                              (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*git lfs pull"),
                              (digits.idx_labels([1, 2]), "IDX data of labels.*mixed up")):
            with self.subTest(says):
                folder = self.lay_out(lambda name: name)
                (folder / NAMES[0]).rename(folder / (NAMES[0] + ".gz"))
                (folder / (NAMES[0] + ".gz")).write_bytes(content)
                self.assert_refused(self.run_program(*self.flags(f"--data_dir={folder}")), 3,
                                    rf"/{NAMES[0]}\.gz: .*{says}")
                self.assertFalse(self.log_dir.exists())

    def test_zeros_after_compressed_data_are_ignored(self):
        folder = digits.write_data_set(self.folder / "gz", self.TRAIN, self.TEST, gz=True)
        path = folder / (NAMES[0] + ".gz")
        path.write_bytes(path.read_bytes() + bytes(10240))
        self.train(f"--data_dir={folder}", steps=3, log_dir=False)
        path.write_bytes(path.read_bytes() + b"x")
        self.assert_refused(self.run_program(*self.flags(f"--data_dir={folder}")), 3, "something else at offset")

    def test_an_error_about_missing_files_lists_the_folder(self):
        folder = self.folder / "digits"
        shutil.copytree(self.data, folder / "unpacked")
        (folder / "archive.zip").write_bytes(b"PK")
        self.assert_refused(self.run_program(*self.flags(f"--data_dir={folder}")), 3, "missing train-images-idx3-ubyte, ",
                            rf"holds archive\.zip, unpacked/, and {folder}/unpacked has all four files: --data_dir")
        link = self.folder / "link"
        link.symlink_to(folder / "gone")
        self.assert_refused(self.run_program(*self.flags(f"--data_dir={link}")), 3,
                            r"a link to \S+/gone, which does not exist")

    def test_a_file_where_a_folder_is_expected(self):
        file = self.data / NAMES[0]
        for slash in ("", "/"):
            self.assert_refused(self.run_program(*self.flags(f"--data_dir={file}{slash}")), 3,
                                rf"{file} is a file, not a folder; name the folder that it is in: "
                                rf"--data_dir {self.data}")
        self.assert_refused(self.run_program(*self.flags(f"--log_dir={file}")), 2, rf"run folder {file}: .*a file")


class RunPlaceTest(small_runs.SmallRunTest):
    """A run can be given as a folder or as one of its files to commands that only read it."""

    TRAIN, TEST = 60, 20

    def setUp(self):
        super().setUp()
        self.train(steps=5)
        self.train(steps=9)
        self.picture = pictures.write(self.folder / "a.png", pictures.png(28, 28, bytes(784)))

    def test_log_dir_accepts_a_checkpoint_and_inspect_accepts_a_folder(self):
        older = self.folder / "my favourite"
        shutil.copy(small_runs.checkpoint_path(self.log_dir, 5), older)
        for path, step in ((self.log_dir, 9), (small_runs.checkpoint_path(self.log_dir, 5), 5), (older, 5)):
            with self.subTest(path):
                process = self.run_program("evaluate", f"--log_dir={path}")
                self.assert_exit(process, 0)
                self.assertEqual(support.closing_line(process.stdout)[1], step)
                self.assert_exit(self.run_program("predict", f"--log_dir={path}", "--raw", self.picture), 0)
                process = self.run_program("inspect", path)
                self.assert_exit(process, 0)
                self.assertIn(f"global_step: {step}\n", process.stdout)
        self.assert_exit(self.run_program("evaluate", f"--log_dir={older}/"), 0)

    def test_the_error_for_a_folder_of_runs_names_one_of_them(self):
        for command in (["evaluate", f"--log_dir={self.folder}"], ["inspect", self.folder]):
            self.assert_refused(self.run_program(*command), 3, rf"{self.folder} has no checkpoint.*in {self.log_dir}")

    def test_other_files_as_runs_and_folders_as_pictures_are_refused(self):
        config = self.log_dir / "config.toml"
        for file, says in ((self.picture, "a PNG picture"), (config, "text"), (self.data / NAMES[1], "IDX data of labels")):
            self.assert_refused(self.run_program("evaluate", f"--log_dir={file}"), 3,
                                rf"{file}: {says}.*not a safetensors file")
        self.assert_refused(self.run_program("predict", f"--log_dir={self.log_dir}", self.data), 3,
                            rf"{self.data}: a folder; name the pictures")


class ClosedFolderTest(small_runs.SmallRunTest):
    TRAIN, TEST = 60, 20

    def test_every_command_names_the_folder_without_access_permission(self):
        closed = self.folder / "closed"
        shutil.copytree(self.data, closed / "in")
        self.train(f"--log_dir={closed}/run", steps=5)
        picture = pictures.write(self.folder / "a.png", pictures.png(28, 28, bytes(784)))
        checkpoint = small_runs.checkpoint_path(closed / "run", 5)
        link = self.folder / "link"
        link.symlink_to(closed / "in")
        closed.chmod(0)
        self.addCleanup(closed.chmod, 0o700)
        small = [flag for flag in self.flags(log_dir=False) if not flag.startswith("--data_dir")]
        for code, *command in ((3, f"--data_dir={closed}", *small), (3, f"--data_dir={closed}/in", *small),
                               (3, f"--data_dir={link}", *small), (3, "evaluate", f"--log_dir={closed}/run"),
                               (3, "evaluate", f"--log_dir={checkpoint}"), (3, "inspect", checkpoint),
                               (3, "inspect", closed / "run"), (3, "predict", f"--log_dir={closed}", picture),
                               (2, *self.flags(f"--log_dir={closed}/run")), (2, *self.flags(f"--log_dir={closed}/new")),
                               (2, f"--config={closed}/run/config.toml")):
            with self.subTest(command):
                process = self.start([*support.without_privileges(), self.program(), *command])
                self.assert_refused(process, code, rf"cannot look into {closed}: Permission denied")


class CacheTest(small_runs.SmallRunTest):
    """The cache is used only if no other user can write it."""

    TRAIN, TEST = 1400, 20  # images; more than a megabyte, so that they are kept uncompressed

    @classmethod
    def write_data(cls, folder):
        return digits.write_data_set(folder, cls.TRAIN, cls.TEST, gz=True)

    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.kept = self.cache / "distmnist" / "unpacked"

    def run_cached(self, **environment):
        process = self.start([self.program(), *self.flags("--train_steps=3", log_dir=False)],
                             env={"XDG_CACHE_HOME": str(self.cache), **environment})
        self.assert_exit(process, 0)
        return process

    def copies(self):
        return [path for path in self.kept.glob("*-*")]

    def warnings(self, process):
        return [line for line in process.stderr.splitlines() if ": W local] the cache " in line]

    def test_copies_are_private_to_the_user_whatever_the_umask(self):
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        process = self.run_cached()
        self.assertEqual(self.warnings(process), [])
        self.assertEqual(len(self.copies()), 1)
        for path in (self.cache / "distmnist", self.kept, *self.copies()):
            self.assertEqual(path.stat().st_mode & 0o022, 0, path)
        self.assertEqual(self.warnings(self.run_cached()), [])

    def test_a_folder_that_other_users_can_write_is_not_used(self):
        for shared in (self.cache / "distmnist", self.kept):
            for mode in (0o775, 0o757):
                with self.subTest(shared=shared, mode=mode):
                    shutil.rmtree(self.cache, ignore_errors=True)
                    self.kept.mkdir(parents=True, mode=0o755)
                    shared.chmod(mode)
                    process = self.run_cached()
                    self.assertEqual(len(self.warnings(process)), 1, process.stderr)
                    self.assertRegex(process.stderr, rf"the cache {shared} can be written by others \(chmod go-w")
                    self.assertEqual(self.copies(), [])

    @unittest.skipIf(os.geteuid() != 0, "only root can give a folder to another user")
    def test_a_folder_or_copy_of_a_different_user_is_not_used(self):
        self.run_cached()
        copy, = self.copies()
        planted = bytearray(copy.read_bytes())
        planted[16:] = bytes(len(planted) - 16)
        copy.write_bytes(planted)
        self.assertNotEqual(copy.read_bytes()[16:], b"")
        os.chown(copy, NOBODY, NOBODY)
        self.run_cached()
        self.assertNotEqual(self.copies()[0].read_bytes(), bytes(planted), "written again")
        for theirs in (self.kept, self.cache / "distmnist"):
            os.chown(theirs, NOBODY, NOBODY)
            self.assertRegex(self.run_cached().stderr, rf"the cache {theirs} belongs to another user \(uid {NOBODY}\)")
        shutil.rmtree(self.cache / "distmnist")
        os.chown(self.cache, NOBODY, NOBODY)
        self.assertRegex(self.run_cached().stderr, rf"would be made in {self.cache}, which belongs to another user")
        self.assertFalse((self.cache / "distmnist").exists())

    def test_without_home_the_temporary_folder_is_not_used_as_cache(self):
        process = self.start(["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", f"TMPDIR={self.folder}/tmp", self.program(),
                              *self.flags("--train_steps=3", f"--data_dir={self.data}", log_dir=False)])
        (self.folder / "tmp").mkdir()
        self.assert_exit(process, 0)
        self.assertEqual(list((self.folder / "tmp").iterdir()), [])

    def test_mnist_from_a_shared_cache_is_not_used(self):
        digits.write_data_set(self.cache / "distmnist" / "mnist", 60, 20)
        environment = {"XDG_CACHE_HOME": str(self.cache)}
        arguments = [self.program(), "--dataset=mnist", *small_runs.SMALL, "--train_steps=3"]
        self.assert_exit(self.start(arguments, env=environment), 0)
        (self.cache / "distmnist" / "mnist").chmod(0o777)
        process = self.start(arguments, env=environment)
        self.assert_exit(process, 3)
        self.assertEqual(len(self.warnings(process)), 1)


if __name__ == "__main__":
    support.main()
