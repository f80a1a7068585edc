"""Mutations: what can be wrong with a message, from one field to its last byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from models.events import EVENT_BYTES_MAX, TOPICS
from models.money import MINOR_MAX
from tests.fuzz.grammar import Fields, encoded, text

PERSONAL = ("Ann Miller", "ann.miller@example.com", "DE89370400440532013000", "+4917012345678")
"""What stands for personal data in odd values: none of it may be seen in a refusal."""

NUMBERS = (
    *("0", "-0", "-1", "1", "1.0", "1.5", "1e2", "1E400", "-1e400", "1e-400", "0.1", "-0.0"),
    *("NaN", "Infinity", "-Infinity", "nan", "01", "+1", ".5", "5.", "1_000", "0x10", "1e", "--1"),
    *(str(MINOR_MAX + 1), str(2**53), str(2**63), str(-(2**63)), str(2**64), "9" * 400, "9" * 5000),
    *("1" + "0" * 30 + ".0", "0." + "3" * 400, "\u0661\u0662", "1\u00a0000"),
)

MOMENTS = (
    *("2000-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59"),
    *("0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z"),
    *("-2026-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T24:00:00Z", "2026-13-01T00:00Z"),
    *("2016-12-31T23:59:60Z", "2026-06-30T23:59:60.5+00:00", "2026-01-01T00:00:61Z"),
    *("2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+2359", "2026-01-01T00:00:00+00:00:30"),
    *("2026-01-01T00:00:00.1234567890123Z", "2026-01-01T00:00:00,5Z", "2026-W01-1T00:00:00Z"),
    *("2026-01-01T00:00:00\u2212 01:00", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z", "1767225600"),
    *("2026-01-01T00:00:00Z\u0000", " 2026-01-01T00:00:00Z", "P1Y", "now", "0" * 300),
)

TEXTS = (
    *("", " ", "null", "a b", "a\u0000b", "\u0000", "\n", "S-1\n", "\ufeff", "\u202e", "\u0130"),
    *(
        "\U0001f4b6" * 16,
        "\u0301" * 40,
        "{}",
        "%s",
        "{0}",
        "${x}",
        "$(x)",
        "../../etc",
        "*",
        "{s1}",
    ),
    *(
        "x" * 63,
        "x" * 64,
        "x" * 65,
        "x" * 1_000,
        "EUR",
        "eur",
        "EUR\u0000",
        "ZZZ",
        "XAU",
        "\uff25UR",
    ),
    *("DE", "de", "D\u0395", "UTC", "Mars/Olympus", "posix/UTC", "v1.", "v1." + "a" * 1_025),
    *(
        "sale.completed",
        "seller.updated",
        "__proto__",
        "constructor",
        "t\tt",
        'q"q',
        "b\\b",
        "\x7f",
    ),
    *PERSONAL,
)

RAW = (
    *("null", "true", "false", "[]", "{}", "[[]]", '[{"a":[]}]', '{"":null}', "undefined", "None"),
    *(
        "'a'",
        "a",
        "",
        " ",
        "/**/1",
        "1,2",
        "1}",
        "}",
        "]",
        '"',
        '"a',
        '"\\x"',
        '"\\u12"',
        "\\u0031",
    ),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\t"', '"\\u0000"', '"\\/"'),
    *(
        "[" * 200 + "]" * 200,
        '{"a":' * 150 + "1" + "}" * 150,
        "[" * 5_000,
        '"' + "x" * 20_000 + '"',
    ),
)


def odd(random: Random) -> str:
    """Raw JSON, or what a producer takes for it."""
    pool = random.randrange(10)
    if pool < 3:
        return random.choice(NUMBERS)
    if pool < 5:
        return text(random.choice(MOMENTS))
    if pool < 8:
        return text(random.choice(TEXTS))
    if pool < 9:
        return random.choice(RAW)
    return text("".join(chr(random.randrange(0x3000)) for _ in range(random.randrange(1, 70))))


def _place(random: Random, fields: Fields) -> tuple[Fields, int]:
    """A field, of the event or of an object in it."""
    i = random.randrange(len(fields))
    inner = fields[i][1]
    if isinstance(inner, list) and inner and random.random() < 0.8:
        return _place(random, inner)
    return fields, i


def _drop(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    del where[i]


def _double(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    other = where[i][1] if random.random() < 0.3 else odd(random)
    where.insert(random.randrange(len(where) + 1), (where[i][0], other))


def _replace(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    where[i] = (where[i][0], odd(random))


def _fitting(random: Random, fields: Fields) -> None:
    """A value of the field's own kind, at or past an edge."""
    where, i = _place(random, fields)
    name = where[i][0]
    if name.endswith("_at"):
        where[i] = (name, text(random.choice(MOMENTS)))
    elif name.endswith("_minor") or name in {"version", "lines", "level", "numerator"}:
        where[i] = (name, random.choice(NUMBERS))
    else:
        where[i] = (name, text(random.choice(TEXTS)))


def _nest(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    name, value = where[i]
    raw = value if isinstance(value, str) else encoded(value)
    depth = random.choice((1, 1, 2, 100, 3_000))
    before, after = random.choice((("[", "]"), ('{"value":', "}")))
    where[i] = (name, before * depth + raw + after * depth)


def _quote(random: Random, fields: Fields) -> None:
    """A number as text, or text of text."""
    where, i = _place(random, fields)
    name, value = where[i]
    where[i] = (name, text(value if isinstance(value, str) else encoded(value)))


def _rename(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    name, value = where[i]
    names = (
        name.upper(),
        name + " ",
        "",
        "\\u0000" + name,
        f"\\u{ord(name[:1] or 'x'):04x}{name[1:]}",
    )
    where[i] = (random.choice(names), value)


def _exchange(random: Random, fields: Fields) -> None:
    where, i = _place(random, fields)
    j = random.randrange(len(where))
    (a, x), (b, y) = where[i], where[j]
    where[i], where[j] = (a, y), (b, x)


def _extra(random: Random, fields: Fields) -> None:
    names = (
        "note",
        "amount",
        "id ",
        "source",
        "payout",
        "op",
        "seller",
        "rev",
        "hash",
        "shard",
        "\\ud83d",
    )
    where, i = _place(random, fields)
    where.insert(i, (random.choice(names), odd(random)))


def _shuffle(random: Random, fields: Fields) -> None:
    random.shuffle(fields)


def _retype(random: Random, fields: Fields) -> None:
    kinds = [m.model_fields["type"].default for models in TOPICS.values() for m in models]
    fields[:] = [(k, text(random.choice(kinds)) if k == "type" else v) for k, v in fields]


FIELD_MUTATIONS: tuple[Callable[[Random, Fields], None], ...] = (
    *(_drop, _double, _replace, _replace, _fitting, _fitting, _fitting, _nest, _quote, _rename),
    *(_exchange, _extra, _shuffle, _retype),
)


def mutate_fields(random: Random, fields: Fields) -> None:
    """One to three things wrong with the structure, in place."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if not fields:
            return
        random.choice(FIELD_MUTATIONS)(random, fields)


_BYTES = (
    0x00,
    0x09,
    0x0A,
    0x20,
    0x22,
    0x2C,
    0x2D,
    0x30,
    0x5C,
    0x5D,
    0x7B,
    0x7D,
    0x7F,
    0x80,
    0xC0,
    0xFF,
)


def mutate_bytes(random: Random, value: bytes, other: bytes) -> bytes:
    """One to eight bytes or runs of bytes wrong; ``other`` is a message to splice with."""
    raw = bytearray(value)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        if not raw:
            break
        at = random.randrange(len(raw))
        way = random.randrange(8)
        if way == 0:
            raw[at] ^= 1 << random.randrange(8)
        elif way == 1:
            raw[at] = random.choice(_BYTES)
        elif way == 2:
            del raw[at : at + random.randrange(1, 9)]
        elif way == 3:
            raw[at:at] = random.randbytes(random.randrange(1, 5))
        elif way == 4:
            raw[at:at] = raw[max(0, at - random.randrange(1, 40)) : at]
        elif way == 5:
            del raw[at:]
        elif way == 6 and other:
            raw[at:] = other[random.randrange(len(other)) :]
        else:
            raw[at:at] = random.choice(
                (b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5", b"\r\n")
            )
    return bytes(raw)


def re_encoded(random: Random, value: str) -> bytes:
    """The message in another encoding, or in unusual white space."""
    way = random.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "latin-1", "cp037"))
    if random.random() < 0.3:
        return value.replace(",", " ,\r\n\t").encode("utf-8", "surrogatepass")
    return value.encode(way, "replace")


def garbage(random: Random) -> bytes | None:
    """Nothing a producer meant."""
    runs = (b"[", b"{", b'"', b"\x00", b"\xff", b" ", b"9", b'{"a":', b"\\u0000", b"-", b"null")
    way = random.randrange(6)
    if way == 0:
        return None
    if way == 1:
        return b""
    if way == 2:
        return random.choice(runs) * random.choice((1, 2, 300, 9_000))
    if way == 3:
        return random.choice(RAW + NUMBERS).encode("utf-8", "surrogatepass")
    return random.randbytes(random.choice((1, 2, 16, 300)))


def resized(random: Random, fields: Fields, sizes: Sequence[int] = ()) -> bytes:
    """The event with an unknown field that makes it just as long as may be, or nearly."""
    filler = random.choice(("x", '\\"', "\\u0000", "\x7f", "/", "\u00fc"))
    size = random.choice(sizes or (EVENT_BYTES_MAX - 1, EVENT_BYTES_MAX, EVENT_BYTES_MAX + 1))
    bare = len(encoded([*fields, ("note", '""')]).encode())
    count, rest = divmod(max(0, size - bare), len(filler.encode()))
    note = '"' + filler * count + "x" * rest + '"'
    return encoded([*fields, ("note", note)]).encode()
