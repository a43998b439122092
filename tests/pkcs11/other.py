"""Another application at the same token, in a process of its own; run as a program.

Arguments: module, init_args, label, PIN, then what to do. Prints a JSON value.
"""

import json
import sys
from typing import Any

from tests.pkcs11 import cryptoki as ck
from tests.pkcs11.cryptoki import Cryptoki, Refused
from tests.pkcs11.tokens import OPENCRYPTOKI_SO_PIN, Token

USAGES = {
    "ENCRYPT": ck.ENCRYPT,
    "DECRYPT": ck.DECRYPT,
    "SIGN": ck.SIGN,
    "WRAP": ck.WRAP,
    "UNWRAP": ck.UNWRAP,
}


def objects(api: Cryptoki, session: int) -> list[dict[str, Any]]:
    """All keys of the token: id, label, class, how well they are kept, and what they may do."""
    found = []
    for handle in api.find(session, {ck.TOKEN: True}, 20_000):
        kind = api.get(session, handle, ck.CLASS)
        if kind not in (ck.SECRET_KEY, ck.PRIVATE_KEY, ck.PUBLIC_KEY):
            continue
        secret = kind != ck.PUBLIC_KEY
        found.append(
            {
                "id": api.get(session, handle, ck.ID).hex(),
                "label": api.get(session, handle, ck.LABEL).decode(),
                "class": kind,
                "sensitive": secret and api.get(session, handle, ck.SENSITIVE),
                "extractable": secret and api.get(session, handle, ck.EXTRACTABLE),
                "private": api.get(session, handle, ck.PRIVATE),
                "usages": sorted(
                    name for name, flag in USAGES.items() if _flag(api, session, handle, flag)
                ),
            }
        )
    return found


def _flag(api: Cryptoki, session: int, handle: int, flag: int) -> bool:
    try:
        return bool(api.get(session, handle, flag))
    except Refused:
        return False  # an attribute that this class has not


def destroy(api: Cryptoki, session: int, identity: str) -> int:
    """Destroy every object with that CKA_ID; how many there were."""
    found = api.find(session, {ck.ID: bytes.fromhex(identity)})
    for handle in found:
        api.destroy(session, handle)
    return len(found)


def switch_off(api: Cryptoki, session: int, identity: str, *usages: str) -> int:
    """Clear usage flags of the objects with that CKA_ID; how many there were."""
    found = api.find(session, {ck.ID: bytes.fromhex(identity)})
    for handle in found:
        api.set(session, handle, dict.fromkeys((USAGES[name] for name in usages), False))
    return len(found)


def churn(api: Cryptoki, session: int, rounds: str) -> int:
    """Make and destroy keys, so that handles and hits come and go."""
    template = {
        ck.CLASS: ck.SECRET_KEY,
        ck.KEY_TYPE: ck.AES,
        ck.TOKEN: True,
        ck.PRIVATE: True,
        ck.SENSITIVE: True,
        ck.EXTRACTABLE: False,
        ck.VALUE_LEN: 32,
        ck.LABEL: "churn",
    }
    for _ in range(int(rounds)):
        handles = [api.generate(session, ck.AES_KEY_GEN, template) for _ in range(5)]
        for handle in handles:
            api.destroy(session, handle)
    return int(rounds)


def fill(api: Cryptoki, session: int, most: str) -> int:
    """Make objects until the token takes no more; how many."""
    template = {ck.CLASS: 0, ck.TOKEN: True, ck.PRIVATE: True, ck.LABEL: "filler", ck.VALUE: b"x"}
    for number in range(int(most)):
        try:
            api.create(session, template)
        except Refused:
            return number
    raise AssertionError(f"the token took {most} objects")


def clear(api: Cryptoki, session: int) -> int:
    """Destroy what `fill` made; how many."""
    found = api.find(session, {ck.CLASS: 0, ck.LABEL: "filler"}, 20_000)
    for handle in found:
        api.destroy(session, handle)
    return len(found)


def lock(api: Cryptoki, session: int) -> int:
    """Give three wrong PINs; how many."""
    api.call("Logout", session)
    for _ in range(3):
        api.code("Login", session, ck.USER, b"0000000", 7)
    return 3


def unlock(api: Cryptoki, session: int) -> bool:
    """As the security officer, give the user his PIN again."""
    api.code("Logout", session)
    api.login(session, OPENCRYPTOKI_SO_PIN, ck.SO)
    api.call("InitPIN", session, PIN.encode(), len(PIN))
    return True


def ask(token: Token, action: str, *arguments: object) -> Any:
    """Have the other application do something; its answer."""
    who = (token.module, token.init_args, token.label, token.pin)
    return json.loads(token.start("-m", "tests.pkcs11.other", *who, action, *arguments))


ACTIONS = {
    each.__name__: each for each in (objects, destroy, switch_off, churn, fill, clear, lock, unlock)
}

if __name__ == "__main__":
    MODULE, INIT_ARGS, LABEL, PIN, ACTION, *REST = sys.argv[1:]
    with Cryptoki(MODULE, INIT_ARGS) as module:
        known = None if ACTION == "unlock" else PIN
        result = ACTIONS[ACTION](module, module.open(LABEL, known), *REST)
    print(json.dumps(result))  # noqa: T201 - the program's result
