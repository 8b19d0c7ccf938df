"""Keys and masks: what two parties add cancels, and the stream is AES's own."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from metapulse.client.flower_compat import generate_key_pairs, public_key_to_bytes
from metapulse.client.secure.masks import SCALAR, expand_key, pairwise, private_bytes, private_key, public_key
from metapulse.errors import ReplyError

PAIRS = [generate_key_pairs() for _ in range(3)]


@pytest.mark.parametrize("bits", [16, 32])
def test_what_two_parties_add_cancels(bits: int) -> None:
    (a, public_a), (b, public_b), (_, public_c) = PAIRS
    one = pairwise(a, 3, public_key_to_bytes(public_b), 8, 1000, bits)
    other = pairwise(b, 8, public_key_to_bytes(public_a), 3, 1000, bits)
    assert one.dtype == (np.uint16 if bits == 16 else np.uint32)
    assert not (one + other).any()
    third = pairwise(a, 3, public_key_to_bytes(public_c), 9, 1000, bits)
    assert (one != third).mean() > 0.99


def test_the_stream_is_aes_256_in_counter_mode() -> None:
    """E(K, 0) of a key of zeros: H of test case 13 of McGrew and Viega 2005, "The Galois/Counter Mode of Operation"."""
    assert expand_key(bytes(32), 4, 32).tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_a_private_key_is_its_scalar() -> None:
    private, public = PAIRS[0]
    assert len(private_bytes(private)) == SCALAR
    assert private_key(private_bytes(private)).public_key() == public


def test_what_is_no_public_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(ReplyError, match="a public key cannot be read"):
        public_key(b"-----BEGIN PUBLIC KEY-----")
    with pytest.raises(ReplyError, match="a public key is not on secp384r1"):
        public_key(public_key_to_bytes(other))
