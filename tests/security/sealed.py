"""Kinds of attack on a ps with keys, by a peer that has none of the cluster's secrets but can read its public keys.
kinds.py has the attacks that need no keys."""

import os

import curve
import wire


def _begin(attacker):
    peer = attacker.raw()
    peer.write(wire.greeting(mechanism=b"CURVE"))
    peer.read(64)
    return peer, curve.Client(attacker.target.server_key, attacker.target.own_keys)


def unknown_keys(attacker):
    """A valid handshake with an unknown key."""
    attacker.peer()


def other_servers(attacker):
    """A greeting for a different ps."""
    peer = attacker.raw()
    peer.greet_sealed(curve.Client(curve.key_pair()[0], attacker.target.own_keys))


def borrowed_keys(attacker):
    """Claims a public key without having its secret."""
    peer = attacker.raw()
    peer.greet_sealed(curve.Client(attacker.target.server_key, (attacker.target.extras["public"], curve.key_pair()[1])))


def half_handshakes(attacker):
    """Stops after a HELLO, or in the middle of an INITIATE."""
    peer, client = _begin(attacker)
    peer.write(wire.frame(client.hello(), wire.COMMAND))
    if attacker.random.random() < 0.5:
        initiate = wire.frame(client.initiate(peer.read_frame()[1]), wire.COMMAND)
        peer.write(initiate[:attacker.random.randrange(len(initiate))])
    attacker.hold(peer)


def played_again(attacker):
    """Replays an INITIATE and messages from a different connection."""
    first, client = _begin(attacker)
    first.write(wire.frame(client.hello(), wire.COMMAND))
    initiate = client.initiate(first.read_frame()[1])
    second, other = _begin(attacker)
    second.write(wire.frame(other.hello(), wire.COMMAND))
    second.read_frame()
    second.write(wire.frame(initiate, wire.COMMAND))
    attacker.counts["messages"] += 1
    second.write(wire.frame(client.seal(wire.header("ping"), wire.MORE)))
    attacker.listen(second)


def before_the_handshake(attacker):
    """Plain and sealed messages before the handshake has ended."""
    peer, client = _begin(attacker)
    record = wire.hello_record(attacker.target.hello)
    attacker.counts["messages"] += 2
    peer.write(wire.message(wire.header("hello", record, incarnation=1, sequence=1), record))
    peer.write(wire.frame(b"\7MESSAGE" + os.urandom(attacker.random.randrange(400))))
    attacker.listen(peer)


def mutated_handshakes(attacker):
    """Handshakes with one byte changed."""
    peer, client = _begin(attacker)
    for make in (client.hello, lambda: client.initiate(peer.read_frame()[1])):
        body = bytearray(make())
        if attacker.random.random() < 0.6:
            body[attacker.random.randrange(len(body))] ^= 1 << attacker.random.randrange(8)
        peer.write(wire.frame(bytes(body), wire.COMMAND))
    peer.read_frame()
    attacker.counts["messages"] += 1
    peer.write(wire.frame(os.urandom(80)))
    attacker.listen(peer)


ALL = (unknown_keys, other_servers, borrowed_keys, half_handshakes, played_again, before_the_handshake, mutated_handshakes)
