"""Signatures: right by somebody else's code, of what was given to sign, and of nothing else."""

from __future__ import annotations

from kmscore.algorithms import TRAITS, DigestAlgorithm, SigningAlgorithm
from kmscore.encodings import spec_of_public_key
from kmscore.encodings.signature import signature_integers
from kmscore.errors import InvalidRequest, Unsupported
from kmscore.signing import DEFAULT_SM2_USER_ID, Digest, Message, hash_message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Inapplicable, Violation
from kmscore_conformance.scope import HASHED, signing
from kmscore_conformance.strategies import messages
from kmscore_conformance.trial import Trial, refusal, require
from kmscore_conformance.witness import Witness

S = SigningAlgorithm
ORDERS = {
    S.ECDSA_SHA_256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    S.ECDSA_SHA_384: int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
        "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
    S.SM2DSA: 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123,
}
"""Orders of the groups: FIPS 186-5 (SP 800-186, 3.2.1) and GM/T 0003.5-2012."""


def judge(trial: Trial) -> Witness:
    """The quickest implementation that is not kmscore's and verifies the scheme of this case."""
    for witness in sorted(trial.session.witnesses, key=lambda each: each.dear):
        if witness.name != "kmscore" and not witness.lacks(trial.signing):
            return witness
    raise Inapplicable("no other implementation verifies this scheme on this machine")


def says(trial: Trial, data: Message | Digest, signature: bytes) -> bool:
    """Whether somebody else's code finds a signature of this case's key right."""
    public = trial.key.public_key().der
    return judge(trial).verify(public, trial.signing, data, signature)


@law(
    "sig.verified",
    "What the provider signs, somebody else's code verifies, whatever the message.",
    Layer.PROPERTIES,
    signing(),
)
def verified(trial: Trial) -> None:
    """Empty messages and runs of zeros included; the provider's own `verify` agrees."""
    key, scheme = trial.key, trial.signing
    limit = trial.subject.capabilities.limits.message

    def check(message: bytes) -> None:
        signature = key.sign(Message(message), algorithm=scheme)
        require(says(trial, Message(message), signature), "others find the signature wrong")
        own = key.verify(Message(message), signature, algorithm=scheme)
        require(own, "the provider finds its own signature wrong")

    trial.each(messages(limit), check, dear=True)


@law(
    "sig.digest",
    "A signature of a digest is a signature of its message, and the other way round.",
    Layer.PROPERTIES,
    signing(*HASHED),
)
def digest(trial: Trial) -> None:
    """What is hashed twice, or padded otherwise, only its own provider verifies."""
    key, scheme = trial.key, trial.signing
    message = Message(b"hashed here or hashed there")
    hashed = hash_message(message, scheme, key.public_key().der)
    of_digest = key.sign(hashed, algorithm=scheme)
    of_message = key.sign(message, algorithm=scheme)
    require(says(trial, message, of_digest), "a signature of the digest is none of the message")
    require(says(trial, hashed, of_message), "a signature of the message is none of the digest")
    require(key.verify(message, of_digest, algorithm=scheme), "the provider does not see that")
    require(key.verify(hashed, of_message, algorithm=scheme), "the provider does not see that")


@law(
    "sig.digest-of-another-hash",
    "A digest of another hash is InvalidRequest.",
    Layer.PROPERTIES,
    signing(),
)
def digest_of_another_hash(trial: Trial) -> None:
    """32 bytes are no reason to believe that they are the right ones."""
    wrong = {
        DigestAlgorithm.SHA_256: Digest(bytes(48), DigestAlgorithm.SHA_384),
        DigestAlgorithm.SHA_384: Digest(bytes(32), DigestAlgorithm.SHA_256),
        DigestAlgorithm.SM3: Digest(bytes(32), DigestAlgorithm.SHA_256),
        None: Digest(bytes(32), DigestAlgorithm.SHA_256),
    }[trial.signing.digest]
    refusal("a foreign digest", InvalidRequest, trial.key.sign, wrong, algorithm=trial.signing)


@law(
    "sig.other-message",
    "A signature is wrong for every other message.",
    Layer.PROPERTIES,
    signing(),
)
def other_message(trial: Trial) -> None:
    """By the provider and by others; also for a message that begins or ends alike."""
    key, scheme = trial.key, trial.signing
    message = b"pay 100 to bob"
    signature = key.sign(Message(message), algorithm=scheme)
    for other in (b"pay 900 to bob", b"", message + b"\0", b"\0" + message, message[:-1]):
        require(not says(trial, Message(other), signature), "others find it right")
        right = key.verify(Message(other), signature, algorithm=scheme)
        require(right is False, f"the provider finds it right for {other!r}")


@law(
    "sig.other-key",
    "A signature is wrong under every other key.",
    Layer.PROPERTIES,
    signing().smallest(),
)
def other_key(trial: Trial) -> None:
    """The key that was made a moment before, too."""
    message = Message(b"signed by the one")
    signature = trial.key.sign(message, algorithm=trial.signing)
    other = trial.fresh()
    require(other.public_key() != trial.key.public_key(), "two keys are the same")
    right = other.verify(message, signature, algorithm=trial.signing)
    require(right is False, "another key finds it right")


@law(
    "sig.other-scheme",
    "A signature of one RSA scheme is wrong for the other.",
    Layer.PROPERTIES,
    signing(S.RSA_PSS_SHA_256, S.RSA_PKCS1_SHA_256),
)
def other_scheme(trial: Trial) -> None:
    """The scheme is the caller's choice, not the signature's."""
    others = {S.RSA_PSS_SHA_256, S.RSA_PKCS1_SHA_256} & trial.kind.algorithms - {trial.signing}
    if not others:
        raise Inapplicable("the table has one RSA scheme alone")
    message = Message(b"one scheme")
    signature = trial.key.sign(message, algorithm=trial.signing)
    for other in others:
        right = trial.key.verify(message, signature, algorithm=other.value)
        require(right is False, f"it is right for {other} too")


@law(
    "sig.long-message",
    "Messages at the provider's limit, and far beyond it, are signed.",
    Layer.PROPERTIES,
    signing(),
)
def long_message(trial: Trial) -> None:
    """Beyond the limit the core hashes; the signature is the same kind of signature."""
    limit = trial.subject.capabilities.limits.message
    sizes = [100_000] if limit is None else [limit, limit + 1, 100_000]
    if trial.signing.digest is None and limit is not None:
        sizes = [limit]
    for size in sizes:
        message = Message(b"m" * size)
        signature = trial.key.sign(message, algorithm=trial.signing)
        require(says(trial, message, signature), f"wrong for a message of {size} bytes")
        own = trial.key.verify(message, signature, algorithm=trial.signing)
        require(own, f"the provider finds it wrong for {size} bytes")


@law(
    "sig.deterministic",
    "RSA PKCS #1 v1.5 and Ed25519 have one signature for each message.",
    Layer.PROPERTIES,
    signing(S.RSA_PKCS1_SHA_256, S.ED25519),
)
def deterministic(trial: Trial) -> None:
    """RFC 8017, 8.2; RFC 8032, 5.1.6."""
    message = Message(b"the same every time")
    made = {trial.key.sign(message, algorithm=trial.signing) for _ in range(3)}
    require(len(made) == 1, "two signatures of one message differ")


@law(
    "sig.nonce",
    "No two messages are signed with the same nonce, and seeding Python's random changes nothing.",
    Layer.PROPERTIES,
    signing(S.ECDSA_SHA_256, S.ECDSA_SHA_384, S.SM2DSA),
)
def nonce(trial: Trial) -> None:
    """Two signatures with one nonce give the private key away (FIPS 186-5, 6.4)."""
    import random

    state = random.getstate()
    seen: set[int] = set()
    count = trial.profile.few + 3
    try:
        for number in range(count):
            random.seed(7)
            message = Message(b"message %d" % number)
            signature = trial.key.sign(message, algorithm=trial.signing)
            r, s = signature_integers(signature)
            shared = r
            if trial.signing is S.SM2DSA:
                # r holds the message; what is left is the nonce's own point (GM/T 0003.2, 6.1).
                e = hash_message(message, S.SM2DSA, trial.key.public_key().der).value
                shared = (r - int.from_bytes(e)) % ORDERS[S.SM2DSA]
            require(0 < s < ORDERS[trial.signing], "s is out of range")
            seen.add(shared)
    finally:
        random.setstate(state)
    require(len(seen) == count, "two signatures have one nonce")


@law(
    "sig.rsa-pss.salt",
    "The salt of RSA-PSS is as long as the hash, and no two are the same.",
    Layer.PROPERTIES,
    signing(S.RSA_PSS_SHA_256),
)
def salt(trial: Trial) -> None:
    """32 bytes; verifiers that insist on it are in the majority (RFC 8017, 9.1)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    public = load_der_public_key(trial.key.public_key().der)
    if not isinstance(public, rsa.RSAPublicKey):
        raise Violation("the public key is not RSA")
    message = b"salted"
    made = {trial.key.sign(Message(message), algorithm=trial.signing) for _ in range(3)}
    require(len(made) == 3, "two signatures have one salt")
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    for signature in made:
        try:
            public.verify(signature, message, scheme, hashes.SHA256())
        except InvalidSignature as error:
            raise Violation("the salt is not 32 bytes long, or the mask is another") from error


@law(
    "sig.sm2.user-id",
    "SM2 signs with the default user id, or with the one that is named, and tells them apart.",
    Layer.PROPERTIES,
    signing(S.SM2DSA),
)
def user_id(trial: Trial) -> None:
    """1234567812345678 unless agreed otherwise (GM/T 0009-2012, clause 10)."""
    ids = (DEFAULT_SM2_USER_ID, b"ALICE123@YAHOO.COM", b"", "张三".encode())
    for named in ids:
        message = Message(b"who signs?", named)
        signature = trial.key.sign(message)
        require(says(trial, message, signature), f"others find it wrong for the id {named!r}")
        require(trial.key.verify(message, signature), f"the provider does, for the id {named!r}")
        for other in ids:
            if other != named:
                mistaken = Message(b"who signs?", other)
                require(not says(trial, mistaken, signature), "two ids have one signature")
                require(not trial.key.verify(mistaken, signature), "the provider takes another id")


@law(
    "sig.sm2.z",
    "SM2 signs SM3(Z ‖ M), never SM3(M).",
    Layer.PROPERTIES,
    signing(S.SM2DSA),
)
def with_z(trial: Trial) -> None:
    """The commonest reason why two SM2 systems do not understand each other."""
    from cryptography.hazmat.primitives.hashes import SM3, Hash

    message = b"with Z"
    plain = Hash(SM3())
    plain.update(message)
    digest_alone = Digest(plain.finalize(), DigestAlgorithm.SM3)
    signature = trial.key.sign(Message(message))
    require(not says(trial, digest_alone, signature), "the message was signed without Z")
    require(says(trial, Message(message), signature), "others find the signature wrong")


@law(
    "sig.public-key",
    "The public key is strict SubjectPublicKeyInfo of the key's own spec, the same every time.",
    Layer.PROPERTIES,
    signing(),
)
def public_key(trial: Trial) -> None:
    """RFC 5280, 4.1.2.7; SM2 has id-ecPublicKey with its own curve (GM/T 0009-2012)."""
    first = trial.key.public_key()
    try:
        spec = spec_of_public_key(first.der)
    except (InvalidRequest, Unsupported) as error:
        raise Violation(f"the public key cannot be read: {error.message}") from error
    require(spec is trial.kind.spec, f"the public key is {spec}")
    require(trial.key.public_key() == first, "the public key changes")


@law(
    "sig.default-scheme",
    "Without a scheme, the recommended one of the key is used.",
    Layer.PROPERTIES,
    signing(),
)
def default_scheme(trial: Trial) -> None:
    """RSA-PSS for RSA where the table has it; the others have one."""
    order = TRAITS[trial.kind.spec].signing
    first = next(scheme for scheme in order if scheme in trial.kind.algorithms)
    message = Message(b"by default")
    signature = trial.key.sign(message)
    right = says(trial, message, signature)
    require(right is (trial.signing is first), f"the signature is not {first}")
