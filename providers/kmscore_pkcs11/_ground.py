"""What the parts of the provider have in common: the token, the registry, and keys kept ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore.algorithms import TRAITS, Origin
from kmscore.ciphertext import SUITE_OF, header
from kmscore.public_key import PublicKey
from kmscore_pkcs11._keys import place_of

if TYPE_CHECKING:
    from kmscore.registry import Registry
    from kmscore.registry.model import KeyRecord
    from kmscore_pkcs11._abilities import Abilities
    from kmscore_pkcs11._schemes import Schemes
    from kmscore_pkcs11._sessions import Place
    from kmscore_pkcs11._token import Token

READY_KEYS: Final = 20_000
"""How many versions of keys are kept ready, about 300 bytes each."""

# Looked up once: before Python 3.12, each look at a member of an enum is a call.
_EXTERNAL: Final = Origin.EXTERNAL


class Ready(NamedTuple):
    """A version of a key, ready for use.

    Attributes:
        place: Where it is on the token.
        head: What its ciphertexts begin with.
        gcm: The mechanism that encrypts; 0 for pairs.
    """

    place: Place
    head: bytes
    gcm: int


class OnToken:
    """Keys of a registry whose material is on a token; what opens it sets the attributes.

    Attributes:
        registry: Where their life is.
    """

    registry: Registry
    _token: Token
    _abilities: Abilities
    _schemes: Schemes
    _ready: dict[tuple[str, int], Ready]
    _publics: dict[str, PublicKey]

    def _version(self, record: KeyRecord, number: int) -> Ready:
        ready = self._ready.get((record.key_id, number))
        version = None
        if record.origin is _EXTERNAL:
            # Deleted and imported again, a version is another object.
            version = self.registry.version(record.key_id, number)
            if ready is not None and ready.place[1] != version.material:
                ready = None
        if ready is None:
            version = version or self.registry.version(record.key_id, number)
            head, mechanism = b"", 0
            if TRAITS[record.spec].is_symmetric:
                head = header(SUITE_OF[record.spec], record.key_id, number)
                mechanism = self._schemes.secret[record.spec].gcm
            ready = Ready(place_of(record.spec, version.material), head, mechanism)
            if len(self._ready) >= READY_KEYS:
                self._ready.clear()
            self._ready[record.key_id, number] = ready
        return ready

    def _public(self, record: KeyRecord) -> PublicKey:
        public = self._publics.get(record.key_id)
        if public is None:
            public = PublicKey(self.registry.version(record.key_id, record.version).public_key)
            if len(self._publics) >= READY_KEYS:
                self._publics.clear()
            self._publics[record.key_id] = public
        return public

    def _forget(self, key_id: str) -> None:
        for number, ready in list(self._ready):
            if number == key_id:
                self._ready.pop((number, ready), None)
