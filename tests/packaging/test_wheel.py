"""What the wheel holds: our packages, typed, with their entry points and the licence."""

import configparser
import re
from email.parser import Parser
from pathlib import PurePath
from zipfile import ZipFile

import pytest


@pytest.fixture(scope="module")
def archive(wheel):
    """The open wheel."""
    with ZipFile(wheel) as opened:
        yield opened


@pytest.fixture(scope="module")
def packages(pyproject):
    """Names of the import packages that the wheel shall have."""
    built = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {PurePath(path).name for path in built}


def read(archive, name):
    """A file of the wheel's ``.dist-info`` folder."""
    (path,) = (path for path in archive.namelist() if path.endswith(f".dist-info/{name}"))
    return archive.read(path).decode()


def test_the_wheel_installs_our_packages_and_nothing_else(archive, packages):
    """A generic name such as tests or providers would end up in everybody's environment."""
    tops = {PurePath(path).parts[0] for path in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert all(name.startswith("kmscore") for name in packages)


def test_every_package_is_marked_as_typed(archive, packages):
    """Type checkers ignore the annotations of packages without py.typed."""
    assert {f"{name}/py.typed" for name in packages} <= set(archive.namelist())


def test_packages_hold_python_and_no_leftovers(archive):
    """No keystores, caches or keys; the conformance suite alone has data: vectors and a style."""
    files = [path for path in archive.namelist() if ".dist-info/" not in path]
    strange = [path for path in files if PurePath(path).suffix not in (".py", ".typed")]
    suite = "kmscore_conformance"
    data = re.compile(rf"{suite}/(vectors/(\w+\.json|README\.md)|report/page\.css)")
    assert [path for path in strange if not data.fullmatch(path)] == []
    needed = {f"{suite}/report/page.css", f"{suite}/vectors/sm2_generated.json"}
    assert needed <= set(strange)


def test_the_wheel_has_the_entry_points_of_pyproject(archive, pyproject):
    """Providers are found, and the command is installed, by what the wheel says."""
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_string(read(archive, "entry_points.txt"))
    built = {section: dict(parser[section]) for section in parser.sections()}
    project = pyproject["project"]
    assert built == {"console_scripts": project["scripts"], **project["entry-points"]}


def test_the_licence_is_named_and_included(archive):
    """Apache-2.0, as the metadata and the text in the wheel say."""
    metadata = Parser().parsestr(read(archive, "METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert "Apache License" in read(archive, "licenses/LICENSE")


def test_the_version_is_the_same_everywhere(archive, pyproject):
    """pyproject, the metadata and `kmscore.__version__` agree."""
    import kmscore

    metadata = Parser().parsestr(read(archive, "METADATA"))
    assert metadata["Version"] == pyproject["project"]["version"] == kmscore.__version__
