"""Gating by the provider's own table: what is declared must work, what works must be declared."""

import pytest
from kmscore_conformance.outcome import Outcome

from kmscore.algorithms import KeySpec
from kmscore.capabilities import Feature
from kmscore.errors import Unsupported
from kmscore.spi import Provider


def with_table(change):
    """Spoils a provider: its table is changed, what it does is not."""

    def spoil(provider):
        table = change(provider.capabilities())
        provider.capabilities = lambda: table
        return provider

    return spoil


def without(spec):
    """A table without the rows of a key spec."""
    return with_table(
        lambda table: table._replace(keys=tuple(row for row in table.keys if row.spec is not spec))
    )


def test_what_the_table_lacks_does_not_apply_and_the_reason_is_recorded(tried, outcomes):
    """Not a test that passes without having looked."""
    results = tried(without(KeySpec.SM2), "sig.sm2.*")
    assert outcomes(results) == {"NOT_APPLICABLE"}
    assert {result.detail for result in results} == {"the table has no SM2DSA signatures"}


def test_a_kind_that_works_and_is_not_declared_is_undeclared(tried):
    """The table says less than there is."""
    (result,) = tried(without(KeySpec.ED25519), "table.undeclared-kinds")
    assert result.outcome is Outcome.UNDECLARED
    assert "ED25519 for SIGN_VERIFY" in result.detail


def test_a_scheme_that_works_and_is_not_declared_is_undeclared(tried):
    """The same for algorithms."""

    def pss_alone(table):
        keep = {"RSA_PSS_SHA_256"}
        rows = [
            row._replace(algorithms=row.algorithms & keep) if row.spec == "RSA_2048" else row
            for row in table.keys
            if row.spec != "RSA_2048" or row.usage == "SIGN_VERIFY"
        ]
        return table._replace(keys=tuple(rows))

    (result,) = tried(with_table(pss_alone), "table.undeclared-algorithms")
    assert result.outcome is Outcome.UNDECLARED
    assert "RSA_PKCS1_SHA_256 with RSA_2048" in result.detail


def test_a_feature_that_works_and_is_not_declared_is_undeclared(tried):
    """The same for features, and for ways to wrap."""
    hidden = {Feature.ARCHIVE, Feature.ROTATION}
    spoil = with_table(lambda table: table._replace(features=table.features - hidden))
    (result,) = tried(spoil, "table.undeclared-features")
    assert result.outcome is Outcome.UNDECLARED
    assert "ARCHIVE, ROTATION" in result.detail
    spoil = with_table(lambda table: table._replace(wrapping=table.wrapping - {"RSAES_PKCS1_V1_5"}))
    (result,) = tried(spoil, "table.undeclared-wrapping")
    assert result.outcome is Outcome.UNDECLARED


def test_a_declared_kind_that_does_not_work_fails(tried, outcomes):
    """A row that cannot be served is a broken promise."""

    def spoil(provider):
        create = provider.create_key

        def refuse(new):
            if new.spec is KeySpec.ED25519:
                raise Unsupported("not today")
            return create(new)

        provider.create_key = refuse
        return provider

    results = tried(spoil, "table.every-kind", "sig.verified")
    failed = {(r.law, r.case) for r in results if r.outcome is Outcome.FAIL}
    assert failed == {("table.every-kind", "ED25519"), ("sig.verified", "ED25519")}


def test_a_short_profile_says_what_it_leaves_out(tried):
    """The larger key sizes have not been run, and the result says so."""
    results = tried(lambda provider: provider, "sig.rsa-size")
    left = {r.case.split()[0]: r for r in results if r.outcome is Outcome.NOT_RUN}
    assert set(left) == {"RSA_3072", "RSA_4096"}
    assert "profile quick" in left["RSA_4096"].detail


def test_a_budget_of_calls_is_kept(subject):
    """Where calls cost money: the rest has not been run, and the keys are deleted all the same."""
    from kmscore_conformance.runner import run_laws
    from kmscore_conformance.session import Session

    under_test = subject()
    with Session([under_test], profile="quick", max_calls=200) as session:
        results = run_laws(session, ["sym.*"])
    assert {result.outcome for result in results} == {Outcome.PASS, Outcome.NOT_RUN}
    assert results[-1].detail == "the budget of 200 calls is spent"
    assert 150 < under_test.budget.spent <= 200
    assert under_test.leftovers == {}


def test_a_budget_that_ends_within_a_law_is_no_finding(tried, outcomes):
    """The creation was not sent, and that is nobody's fault."""
    (result,) = tried(lambda provider: provider, "fault.create-once", max_calls=3)
    assert result.outcome is Outcome.NOT_RUN
    assert result.detail == "the budget of calls was spent before it was done"


def test_what_was_found_with_the_last_call_is_a_finding(subject):
    """Even where none is left to make the example smaller."""
    from hypothesis import strategies
    from kmscore_conformance.outcome import Violation
    from kmscore_conformance.scope import NOTHING
    from kmscore_conformance.session import Session
    from kmscore_conformance.trial import Trial, require

    under_test = subject()

    def check(_):
        under_test.kms.generate_random(8)
        require(False, "something is wrong")

    with Session([under_test], profile="quick", max_calls=1) as session:
        trial = Trial(session, NOTHING, under_test)
        with pytest.raises(Violation, match="something is wrong"):
            trial.each(strategies.binary(), check)
        assert under_test.budget.refused > 0


def test_a_provider_that_was_handed_over_open_is_tried_as_far_as_that_goes(subject, outcomes):
    """Without a way to open it again, some laws do not apply, and say so."""
    from kmscore_conformance.runner import run_laws
    from kmscore_conformance.session import Session
    from kmscore_conformance.subject import Subject

    provider: Provider = subject().kms.provider
    with Session([Subject.of("mine", provider)], profile="quick") as session:
        results = run_laws(session, ["sym.roundtrip", "contract.close-twice", "config.*"])
    by_law = {result.law: result for result in results}
    assert by_law["sym.roundtrip"].outcome is Outcome.PASS
    assert by_law["contract.close-twice"].outcome is Outcome.NOT_APPLICABLE
    assert "without a configuration" in by_law["config.options"].detail


def test_without_a_peer_the_laws_on_pairs_do_not_apply(tried, outcomes):
    """And nobody takes them for kept."""
    results = tried(lambda provider: provider, "pair.envelope", "pair.imported-key")
    assert outcomes(results) == {"NOT_APPLICABLE"}
    assert {result.detail for result in results} == {"no peer was named"}


def test_vectors_that_the_package_lacks_are_named():
    """Whoever has installed it is not told to install it."""
    from kmscore_conformance.outcome import NotRun
    from kmscore_conformance.vectors import wycheproof

    with pytest.raises(NotRun, match=r"has no sm4_gcm_test\.json of Wycheproof"):
        list(wycheproof("sm4_gcm_test", None, None))
