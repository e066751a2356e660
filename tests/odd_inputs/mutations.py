"""Ways in which a file or a value becomes odd, drawn by a seeded generator."""

import copy
import json
import math
from collections.abc import Iterator
from random import Random
from typing import Any

ODD_VALUES = [
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, math.nan, math.inf,
    -math.inf, "", " ", "0", "many", "nan", "\0", "\ud83d", "\u2028", "a" * 5000, "../../x", "/dev/zero",
    "file:///etc/hostname", "http://127.0.0.1:9/x", "[0-2s] ", "{}", "%s%n", "é\u0301\u202e", [], [None], [[]], {},
    {"a": 1}, [0] * 300, {"": {}},
]  # fmt: skip
ODD_TEXTS = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"{",
    b"[" * 2000, b"\"", b"'", b"&a [*a, *a]", b"!!python/object/apply:os.system [true]", b"? : -", b"%", b"---\n...",
    b"9" * 400, b"NaN", b"Infinity", b"-", b"1e999", b"\t", b"<html>", b"version https://git-lfs.github.com/spec/v1\n",
    b"PK\x03\x04",
]  # fmt: skip


def odd_bytes(whole: bytes, rng: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, content): bits flipped, ends cut, pieces doubled, lost, exchanged or replaced."""
    for _ in range(count):
        place, end = sorted(rng.randrange(len(whole) + 1) for _ in range(2))
        piece = whole[place : place + rng.randrange(1, 60)]
        yield rng.choice(
            [
                (f"bit {place}", _flipped(whole, rng)),
                (f"cut at {place}", whole[:place]),
                (f"begins at {place}", whole[place:]),
                (f"lost {place} to {end}", whole[:place] + whole[end:]),
                (f"twice {place}", whole[:place] + piece * rng.choice([2, 50]) + whole[place + len(piece) :]),
                (f"text at {place}", whole[:place] + rng.choice(ODD_TEXTS) + whole[place:]),
                (f"text from {place}", whole[:place] + rng.choice(ODD_TEXTS) + whole[end:]),
                ("only a text", rng.choice(ODD_TEXTS)),
                (f"noise at {place}", whole[:place] + rng.randbytes(40) + whole[place:]),
            ]
        )


def odd_values(whole: Any, rng: Random, count: int) -> Iterator[tuple[str, Any]]:
    """(what was done, value): of a document, values and keys replaced, lost, added and moved."""
    places = list(_places(whole))
    for _ in range(count):
        value, path = copy.deepcopy(whole), rng.choice(places)
        odd = copy.deepcopy(rng.choice(ODD_VALUES))
        if not path:
            yield f"all is {odd!r:.40}", odd
            continue
        *above, key = path
        parent = value
        for step in above:
            parent = parent[step]
        match rng.randrange(4):
            case 0 if isinstance(parent, dict):
                parent[rng.choice(["odd", "", "\0", "__class__", str(key).upper()])] = parent.pop(key)
            case 1 if isinstance(parent, dict):
                del parent[key]
            case 2 if isinstance(parent, list):
                parent[key:key] = [copy.deepcopy(parent[key])] * rng.choice([1, 40])
            case _:
                parent[key] = odd
        yield f"{'.'.join(map(str, path))} {odd!r:.40}", value


def odd_json(whole: Any, rng: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, content): of a JSON file, its values or its bytes."""
    yield from ((name, _dumped(value)) for name, value in odd_values(whole, rng, count - count // 3))
    yield from odd_bytes(_dumped(whole), rng, count // 3)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _flipped(whole: bytes, rng: Random) -> bytes:
    if not whole:
        return b"\1"
    content = bytearray(whole)
    content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _places(part, (*path, key))
