"""How far the tensors of two runs can differ, depending on what computed them. tests/support/tolerance.h explains the
values.

Errors are for one product. A gradient passes through two products for each layer with weights: 2 in softmax, 4 in mlp
and 8 in mnist_cnn."""

import array
import math

FLOATS = 1e-5
TWO_HALVES = 3 * 2**-16  # float32 with AMX
# Two bfloat16 runs with a different order of sums: a sum that is off by FLOATS is rounded to the next factor in steps
# of 2^-8, so this fraction of the numbers is rounded to the neighbour, 2^-7 away.
HALVES_OF_OTHER_SUMS = math.sqrt(FLOATS / 2**-8) * 2**-7


def relative_error(one, other):
    """|one - other| / |other| in the L2 norm, for raw float32 numbers."""
    one, other = array.array("f", one), array.array("f", other)
    difference = math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    return math.sqrt(difference / math.fsum(b * b for b in other))


def assert_same_training(test, tensors, expected, products):
    """Compares the parameters after the same steps of SGD, each run with the best instructions of its processor. The
    parameters are sums of gradients and each gradient has at most its relative error, so the sums have the same bound
    unless the loss amplifies differences, which does not happen in short runs of small networks. All tensors are
    compared together, because the sums of the biases alone almost cancel out."""
    test.assertEqual(tensors.keys(), expected.keys())
    one, other = (b"".join(of[name] for name in sorted(of)) for of in (tensors, expected))
    test.assertLess(relative_error(one, other), 2 * TWO_HALVES * products)
