"""The page on the zoo: which law catches which animal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from kmscore_conformance.broken.keeper import laws_for_animals
from kmscore_conformance.law import all_laws

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmscore_conformance.broken.animal import Animal

_HEAD: Final = """# The zoo

A suite that finds nothing may be a suite that looks for nothing. So it is tried on {count}
providers that are wrong in one way each, in a way that real products were wrong. Each of them must
be caught by the laws that name its defect, and by no law that is about something else, as far as
the two can be told apart. `make test` holds that; `kmscore conformance zoo` shows it:

```
kmscore conformance zoo
kmscore conformance zoo nonce-reused padding-oracle
```

This page is written by `kmscore conformance zoo -o docs/zoo.md`.

## Animals

*Fails too* are laws that cannot be kept with this defect, although they do not name it; "nearly
all" where hardly anything is left to keep.

| animal | what is wrong | where that was seen | caught by | fails too |
|---|---|---|---|---|
"""

_LAWS: Final = """
## Laws

How many animals each law catches that is named by them.

| law | animals |
|---|---|
"""

_IDLE: Final = """
Laws about a single provider that no animal was made for:

"""


def page(animals: Iterable[Animal]) -> str:
    """The page, in Markdown."""
    shown = list(animals)
    caught: dict[str, list[str]] = defaultdict(list)
    rows: list[str] = []
    for each in shown:
        for law in each.caught_by:
            caught[law].append(each.id)
        rows.append(
            f"| `{each.id}` | {each.defect} | {each.seen} | {_codes(each.caught_by)} "
            f"| {'nearly all' if '*' in each.also else _codes(each.also)} |\n"
        )
    counts = [
        f"| `{law.id}` | {', '.join(f'`{name}`' for name in caught[law.id])} |\n"
        for law in all_laws()
        if caught[law.id]
    ]
    idle = [f"- `{law}`\n" for law in laws_for_animals() if not caught[law]]
    return (
        _HEAD.format(count=len(shown))
        + "".join(rows)
        + _LAWS
        + "".join(counts)
        + (_IDLE + "".join(idle) if idle else "")
    )


def _codes(laws: Iterable[str]) -> str:
    return " ".join(f"`{law}`" for law in laws)
