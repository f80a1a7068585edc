"""Keccak-256 is what the team that made it published, and SHA-3 but for its padding."""

import hashlib
from random import Random

import pytest

from rails.keccak import RATE_BYTES, SHA3_PADDING, keccak_256


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"\xcc", "eead6dbfc7340a56caedc044696a168870549a6a7f6f56961e84a54bd9970b8a"),
        (
            b"The quick brown fox jumps over the lazy dog",
            "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15",
        ),
    ],
)
def test_published_digests(data: bytes, digest: str) -> None:
    assert keccak_256(data).hex() == digest


@pytest.mark.parametrize("size", [0, 1, RATE_BYTES - 1, RATE_BYTES, RATE_BYTES + 1, 1_000])
def test_with_the_other_padding_it_is_the_standards_hash(size: int) -> None:
    data = Random(size).randbytes(size)
    assert keccak_256(data, padding=SHA3_PADDING) == hashlib.sha3_256(data).digest()
    assert keccak_256(data) != hashlib.sha3_256(data).digest()
