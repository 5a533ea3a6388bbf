#!/usr/bin/env python3
"""Measures the time of a training step of mnist_cnn in PyTorch, with the samples on the GPU. It answers requests like
step_bench, so that the two can alternate on one card. Each line of standard input is a request `VARIANT BATCH
PRECISION`, and a line of JSON is the answer with microseconds per step: the mean of one repetition of at least 0.2 s.

VARIANT is eager, compile (torch.compile), graph (a CUDA graph of the eager step) or compile_graph (a CUDA graph of the
compiled one). PRECISION is f32 (no TF32 anywhere), tf32, or bf16 (autocast, float32 parameters). All use the fused Adam
and the memory layout, NCHW or channels_last, in which the graph of this batch and precision is faster.
"""

import contextlib
import json
import math
import sys
import time

REPETITION_S = 0.2
SAMPLES = 60000
LONGEST_RUN = 4000  # steps
WARM_UP_STEPS = 3  # before a capture, as PyTorch recommends
VARIANTS = ("eager", "compile", "graph", "compile_graph")
PRECISIONS = ("f32", "tf32", "bf16")


def make_network(torch, memory_format):
    layers = torch.nn
    network = layers.Sequential(
        layers.Conv2d(1, 32, 5, padding=2), layers.ReLU(), layers.MaxPool2d(2),
        layers.Conv2d(32, 64, 5, padding=2), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(),
        layers.Linear(3136, 500), layers.ReLU(), layers.Linear(500, 10))
    return network.to("cuda", memory_format=memory_format)


class Training:
    """A network, its optimizer and one way of making steps: run(count) makes `count` steps and waits for their end."""

    def __init__(self, torch, data, variant, batch, precision, memory_format):
        self.torch, self.batch, self.precision, self.memory_format = torch, batch, precision, memory_format
        self.images, self.labels = data
        self.order = torch.randint(0, SAMPLES, (LONGEST_RUN, batch), device="cuda")
        self.position = torch.zeros(1, dtype=torch.long, device="cuda")
        self.network = make_network(torch, memory_format)
        graphed = variant in ("graph", "compile_graph")
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4, fused=True, capturable=graphed)
        self.loss = torch.compile(self.loss_of, dynamic=False) if variant.startswith("compile") else self.loss_of
        self.graph = self.capture() if graphed else None

    def loss_of(self, samples):
        images = self.images[samples].to(self.torch.float32).div_(255)
        logits = self.network(images.contiguous(memory_format=self.memory_format))
        return self.torch.nn.functional.cross_entropy(logits.float(), self.labels[samples])

    def autocast(self):
        if self.precision != "bf16":
            return contextlib.nullcontext()
        # Casts that are cached between steps would become invalid in a graph.
        return self.torch.autocast("cuda", dtype=self.torch.bfloat16, cache_enabled=False)

    def step(self, samples):
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(samples)
        loss.backward()
        self.optimizer.step()

    def graphed_step(self):
        """Gets its samples by a position on the device, so that the host has nothing to do between two replays."""
        self.step(self.order.index_select(0, self.position).view(-1))
        self.position.add_(1).remainder_(LONGEST_RUN)

    def capture(self):
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self.graphed_step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.graphed_step()
        return graph

    def run(self, count):
        if self.graph:
            for _ in range(count):
                self.graph.replay()
        else:
            for i in range(count):
                self.step(self.order[i])
        self.torch.cuda.synchronize()


def calls_of_repetition(run):
    """Works as in step_bench."""
    run(WARM_UP_STEPS)
    calls = 1
    while calls < LONGEST_RUN:
        before_s = time.perf_counter()
        run(calls)
        taken_s = time.perf_counter() - before_s
        if taken_s >= REPETITION_S:
            break
        calls = min(LONGEST_RUN, math.ceil(calls * min(8.0, 1.1 * REPETITION_S / taken_s)))
    return calls


def repetition_us(run, calls):
    before_s, made = time.perf_counter(), 0
    while True:
        run(calls)
        made += calls
        taken_s = time.perf_counter() - before_s
        if taken_s >= REPETITION_S:
            return taken_s * 1e6 / made


class Bench:
    def __init__(self, torch):
        self.torch = torch
        generator = torch.Generator(device="cuda").manual_seed(1)
        images = torch.randint(0, 256, (SAMPLES, 1, 28, 28), device="cuda", generator=generator, dtype=torch.uint8)
        self.data = images, torch.randint(0, 10, (SAMPLES,), device="cuda", generator=generator)
        self.layouts = {}  # (batch, precision) -> memory format
        self.kept = {}  # (variant, batch, precision) -> (Training, calls)
        torch.backends.cudnn.benchmark = True
        # Every Training compiles the same function again. With more than a few of them torch.compile would silently
        # stop compiling.
        for name in ("recompile_limit", "accumulated_recompile_limit", "cache_size_limit",
                     "accumulated_cache_size_limit"):
            if hasattr(torch._dynamo.config, name):
                setattr(torch._dynamo.config, name, 1000)

    def set_precision(self, precision):
        self.torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        self.torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def training(self, variant, batch, precision, memory_format):
        training = Training(self.torch, self.data, variant, batch, precision, memory_format)
        return training, calls_of_repetition(training.run)

    def layout(self, batch, precision):
        if (batch, precision) not in self.layouts:
            tried = {}
            for memory_format in (self.torch.contiguous_format, self.torch.channels_last):
                training, calls = self.training("graph", batch, precision, memory_format)
                tried[memory_format] = repetition_us(training.run, calls), (training, calls)
            best = min(tried, key=lambda memory_format: tried[memory_format][0])
            self.layouts[batch, precision] = best
            self.kept["graph", batch, precision] = tried[best][1]
        return self.layouts[batch, precision]

    def measure(self, variant, batch, precision):
        self.set_precision(precision)
        memory_format = self.layout(batch, precision)
        key = variant, batch, precision
        if key not in self.kept:
            self.kept[key] = self.training(variant, batch, precision, memory_format)
        training, calls = self.kept[key]
        return {"variant": variant, "batch": batch, "precision": precision, "us": repetition_us(training.run, calls),
                "layout": str(memory_format), "torch": self.torch.__version__}

    def answer(self, line):
        try:
            variant, batch, precision = line.split()
            if variant not in VARIANTS or precision not in PRECISIONS or int(batch) < 1:
                raise ValueError
        except ValueError:
            return {"error": f"'{line.strip()}' is not 'VARIANT BATCH PRECISION'"}
        try:
            return self.measure(variant, int(batch), precision)
        except Exception as error:  # every exception of PyTorch or its compiler concerns this request only
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def make_bench():
    """The bench, or a dictionary with the reason why it is not available."""
    try:
        import torch
    except ImportError as error:
        return {"error": f"no PyTorch: {error}"}
    return Bench(torch) if torch.cuda.is_available() else {"error": "PyTorch sees no GPU"}


def main():
    bench = make_bench()
    for line in sys.stdin:
        reply = bench if isinstance(bench, dict) else bench.answer(line)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
