"""What examples are made of: plaintexts, contexts, messages and damage."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

EDGES: Final = (1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257)
"""Sizes at which blocks and length fields change."""


def plaintexts(most: int) -> st.SearchStrategy[bytes]:
    """1 to ``most`` bytes: any, the edges, and whole runs of zeros."""
    edges = [size for size in (*EDGES, most) if size <= most]
    return (
        st.binary(min_size=1, max_size=min(most, 64))
        | st.sampled_from(edges).map(bytes)
        | st.sampled_from([b"\n", b" text \n", b"\xff\xfe\r\n"])
        | st.sampled_from(edges).flatmap(lambda size: st.binary(min_size=size, max_size=size))
    )


def messages(most: int | None = None) -> st.SearchStrategy[bytes]:
    """Messages to sign, the empty one included."""
    bound = 300 if most is None else min(most, 300)
    return st.binary(max_size=min(bound, 64)) | st.sampled_from(
        [b"", b"\0", b"\0" * min(bound, 32), b"\xff" * bound]
    )


_TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=12)


def contexts() -> st.SearchStrategy[dict[str, str]]:
    """Encryption contexts, the empty one included; all of Unicode, and what JSON must escape."""
    keys = _TEXT.filter(bool) | st.sampled_from(["table", "表", '"', "\\", "\u2028", "a", "A"])
    return st.dictionaries(keys, _TEXT | st.sampled_from(["", "0", "null", "\x00"]), max_size=3)


def other_contexts(context: dict[str, str]) -> list[dict[str, str]]:
    """Contexts that are nearly, and not quite, the given one."""
    changed = [{**context, "added": ""}, {} if context else {"a": "b"}]
    for key, value in context.items():
        rest = {name: each for name, each in context.items() if name != key}
        changed += [rest, {**context, key: value + "x"}, {**rest, key + "x": value}]
        if value:
            changed += [{**rest, value: key}, {**rest, key + value[0]: value[1:]}]
    return [each for each in changed if each != context]


def flipped(data: bytes, place: int, bit: int = 0) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    return bytes(changed)
