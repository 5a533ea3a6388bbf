"""How far the tensors of two runs may be from each other, by what computed them: tests/support/tolerance.h says why.

Errors are of one product; a gradient goes through two for each layer that has weights, so through 2 in softmax, 4 in mlp
and 8 in mnist_cnn."""

import array
import math

FLOATS = 1e-5
TWO_HALVES = 3 * 2**-16  # float32 where there is AMX
# Of bfloat16 beside bfloat16 with sums in another order: where a sum that is off by FLOATS meets the rounding of the next
# factor, in steps of 2^-8, so many numbers come to the neighbour, 2^-7 away.
HALVES_OF_OTHER_SUMS = math.sqrt(FLOATS / 2**-8) * 2**-7


def relative_error(one, other):
    """|one - other| / |other| in the L2 norm, of raw float32 numbers."""
    one, other = array.array("f", one), array.array("f", other)
    difference = math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    return math.sqrt(difference / math.fsum(b * b for b in other))


def assert_same_training(test, tensors, expected, products):
    """Parameters after the same steps of SGD, each run on whatever is best here. Both sum up their gradients, and each
    gradient is off by its own share at most; so are their sums, as long as the loss does not make more of it, which no
    small net's does within such runs. All tensors together: the biases' own sums nearly cancel out."""
    test.assertEqual(tensors.keys(), expected.keys())
    one, other = (b"".join(of[name] for name in sorted(of)) for of in (tensors, expected))
    test.assertLess(relative_error(one, other), 2 * TWO_HALVES * products)
