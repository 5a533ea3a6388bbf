#!/usr/bin/env python3
"""Writes tests/golden/mnist_cnn_golden.h: the losses of short training runs of mnist_cnn, computed by PyTorch.

    python3 tests/golden/make_mnist_cnn_golden.py > tests/golden/mnist_cnn_golden.h

Needs torch and numpy. The start weights and the batches equal those of tests/golden/golden_test.cc bit for bit: this
script computes the random streams of lib/base/random.h and the initializer of lib/graph/initializers.h again.
Everything else is in double precision, so that the numbers do not contain the rounding of one float library. Adam
follows the form in lib/optim/optimizer.h, which adds epsilon at a different place than torch.optim.Adam.
"""
import numpy as np
import torch
import torch.nn.functional as F

STEPS = 20
BATCH_SIZES = (50, 5)
WEIGHT_SEED, DATA_SEED = 1, 2
IMAGE_STREAM, LABEL_STREAM = 0, 1
LEARNING_RATE, BETA1, BETA2, EPSILON = (np.float64(np.float32(x)) for x in (1e-4, 0.9, 0.999, 1e-8))

# Name, shape, fan in, fan out; in order of the parameter block.
VARIABLES = [
    ("conv1/weights", (32, 1, 5, 5), 25, 32 * 25),
    ("conv1/biases", (32,), 0, 0),
    ("conv2/weights", (64, 32, 5, 5), 32 * 25, 64 * 25),
    ("conv2/biases", (64,), 0, 0),
    ("fully_connected/weights", (500, 3136), 3136, 500),
    ("fully_connected/biases", (500,), 0, 0),
    ("pred/weights", (10, 500), 500, 10),
    ("pred/biases", (10,), 0, 0),
]


def mix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def random_bits(seed, stream, first, count):
    """Random(seed, stream).at(first) .. at(first + count - 1), as 64-bit numbers."""
    key = mix64(mix64(np.array([seed], np.uint64)) ^ np.uint64(stream))
    return mix64(key + np.arange(first, first + count, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95))


def uniform(bits):
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def start_weights():
    result = []
    for i, (_, shape, fan_in, fan_out) in enumerate(VARIABLES):
        size = int(np.prod(shape))
        values = np.zeros(size, np.float32)
        if fan_in:
            limit = np.float32(np.sqrt(6.0 / (fan_in + fan_out)))
            values = (np.float32(2) * uniform(random_bits(WEIGHT_SEED, i, 0, size)) - np.float32(1)) * limit
        result.append(torch.tensor(values.astype(np.float64).reshape(shape), requires_grad=True))
    return result


def make_batch(batch_size, step):
    """Half noise and half a bright band whose height depends on the label: easy to learn, so the loss falls at once."""
    first = step * batch_size
    labels = (random_bits(DATA_SEED, LABEL_STREAM, first, batch_size) % np.uint64(10)).astype(np.int64)
    noise = uniform(random_bits(DATA_SEED, IMAGE_STREAM, first * 784, batch_size * 784)).reshape(-1, 28, 28)
    below_top = np.arange(28)[None, :, None] - 2 * labels[:, None, None]
    band = ((below_top >= 0) & (below_top < 8)).astype(np.float32)
    images = np.float32(0.5) * noise + np.float32(0.5) * band
    return torch.tensor(images.astype(np.float64))[:, None], torch.tensor(labels)


def loss_of(weights, images, labels):
    x = F.max_pool2d(F.relu(F.conv2d(images, weights[0], weights[1], padding=2)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, weights[2], weights[3], padding=2)), 2)
    x = F.relu(F.linear(x.flatten(1), weights[4], weights[5]))
    return F.cross_entropy(F.linear(x, weights[6], weights[7]), labels)


def train(batch_size):
    weights = start_weights()
    m = [torch.zeros_like(w) for w in weights]
    v = [torch.zeros_like(w) for w in weights]
    losses = []
    for step in range(STEPS):
        loss = loss_of(weights, *make_batch(batch_size, step))
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        rate = LEARNING_RATE * np.sqrt(1 - BETA2 ** (step + 1)) / (1 - BETA1 ** (step + 1))
        with torch.no_grad():
            for i, g in enumerate(gradients):
                m[i] += (1 - BETA1) * (g - m[i])
                v[i] += (1 - BETA2) * (g * g - v[i])
                weights[i] -= rate * m[i] / (v[i].sqrt() + EPSILON)
    return losses


def main():
    print("// Written by make_mnist_cnn_golden.py, which says what the numbers are; not to be edited by hand.")
    print("#pragma once\n\n#include <array>\n\nnamespace distmnist::golden {\n")
    print(f"inline constexpr int kSteps = {STEPS};")
    print(f"inline constexpr unsigned kWeightSeed = {WEIGHT_SEED}, kDataSeed = {DATA_SEED};")
    print(f"inline constexpr unsigned kImageStream = {IMAGE_STREAM}, kLabelStream = {LABEL_STREAM};")
    for batch_size in BATCH_SIZES:
        print(f"\n// The loss of each step, before its update; {batch_size} samples a batch.")
        print(f"inline constexpr std::array<double, kSteps> kLossesBatch{batch_size} = {{")
        for loss in train(batch_size):
            print(f"    {loss:.17g},")
        print("};")
    print("\n}  // namespace distmnist::golden")


if __name__ == "__main__":
    main()
