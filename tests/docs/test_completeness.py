"""Nothing that a user can name is missing from the pages, and the pages name nothing else."""

import inspect
import re
from pathlib import Path

import kmscore
from kmscore import Feature, Origin, errors, hookspecs
from kmscore.algorithms import TRAITS, KeyUsage
from kmscore.discovery import Plugins, installed

ROOT = Path(__file__).parents[2]


def headings(page: str, level: int) -> list[str]:
    """Headings of that level, in their order."""
    return re.findall(rf"^{'#' * level} (.+)$", (ROOT / page).read_text(), re.MULTILINE)


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first head is ``first``."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(cell: str) -> list[str]:
    """What a cell shows as code."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_error_class_is_explained():
    """In the order of the tree, which is the order of the module."""
    classes = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.KmsError)
    ]
    assert headings("docs/errors.md", 3) == classes


def test_every_hook_is_explained_with_its_signature():
    """A section for each hook, opening with how it is called."""
    hooks = [name for name in vars(hookspecs) if name.startswith("kmscore_")]
    assert headings("docs/hooks.md", 2) == hooks
    text = (ROOT / "docs/hooks.md").read_text()
    for name in hooks:
        signature = inspect.signature(getattr(hookspecs, name))
        assert f"`{name}{signature}`".replace("'", "") in text


def test_the_readme_lists_every_key_spec_with_its_algorithms():
    """The table of keys is the vocabulary's own."""
    listed = {
        spec: (names(signs), names(decrypts))
        for specs, signs, decrypts in table("README.md", "spec")
        for spec in names(specs)
    }
    assert listed == {
        spec.value: (list(traits.signing), list(traits.encryption))
        for spec, traits in TRAITS.items()
    }
    for traits in TRAITS.values():
        assert traits.is_symmetric == (traits.usages == (KeyUsage.ENCRYPT_DECRYPT,))


def test_the_readme_lists_every_provider():
    """The table of providers has those that the distribution brings, by their own summaries."""
    listed = {names(row[0])[0]: row[1] for row in table("README.md", "type")}
    ours = [plugin.name for plugin in installed() if plugin.distribution == "kmscore"]
    assert listed == {name: Plugins().provider_type(name).summary for name in ours}


def test_what_the_readme_says_of_the_software_provider_is_so(tmp_path):
    """All specs, both symmetric families imported and rotated."""
    data = {"type": "software", "path": tmp_path / "keystore.db", "root_key": lambda: bytes(32)}
    with kmscore.connect("dev", config={"providers": {"dev": data}}) as kms:
        kinds = kms.capabilities.keys
        assert Feature.ROTATION in kms.capabilities.features
    assert {kind.spec for kind in kinds} == set(TRAITS)
    external = {TRAITS[kind.spec].family for kind in kinds if Origin.EXTERNAL in kind.origins}
    (row,) = (row for row in table("README.md", "type") if row[0] == "`software`")
    assert row[3:] == [", ".join(sorted(external))] * 2


def test_what_the_readme_says_of_the_tencent_provider_is_so():
    """The specs of both editions."""
    config = {"type": "tencent", "region": "r", "credentials": {}}
    config["credentials"] = {"secret_id": lambda: b"i", "secret_key": lambda: b"k"}
    specs = set()
    for edition in ("FIPS", "SM"):
        providers = {"cloud": config | {"edition": edition}}
        with kmscore.connect(config={"providers": providers}) as kms:
            specs |= {kind.spec for kind in kms.capabilities.keys}
    (row,) = (row for row in table("README.md", "type") if row[0] == "`tencent`")
    assert set(names(row[2])) == specs
