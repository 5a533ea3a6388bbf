"""Lower bounds for the time of a training step of mnist_cnn on a card: its operations, its memory traffic and its
kernel launches."""

PARAMETERS = 1_625_606
FLOAT_BYTES = 4
ADAM_PASSES = 7  # reads parameter, gradient, m and v; writes parameter, m and v

# Multiplications and additions of one sample's forward pass: outputs x weights of each layer.
FORWARD_MACS = {
    "conv1": 28 * 28 * 32 * 25 * 1,
    "conv2": 14 * 14 * 64 * 25 * 32,
    "fully_connected": 3136 * 500,
    "pred": 500 * 10,
}
FIRST_LAYER = "conv1"  # the gradient of its input is not needed


class Card:
    """Peak rates from a data sheet: dense operations per second by precision, and bytes per second of the card's
    memory."""

    def __init__(self, name, flops, bytes_per_s):
        self.name, self.flops, self.bytes_per_s = name, flops, bytes_per_s


CARDS = [Card("H200", {"f32": 67e12, "tf32": 495e12, "bf16": 990e12}, 4.8e12)]
LAUNCH_US = 2.0  # of an almost empty kernel in a CUDA graph, including its share of the graph's launch


def card_called(name):
    """The card whose name is part of `name` ("NVIDIA H200"), or None."""
    return next((card for card in CARDS if card.name in name), None)


def step_flops(batch):
    """Floating-point operations of one step: one product forward, one for the weights' gradient, one for the input's
    gradient."""
    per_sample = sum((2 if layer == FIRST_LAYER else 3) * 2 * macs for layer, macs in FORWARD_MACS.items())
    return batch * per_sample


def flops_us(card, batch, precision):
    return step_flops(batch) / card.flops[precision] * 1e6


def update_us(card):
    """Adam's traffic, once through the card's memory. Data that stays in the caches between steps is faster."""
    return ADAM_PASSES * PARAMETERS * FLOAT_BYTES / card.bytes_per_s * 1e6


def launches_us(launches):
    return launches * LAUNCH_US


def floor_us(card, batch, precision, launches=None):
    """The largest of the three bounds: the card can do operations and traffic at the same time, but neither without
    launches."""
    parts = [flops_us(card, batch, precision), update_us(card)]
    return max(parts + ([launches_us(launches)] if launches else []))
