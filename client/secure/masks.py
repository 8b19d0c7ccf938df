"""Keys and masks by established implementations: Flower's key agreement, and AES in counter mode.

Flower's own ``pseudo_rand_gen`` is not used: it folds a key of 256 bits into a seed of 32 (28, of a shared key, whose
bytes are letters), which a server can try out one by one.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import TypeAlias

import numpy as np
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jaxtyping import Shaped

from metapulse.client.flower_compat import bytes_to_public_key, generate_shared_key
from metapulse.errors import ReplyError

CURVE = ec.SECP384R1()  # of Flower's keys
SCALAR = 48  # bytes of a private key; shares of Flower's PEM take ten times as long
SEED = 32  # bytes of the seed of a client's own mask

#: Numbers modulo 2^bits.
Residues: TypeAlias = Shaped[np.ndarray, " entries"]


def private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as a secret to share."""
    return key.private_numbers().private_value.to_bytes(SCALAR, "big")


def private_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key back."""
    return ec.derive_private_key(int.from_bytes(secret, "big"), CURVE)


def public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The public key in a message.

    Raises:
        ReplyError: it is none on the curve.
    """
    try:
        key = bytes_to_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ReplyError("a public key cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != CURVE.name:
        raise ReplyError(f"a public key is not on {CURVE.name}")
    return key


def expand_key(key: bytes, entries: int, bits: int) -> Residues:
    """Uniform numbers modulo 2^bits out of a key of 32 bytes that is used once: AES-256 in counter mode."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(entries * bits // 8))
    return np.frombuffer(stream, np.uint16 if bits == 16 else np.uint32)


def pairwise(
    mine: ec.EllipticCurvePrivateKey, my_id: int, theirs: bytes, their_id: int, entries: int, bits: int
) -> Residues:
    """What one of a pair adds to its entries; what the other adds is the negative."""
    shared = urlsafe_b64decode(generate_shared_key(mine, public_key(theirs)))
    mask = expand_key(shared, entries, bits)
    return mask if my_id < their_id else -mask
