#!/usr/bin/env python3
"""Writes tests/golden/learning_rate_golden.h: TensorFlow's learning rate schedules at some global steps.

    python3 tests/golden/make_learning_rate_golden.py > tests/golden/learning_rate_golden.h

Needs TensorFlow (any version that still has tf.compat.v1.train). Uses single precision, because cosine_decay does not
support any other.
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()
train = tf.compat.v1.train

BASE, DECAY_STEPS, DECAY_RATE = np.float32(0.05), 100, np.float32(0.9)
STEPS = (0, 1, 37, 99, 100, 101, 150, 199, 200, 1000)

SCHEDULES = {
    "constant": lambda step: tf.constant(BASE),
    "exponential": lambda step: train.exponential_decay(BASE, step, DECAY_STEPS, DECAY_RATE),
    "staircase": lambda step: train.exponential_decay(BASE, step, DECAY_STEPS, DECAY_RATE, staircase=True),
    "cosine": lambda step: train.cosine_decay(BASE, step, DECAY_STEPS),
}


def rates(schedule):
    """The learning rate at each of STEPS."""
    step = tf.compat.v1.placeholder(tf.int64, [])
    rate = schedule(step)
    with tf.compat.v1.Session() as session:
        return [float(session.run(rate, {step: number})) for number in STEPS]


def main():
    print(f"""// Written by tests/golden/make_learning_rate_golden.py with TensorFlow {tf.__version__}; do not edit.
#pragma once

#include <cstdint>
#include <vector>

namespace distmnist::golden {{

struct ScheduleCase {{
  const char* schedule;
  std::vector<double> rates;  // [i], at kSteps[i]
}};

// clang-format off
inline constexpr float kBase = {BASE}f, kDecayRate = {DECAY_RATE}f;
inline constexpr std::int64_t kDecaySteps = {DECAY_STEPS};

inline const std::vector<std::int64_t> kSteps = {{{", ".join(str(step) for step in STEPS)}}};

inline const std::vector<ScheduleCase> kScheduleCases = {{""")
    for name, schedule in SCHEDULES.items():
        print(f'    {{"{name}",\n     {{{", ".join(repr(rate) for rate in rates(schedule))}}}}},')
    print("""};
// clang-format on

}  // namespace distmnist::golden""")


if __name__ == "__main__":
    main()
