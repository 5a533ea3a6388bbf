#!/usr/bin/env python3
"""Trains mnist_cnn in PyTorch on the CPU with the settings of a run of distmnist, whose flags it accepts, and prints
the same closing line. For accuracy.py, which measures the time from the start of this process."""

import argparse
import contextlib
import gzip
import math
import pathlib

import numpy
import torch
from torch.nn import functional

LARGEST_SHIFT, LARGEST_DISTORTION = 2.0, 0.1  # in pixels, and as in data/augment.h
TEST_BATCH = 500


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--train_steps", type=int, default=5000)
    parser.add_argument("--optimizer", choices=["adam"], default="adam")
    parser.add_argument("--adam_beta1", type=float, default=0.9)
    parser.add_argument("--adam_beta2", type=float, default=0.999)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--learning_rate_schedule", choices=["constant", "cosine", "one_cycle"], default="constant")
    parser.add_argument("--learning_rate_warmup_steps", type=int, default=0, help="not with one_cycle")
    parser.add_argument("--augment", choices=["none", "affine"], default="none")
    parser.add_argument("--precision", choices=["f32", "bf16", "auto"], default="f32", help="auto: f32")
    return parser.parse_args()


def read_idx(folder, name, header_bytes):
    """The data of an IDX file of bytes, uncompressed or .gz, after its header."""
    plain = folder / name
    data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=header_bytes).copy())


def load(folder, part):
    """Images [count, 1, 28, 28] from 0 to 1, and labels [count]."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return images.float().div_(255), read_idx(folder, f"{part}-labels-idx1-ubyte", 8).long()


def make_network():
    nn = torch.nn
    network = nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                            nn.Linear(3136, 500), nn.ReLU(), nn.Linear(500, 10))
    for layer in network:
        if hasattr(layer, "weight"):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network.to(memory_format=torch.channels_last)


def make_schedule(optimizer, options):
    schedulers = torch.optim.lr_scheduler
    if options.learning_rate_schedule == "one_cycle":  # it includes a warm-up
        return schedulers.OneCycleLR(optimizer, options.learning_rate, total_steps=options.train_steps,
                                     cycle_momentum=False)
    cosine, warmup = options.learning_rate_schedule == "cosine", options.learning_rate_warmup_steps

    def factor(step):
        decay = 0.5 * (1 + math.cos(math.pi * step / options.train_steps)) if cosine else 1.0
        return decay * min(1.0, (step + 1) / max(1, warmup))

    return schedulers.LambdaLR(optimizer, factor)


def augmented(images):
    """Augments like --augment=affine: a linear map near the identity and a shift for each image."""
    count, size = len(images), images.shape[-1]
    uniform = 2 * torch.rand(count, 2, 3) - 1
    maps = uniform * torch.tensor([LARGEST_DISTORTION, LARGEST_DISTORTION, LARGEST_SHIFT * 2 / size])
    maps[:, 0, 0] += 1
    maps[:, 1, 1] += 1
    grid = functional.affine_grid(maps, images.shape, align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def positions(count, batch_size, steps):
    """The indices of each batch: all samples in a new order in each pass; a batch can cross the end of a pass."""
    left = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(left) < batch_size:
            left = torch.cat([left, torch.randperm(count)])
        yield left[:batch_size]
        left = left[batch_size:]


def main():
    options = parse()
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    bf16 = options.precision == "bf16"
    precision = (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if bf16 else contextlib.nullcontext
    images, labels = load(options.data_dir, "train")
    network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate,
                                 betas=(options.adam_beta1, options.adam_beta2), fused=True)
    schedule = make_schedule(optimizer, options)
    for batch in positions(len(images), options.batch_size, options.train_steps):
        inputs = augmented(images[batch]) if options.augment == "affine" else images[batch]
        optimizer.zero_grad(set_to_none=True)
        with precision():
            logits = network(inputs.contiguous(memory_format=torch.channels_last))
        functional.cross_entropy(logits.float(), labels[batch]).backward()
        optimizer.step()
        schedule.step()

    images, labels = load(options.data_dir, "t10k")
    correct = 0
    with torch.no_grad(), precision():
        for some, wanted in zip(images.split(TEST_BATCH), labels.split(TEST_BATCH)):
            correct += (network(some).argmax(1) == wanted).sum().item()
    print(f"test_accuracy={correct / len(images):.4f} global_step={options.train_steps}")


if __name__ == "__main__":
    main()
