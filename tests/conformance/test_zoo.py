"""The suite is tried on providers that are broken on purpose: it finds what is wrong, and where."""

import fnmatch
from pathlib import Path

import pytest
from kmscore_conformance.broken import materials, sound
from kmscore_conformance.broken.animal import Animal, all_animals
from kmscore_conformance.broken.keeper import catch
from kmscore_conformance.broken.page import page
from kmscore_conformance.law import all_laws
from kmscore_conformance.outcome import Outcome

ROOT = Path(__file__).parents[2]
ANIMALS = {animal.id: animal for animal in all_animals()}


@pytest.mark.parametrize("name", ANIMALS)
def test_every_animal_is_caught_by_the_laws_that_name_its_defect(name):
    """And by none that is about something else."""
    caught = catch(ANIMALS[name])
    assert caught.missed == ()
    assert caught.strange == ()


@pytest.mark.parametrize(
    "kinds",
    ["IMPORTED", "RSA", "ECDSA", "ED25519", "SM2_SIGNING", "RSA_DECRYPTION", "SM2_DECRYPTION"],
)
def test_what_the_animals_are_made_of_is_sound(kinds):
    """It is the one defect that is found, and nothing around it."""
    kind = type("Right", (sound.Sound,), {"kinds": getattr(materials, kinds)})
    caught = catch(Animal("right", "Nothing.", "Nowhere.", (), (), kind))
    assert caught.laws == ()
    assert any(result.outcome is Outcome.PASS for result in caught.results)


def test_there_are_enough_animals_and_each_has_its_story():
    """What is wrong, where it was seen, and which laws must say so."""
    assert len(ANIMALS) >= 60
    known = {law.id for law in all_laws()}
    for animal in ANIMALS.values():
        assert animal.defect.endswith(".")
        assert animal.seen.endswith(".")
        assert animal.caught_by
        assert set(animal.caught_by) <= known
        assert all(fnmatch.filter(known, pattern) for pattern in animal.also)


def test_the_page_is_that_of_today():
    """`kmscore conformance zoo -o docs/zoo.md` writes it anew."""
    assert (ROOT / "docs/zoo.md").read_text() == page(all_animals())
