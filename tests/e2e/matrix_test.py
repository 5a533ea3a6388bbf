"""Every kind of replication, trained to a given accuracy on a part of MNIST: between_graph with 1 and 3 workers on 1
and 2 ps, as processes and as threads, and in_graph with 1 and 3 towers; each synchronous and asynchronous."""

import gzip
import itertools
import pathlib
import struct

import digits
import small_runs
import strategy_runs
import support

BATCH_SIZE = 50
STEPS, EVERY = 200, 50
ACCURACY = 0.8  # of 500 test images
# (where, workers, ps). One worker and one ps in one process are local training, the same as in_graph with one tower.
CLUSTERS = [case for case in itertools.product(strategy_runs.PLACES, (1, 3), (1, 2)) if case != ("threads", 1, 1)]


def write_slice(folder, source, train, test):
    """Writes the first images of the four files in `source`, which can be compressed."""
    folder.mkdir()
    source = pathlib.Path(source)
    for part, count in (("train", train), ("t10k", test)):
        for kind, header_bytes, item_bytes in (("images-idx3", 16, digits.SIDE * digits.SIDE), ("labels-idx1", 8, 1)):
            path = source / f"{part}-{kind}-ubyte"
            with path.open("rb") if path.exists() else gzip.open(f"{path}.gz") as file:
                content = file.read(header_bytes + count * item_bytes)
            (folder / path.name).write_bytes(content[:4] + struct.pack(">I", count) + content[8:])
    return folder


class MatrixTest(strategy_runs.StrategyTest):
    FLAGS = ["--model=mlp", f"--batch_size={BATCH_SIZE}", "--learning_rate=0.001", f"--log_every={EVERY}"]

    @classmethod
    def write_data(cls, folder):
        source = support.real_mnist()
        if source:
            return write_slice(folder, source, 3000, 500)
        return digits.write_data_set(folder, 1000, 500)

    def run_fresh(self, place, num_ps, num_workers, *extra, steps=STEPS):
        return self.run_cluster(place, num_ps, num_workers, *self.FLAGS, "--fresh", *extra, steps=steps)

    def assert_synchronous(self, run, steps=STEPS, accuracy=ACCURACY, batch_size=BATCH_SIZE):
        """Checks that all workers saw all steps and made one gradient for each."""
        workers = range(run.num_workers)
        closings = run.closings()
        self.assertEqual(closings, [closings[0]] * run.num_workers, "the same parameters")
        self.assertEqual(closings[0][1], steps)
        self.assertGreaterEqual(closings[0][0], accuracy)
        for worker in workers:
            self.assertEqual(run.progress(worker), list(range(EVERY, steps + 1, EVERY)))
            self.assertEqual(run.pushes(worker), strategy_runs.Pushes(steps, 0, 0, {"0": steps}))
        self.assertEqual(self.checkpoint(steps).consumed_samples, {worker: steps * batch_size for worker in workers})

    def assert_asynchronous(self, run, steps=STEPS, accuracy=ACCURACY, batch_size=BATCH_SIZE):
        """Checks that each step belongs to one worker, and that some steps were made after the last requested one."""
        workers = range(run.num_workers)
        for reached, step in run.closings():
            self.assertIn(step, range(steps, steps + run.num_workers))
            self.assertGreaterEqual(reached, accuracy)
        self.assertEqual(sorted(step for worker in workers for step in run.progress(worker)),
                         list(range(EVERY, steps + 1, EVERY)))
        (last_step,) = small_runs.checkpoint_steps(self.log_dir)
        self.assertEqual(last_step, max(step for _, step in run.closings()))
        pushes = run.all_pushes()
        self.assertEqual(sum(one.accepted for one in pushes), last_step)
        for one in pushes:
            self.assertEqual(one.dropped, 0)
            self.assertEqual(sum(one.by_staleness.values()), one.accepted)
        samples = {worker: pushes[worker].accepted * batch_size for worker in workers}
        self.assertEqual(self.checkpoint(last_step).consumed_samples, {w: n for w, n in samples.items() if n})

    def test_between_graph_synchronous(self):
        for place, num_workers, num_ps in CLUSTERS:
            with self.subTest(place=place, workers=num_workers, ps=num_ps):
                self.assert_synchronous(self.run_fresh(place, num_ps, num_workers, "--sync_replicas"))

    def test_between_graph_asynchronous(self):
        for place, num_workers, num_ps in CLUSTERS:
            with self.subTest(place=place, workers=num_workers, ps=num_ps):
                self.assert_asynchronous(self.run_fresh(place, num_ps, num_workers))

    def test_in_graph_synchronous(self):
        for devices in ("/cpu:0", "/cpu:0,/cpu:1,/cpu:2"):
            with self.subTest(devices):
                process = self.train(*self.FLAGS, "--fresh", "--replication=in_graph", f"--devices={devices}",
                                     steps=STEPS)
                accuracy, step = support.closing_line(process.stdout)
                self.assertGreaterEqual(accuracy, ACCURACY)
                self.assertEqual(step, STEPS)
                self.assertEqual(self.checkpoint(STEPS).consumed_samples, {0: STEPS * BATCH_SIZE})

    def test_in_graph_asynchronous(self):
        flags = [*self.FLAGS, "--fresh", "--replication=in_graph", "--nosync_replicas", "--batch_per_tower"]
        alone = self.train(*flags, "--devices=/cpu:0", steps=STEPS)
        self.assertEqual(support.closing_line(alone.stdout)[1], STEPS)
        towers = self.train(*flags, "--devices=/cpu:0,/cpu:1,/cpu:2", steps=STEPS)
        self.assert_asynchronous(strategy_runs.Run([towers], 3))

    def test_the_tutorials_network(self):
        flags = ["--model=mnist_cnn", "--batch_size=20", "--sync_replicas"]
        self.assert_synchronous(self.run_fresh("processes", 2, 3, *flags, steps=50), 50, 0.7, 20)
        asynchronous = [flag for flag in flags if flag != "--sync_replicas"]
        self.assert_asynchronous(self.run_fresh("threads", 2, 3, *asynchronous, steps=150), 150, 0.7, 20)


if __name__ == "__main__":
    support.main()
