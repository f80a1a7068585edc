"""Keccak-256, the hash of Ethereum's checksums: SHA3-256 of FIPS 202 but for the padding.

Only for check digits: it is slow (a tenth of a millisecond a block) and makes no claim to constant
time. ``hashlib`` has SHA-3 alone; the tests hold the permutation against it.
"""

from __future__ import annotations

RATE_BYTES = 136
"""Bytes taken in at a time: a state of 1600 bits less twice the digest's 256."""

DIGEST_BYTES = 32
KECCAK_PADDING = 0x01
SHA3_PADDING = 0x06

_LANE_MASK = (1 << 64) - 1


def _round_constants() -> tuple[int, ...]:
    """The 24 constants of FIPS 202, 3.2.5: bits of a linear feedback shift register."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for power in range(7):
            constant |= (register & 1) << ((1 << power) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _moves() -> tuple[tuple[int, int], ...]:
    """Where each lane goes in steps rho and pi: from lane 1, (target, rotation) in turn."""
    x, y, moves = 1, 0, []
    for step in range(24):
        x, y = y, (2 * x + 3 * y) % 5
        moves.append((x + 5 * y, (step + 1) * (step + 2) // 2 % 64))
    return tuple(moves)


_CONSTANTS = _round_constants()
_MOVES = _moves()


def _rotated(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _LANE_MASK


def _permuted(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] of 25 lanes of 64 bits, lane (x, y) at x + 5 y."""
    for constant in _CONSTANTS:
        columns = [
            lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]
            for x in range(5)
        ]
        mixed = [columns[(x + 4) % 5] ^ _rotated(columns[(x + 1) % 5], 1) for x in range(5)]
        lanes = [lane ^ mixed[at % 5] for at, lane in enumerate(lanes)]
        moving = lanes[1]
        for target, bits in _MOVES:
            lanes[target], moving = _rotated(moving, bits), lanes[target]
        lanes = [
            lanes[at] ^ (~lanes[at - at % 5 + (at + 1) % 5] & lanes[at - at % 5 + (at + 2) % 5])
            for at in range(25)
        ]
        lanes[0] ^= constant
    return lanes


def keccak_256(data: bytes, *, padding: int = KECCAK_PADDING) -> bytes:
    """The 32 bytes of the digest. With ``SHA3_PADDING`` it is SHA3-256."""
    padded = bytearray(data)
    padded.append(padding)
    padded += bytes(-len(padded) % RATE_BYTES)
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), RATE_BYTES):
        block = padded[start : start + RATE_BYTES]
        for at in range(RATE_BYTES // 8):
            lanes[at] ^= int.from_bytes(block[8 * at : 8 * at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[: DIGEST_BYTES // 8])
