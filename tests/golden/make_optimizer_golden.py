#!/usr/bin/env python3
"""Writes tests/golden/optimizer_golden.h: what TensorFlow's own optimizers make of a few numbers.

    python3 tests/golden/make_optimizer_golden.py > tests/golden/optimizer_golden.h

Needs TensorFlow (any version that still has tf.compat.v1.train). Everything is computed in double precision from the
float32 values that the C++ side has, so the numbers are the formula's, not the rounding's. The epsilon of the second Adam
case is large on purpose: there the two places where epsilon may stand differ by percents.
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()
train = tf.compat.v1.train

STEPS = 5


def f32(x):
    """x as a float32 would hold it, in double precision. As a Python float it would make TensorFlow's powers of beta float32."""
    return np.float64(np.float32(x))


START = [f32(x) for x in (0.5, -0.25, 1e-3, 3.0, -7.5, 0.0, 1e-8)]
# Gradients of many sizes, a sign change, an exact zero.
GRADIENTS = [[f32(g * (1 + 0.37 * t) * (-1 if t == 2 else 1)) for g in (0.1, -2.0, 1e-4, 30.0, -1e-6, 0.0, 0.5)]
             for t in range(STEPS)]

CASES = [
    ("sgd", train.GradientDescentOptimizer(f32(0.05)), dict(learning_rate=0.05)),
    ("momentum", train.MomentumOptimizer(f32(0.01), f32(0.9)), dict(learning_rate=0.01, momentum=0.9)),
    ("adam", train.AdamOptimizer(f32(1e-4), f32(0.9), f32(0.999), f32(1e-8)), dict(learning_rate=1e-4)),
    ("adam", train.AdamOptimizer(f32(0.02), f32(0.8), f32(0.95), f32(0.1)),
     dict(learning_rate=0.02, beta1=0.8, beta2=0.95, epsilon=0.1)),
]


def run(optimizer):
    """The parameters after each step, [STEPS, len(START)]."""
    parameters = tf.Variable(START, dtype=tf.float64)
    gradient = tf.compat.v1.placeholder(tf.float64, [len(START)])
    step = optimizer.apply_gradients([(gradient, parameters)])
    after = []
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        for values in GRADIENTS:
            session.run(step, {gradient: values})
            after.append(session.run(parameters))
    return after


def row(values):
    return "{" + ", ".join(repr(float(v)) for v in values) + "}"


def rows(table):
    return "{" + ",\n     ".join(row(values) for values in table) + "}"


def main():
    print(f"""// Written by tests/golden/make_optimizer_golden.py with TensorFlow {tf.__version__}; do not edit.
#pragma once

#include <vector>

namespace distmnist::golden {{

struct OptimizerCase {{
  const char* optimizer;
  double learning_rate, momentum, beta1, beta2, epsilon;
  std::vector<std::vector<double>> parameters;  // [step][i], after steps 1, 2, ...
}};

// clang-format off
inline const std::vector<double> kStart = {row(START)};

// [step][i]
inline const std::vector<std::vector<double>> kGradients =
    {rows(GRADIENTS)};

inline const std::vector<OptimizerCase> kOptimizerCases = {{""")
    for name, optimizer, options in CASES:
        full = dict(learning_rate=1e-4, momentum=0.9, beta1=0.9, beta2=0.999, epsilon=1e-8) | options
        numbers = ", ".join(repr(full[key]) for key in ("learning_rate", "momentum", "beta1", "beta2", "epsilon"))
        print(f'    {{"{name}", {numbers},\n    {rows(run(optimizer))}}},')
    print("""};
// clang-format on

}  // namespace distmnist::golden""")


if __name__ == "__main__":
    main()
