"""The laws as data, and all of them on the software provider."""

import re

import pytest
from kmscore_conformance.law import Layer, all_laws, choose
from kmscore_conformance.outcome import Outcome
from kmscore_conformance.runner import run_laws
from kmscore_conformance.session import Session

from kmscore.errors import InvalidRequest


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Results of all laws on one keystore with another as peer, in the profile ci."""
    from kmscore.config import Config

    folder = tmp_path_factory.mktemp("keystores")
    data = {
        name: {"type": "software", "path": str(folder / name), "root_key": lambda: bytes(32)}
        for name in ("one", "two")
    }
    config = Config.from_mapping({"providers": data})
    with Session.configured(config, ["one"], ["two"], profile="ci", seed=2026) as session:
        results = run_laws(session)
    assert [subject.leftovers for subject in session.everybody] == [{}, {}]
    return results


def test_the_software_provider_keeps_every_law(sound):
    """Not one finding in the profile that CI runs."""
    bad = {Outcome.FAIL, Outcome.UNDECLARED}
    assert [(r.law, r.case, r.detail) for r in sound if r.outcome in bad] == []


def test_every_law_has_a_result(sound):
    """Nothing is left out in silence; what does not apply says why."""
    assert {result.law for result in sound} == {law.id for law in all_laws()}
    silent = [r.law for r in sound if r.outcome is not Outcome.PASS and not r.detail]
    assert silent == []


def test_results_have_places_of_their_own(sound):
    """Law, case, provider and peer say which result is meant: reports are merged by it."""
    places = [result.place for result in sound]
    assert len(set(places)) == len(places)


def test_nearly_every_law_was_tried(sound):
    """The software provider can do all that there is: few laws do not apply to it."""
    tried = {result.law for result in sound if result.outcome is Outcome.PASS}
    left = {law.id for law in all_laws()} - tried
    assert {ident for ident in left if not ident.startswith("table.undeclared-")} == set()


def test_laws_say_what_holds():
    """Ids that last, and titles that are sentences."""
    laws = all_laws()
    assert len(laws) > 150
    for law in laws:
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", law.id)
        assert law.title[0].isupper() or law.title[0].isdigit()
        assert law.title.endswith(".")
        assert len(law.title) <= 100
        assert law.check.__doc__ or law.id.startswith("known.wycheproof.")
    assert len({law.title for law in laws}) == len(laws)


def test_every_layer_has_several_laws():
    """As the documentation promises."""
    for layer in Layer:
        assert sum(law.layer is layer for law in all_laws()) >= 5, layer


def test_laws_are_chosen_by_id_and_by_beginning():
    """In the suite's order, whatever the order of the choice."""
    assert [law.id for law in choose(["sig.der", "sym.roundtrip"])] == ["sym.roundtrip", "sig.der"]
    assert {law.id.split(".")[0] for law in choose(["fault.*", "thread.*"])} == {"fault", "thread"}


def test_an_unknown_law_is_refused_with_the_nearest():
    """A misspelt id tries nothing, and would pass."""
    with pytest.raises(InvalidRequest, match="roundtripp") as caught:
        choose(["sym.roundtripp"])
    assert "'sym.roundtrip'" in caught.value.hint
