"""The client's half of CURVE (rfc.zeromq.org 25 and 26), using the program's libsodium. wire.py uses it for connections
with keys."""

import ctypes
import ctypes.util
import os
import re
import struct

KEY, MAC, COOKIE = 32, 16, 96
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def _load():
    name = ctypes.util.find_library("sodium")
    library = ctypes.CDLL(name) if name else None
    if library:
        library.crypto_box_easy.argtypes = library.crypto_box_open_easy.argtypes = [
            ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
        library.sodium_init()
    return library


SODIUM = _load()  # None if it is missing


class Broken(Exception):
    """The received frame is not the expected one, or cannot be opened."""


def key_pair():
    """(public, secret)"""
    public, secret = ctypes.create_string_buffer(KEY), ctypes.create_string_buffer(KEY)
    SODIUM.crypto_box_keypair(public, secret)
    return public.raw, secret.raw


def box(plain, nonce, public, secret):
    out = ctypes.create_string_buffer(len(plain) + MAC)
    SODIUM.crypto_box_easy(out, plain, len(plain), nonce, public, secret)
    return out.raw


def unbox(sealed, nonce, public, secret):
    out = ctypes.create_string_buffer(max(len(sealed) - MAC, 0) + 1)
    if len(sealed) < MAC or SODIUM.crypto_box_open_easy(out, sealed, len(sealed), nonce, public, secret) != 0:
        raise Broken("a box that cannot be opened")
    return out.raw[:len(sealed) - MAC]


def z85(encoded):
    out = b""
    for at in range(0, len(encoded), 5):
        value = 0
        for letter in encoded[at:at + 5]:
            value = value * 85 + _Z85.index(letter)
        out += struct.pack(">I", value)
    return out


def read_key(path, which):
    """`which`: public or secret."""
    return z85(re.search(rf'{which}-key = "(.{{40}})"', path.read_text()).group(1))


class Client:
    """The keys and message numbers of one connection. Its methods build the bodies of the frames, in their order."""

    def __init__(self, server, own):
        """`server`: the public key of the ps; `own`: (public, secret)."""
        self.server, self.own = server, own
        self.short = key_pair()
        self.number = 0
        self.session = None  # the server's key for this connection

    def next_number(self):
        self.number += 1
        return struct.pack(">Q", self.number)

    def hello(self):
        number = self.next_number()
        return (b"\5HELLO\1\0" + bytes(72) + self.short[0] + number
                + box(bytes(64), b"CurveZMQHELLO---" + number, self.server, self.short[1]))

    def initiate(self, welcome, identity=b"", socket_type=b"DEALER"):
        if not welcome.startswith(b"\7WELCOME"):
            raise Broken("no WELCOME")
        plain = unbox(welcome[24:], b"WELCOME-" + welcome[8:24], self.server, self.short[1])
        self.session, cookie = plain[:KEY], plain[KEY:]
        random = os.urandom(16)
        vouch = random + box(self.short[0] + self.server, b"VOUCH---" + random, self.session, self.own[1])
        metadata = b"".join(bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
                            for name, value in ((b"Socket-Type", socket_type), (b"Identity", identity)))
        number = self.next_number()
        return (b"\x08INITIATE" + cookie + number
                + box(self.own[0] + vouch + metadata, b"CurveZMQINITIATE" + number, self.session, self.short[1]))

    def finish(self, body):
        if not body.startswith(b"\5READY"):
            raise Broken(f"no READY: {body[:20]!r}")

    def seal(self, body, flags):
        number = self.next_number()
        return b"\7MESSAGE" + number + box(bytes([flags & 1]) + body, b"CurveZMQMESSAGEC" + number, self.session,
                                           self.short[1])

    def open(self, body):
        """(flags of the frame, body)"""
        plain = unbox(body[16:], b"CurveZMQMESSAGES" + body[8:16], self.session, self.short[1])
        return (plain[0] & 1) | (plain[0] & 2) << 1, plain[1:]
