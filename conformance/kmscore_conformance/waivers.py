"""The waivers file: findings that are accepted, each with a reason and a link.

::

    [[known-bug]]
    law = "sig.rsa-pss.salt"
    provider = "hsm"
    case = "RSA_3072 RSA_PSS_SHA_256"
    reason = "The token's salt is always 20 bytes"
    link = "https://example.com/tickets/123"

The three lists say why: ``unsupported`` will not come, ``future`` will, ``known-bug`` is a defect
that somebody works on. A waiver that accepts nothing fails the run: what is repaired is not waived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from kmscore.errors import ConfigError
from kmscore_conformance.outcome import FINDINGS, UNTRIED, Outcome, Result
from kmscore_conformance.witness import all_witnesses

LISTS: Final = ("unsupported", "future", "known-bug")
_REQUIRED: Final = ("law", "provider", "reason", "link")
_ALLOWED: Final = (*_REQUIRED, "case", "peer")


class Waiver(NamedTuple):
    """An accepted finding.

    Attributes:
        list: ``unsupported``, ``future`` or ``known-bug``.
        law: Id of the law; ``import.*`` means all that begin so.
        provider: Name of the provider.
        reason: Why it is accepted.
        link: Where to read more.
        case: The one case that is meant, or several: ``SM2*``; empty means all.
        peer: The one peer that is meant; empty means all.
    """

    list: str
    law: str
    provider: str
    reason: str
    link: str
    case: str = ""
    peer: str = ""

    def accepts(self, result: Result) -> bool:
        """Whether the result is what the waiver is about."""
        return (
            fnmatchcase(result.law, self.law)
            and result.provider == self.provider
            and (not self.case or fnmatchcase(result.case, self.case))
            and self.peer in ("", result.peer)
        )

    def __str__(self) -> str:
        where = " ".join(part for part in (self.provider, self.case, self.peer) if part)
        return f"{self.law} on {where}"


class Waivers:
    """All waivers of a run."""

    def __init__(self, waivers: Iterable[Waiver] = ()) -> None:
        self.all = tuple(waivers)

    @classmethod
    def load(cls, path: Path) -> Waivers:
        """Read a waivers file.

        Raises:
            ConfigError: It cannot be read, or something in it is wrong.
        """
        import tomllib

        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"waivers {path} cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"waivers {path} are not TOML: {error}") from error
        return cls(_waivers(data, str(path)))

    def require_providers(self, configured: Iterable[str]) -> None:
        """Check that waivers name providers, and peers, that there are.

        Raises:
            ConfigError: One does not.
        """
        known = set(configured)
        others = known | {witness.name for witness in all_witnesses()}
        for waiver in self.all:
            for what, name, among in (
                ("provider", waiver.provider, known),
                ("peer", waiver.peer or waiver.provider, others),
            ):
                if name not in among:
                    raise ConfigError(
                        f"a waiver names {what} {name!r}, which is not configured",
                        hint=f"Configured: {', '.join(sorted(known)) or 'none'}",
                    )

    def apply(self, result: Result) -> Result:
        """The result, WAIVED where it is a finding that was accepted."""
        if result.outcome in FINDINGS:
            for waiver in self.all:
                if waiver.accepts(result):
                    why = f"{waiver.list}: {waiver.reason} ({waiver.link})"
                    return replace(result, outcome=Outcome.WAIVED, waiver=why)
        return result

    def idle(self, results: Iterable[Result]) -> tuple[Waiver, ...]:
        """Waivers that accepted nothing, though their law was tried on their provider and peer."""
        every = list(results)
        tried = {(result.law, result.provider) for result in every}
        peers = {"", *(result.peer for result in every)}
        found: list[Waiver] = []
        for waiver in self.all:
            if waiver.peer not in peers or not any(
                fnmatchcase(law, waiver.law) for law, name in tried if name == waiver.provider
            ):
                continue
            outcomes = {result.outcome for result in every if waiver.accepts(result)}
            unknown = Outcome.NOT_RUN in outcomes and not outcomes - UNTRIED
            if Outcome.WAIVED not in outcomes and not unknown:
                found.append(waiver)
        return tuple(found)


def _waivers(data: Mapping[str, Any], where: str) -> Iterable[Waiver]:
    from kmscore_conformance.law import all_laws

    known = {law.id for law in all_laws()}
    for name, entries in data.items():
        if name not in LISTS:
            raise ConfigError(
                f"{where} has an unknown list {name!r}", hint=f"Use {', '.join(LISTS)}"
            )
        if not isinstance(entries, list):
            raise ConfigError(f"{where}: {name} is no list", hint=f"Begin one with [[{name}]]")
        for entry in cast("Iterable[Any]", entries):
            yield _waiver(name, entry, known, where)


def _waiver(name: str, entry: Any, known: set[str], where: str) -> Waiver:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: an entry of {name} is no table")
    fields = cast("Mapping[str, Any]", entry)
    for key, value in fields.items():
        if key not in _ALLOWED:
            raise ConfigError(
                f"{where}: a waiver has an unknown key {key!r}", hint=f"Use {', '.join(_ALLOWED)}"
            )
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{where}: {key!r} of a waiver is empty, or no string")
    for key in _REQUIRED:
        if key not in fields:
            raise ConfigError(
                f"{where}: a waiver lacks {key!r}",
                hint="Each needs law, provider, reason and link",
            )
    if not any(fnmatchcase(law, fields["law"]) for law in known):
        raise ConfigError(
            f"{where}: there is no law {fields['law']!r}",
            hint="List them with: kmscore conformance laws",
        )
    if "://" not in fields["link"]:
        raise ConfigError(f"{where}: {fields['link']!r} is no link", hint="Give an address")
    return Waiver(list=name, **fields)
