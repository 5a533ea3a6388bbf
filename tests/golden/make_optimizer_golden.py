#!/usr/bin/env python3
"""Writes tests/golden/optimizer_golden.h: the results of TensorFlow's optimizers for a few numbers.

    python3 tests/golden/make_optimizer_golden.py > tests/golden/optimizer_golden.h

Needs TensorFlow (any version that still has tf.compat.v1.train). Everything is computed in double precision from the
float32 values of the C++ side, so that the results contain no rounding of their own. The second Adam and RMSProp cases
have a large epsilon on purpose: it makes results differ by percents between the two places where epsilon can be added.
"""
import inspect
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()
train = tf.compat.v1.train

STEPS = 5


def f32(x):
    """x as float32 would hold it, in double precision. A Python float would make TensorFlow compute its powers of beta
    in float32."""
    return np.float64(np.float32(x))


START = [f32(x) for x in (0.5, -0.25, 1e-3, 3.0, -7.5, 0.0, 1e-8)]
# Gradients of several magnitudes, with a sign change and an exact zero.
GRADIENTS = [[f32(g * (1 + 0.37 * t) * (-1 if t == 2 else 1)) for g in (0.1, -2.0, 1e-4, 30.0, -1e-6, 0.0, 0.5)]
             for t in range(STEPS)]

# The constants' names in the order of OptimizerCase, and the value for optimizers that do not have the constant.
CONSTANTS = dict(learning_rate=1e-4, momentum=0.9, nesterov=False, beta1=0.9, beta2=0.999, decay=0.9, epsilon=1e-8)

CLASSES = {
    "sgd": train.GradientDescentOptimizer,
    "momentum": train.MomentumOptimizer,
    "adam": train.AdamOptimizer,
    "adagrad": train.AdagradOptimizer,
    "rmsprop": train.RMSPropOptimizer,
}

# A constant that a case does not name has TensorFlow's default.
CASES = [
    ("sgd", dict(learning_rate=0.05)),
    ("momentum", dict(learning_rate=0.01, momentum=0.9)),
    ("momentum", dict(learning_rate=0.01, momentum=0.8, nesterov=True)),
    ("adam", dict(learning_rate=1e-4)),
    ("adam", dict(learning_rate=0.02, beta1=0.8, beta2=0.95, epsilon=0.1)),
    ("adagrad", dict(learning_rate=0.05)),
    ("rmsprop", dict(learning_rate=0.01)),
    ("rmsprop", dict(learning_rate=0.02, momentum=0.8, decay=0.7, epsilon=0.1)),
]


def defaults(name):
    """TensorFlow's default values, by name."""
    parameters = inspect.signature(CLASSES[name].__init__).parameters.values()
    return {p.name: p.default for p in parameters if type(p.default) is float}


def make_optimizer(name, options):
    numbers = {key: f32(value) for key, value in (defaults(name) | options).items() if key != "nesterov"}
    return CLASSES[name](**numbers, **({"use_nesterov": True} if options.get("nesterov") else {}))


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
  double learning_rate, momentum;
  bool nesterov;
  double beta1, beta2, decay, epsilon;
  std::vector<std::vector<double>> parameters;  // [step][i], after steps 1, 2, ...
}};

struct OptimizerDefault {{
  const char* optimizer;
  const char* constant;  // as TensorFlow calls it
  double value;
}};

// clang-format off
inline const std::vector<double> kStart = {row(START)};

// [step][i]
inline const std::vector<std::vector<double>> kGradients =
    {rows(GRADIENTS)};

inline const std::vector<OptimizerCase> kOptimizerCases = {{""")
    for name, options in CASES:
        full = CONSTANTS | {key: value for key, value in (defaults(name) | options).items() if key in CONSTANTS}
        numbers = ", ".join(str(full[key]).lower() for key in CONSTANTS)
        print(f'    {{"{name}", {numbers},\n    {rows(run(make_optimizer(name, options)))}}},')
    print("""};

inline const std::vector<OptimizerDefault> kOptimizerDefaults = {""")
    for name in CLASSES:
        for constant, value in defaults(name).items():
            print(f'    {{"{name}", "{constant}", {value}}},')
    print("""};
// clang-format on

}  // namespace distmnist::golden""")


if __name__ == "__main__":
    main()
