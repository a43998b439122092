"""Plugins that listen to audit events."""

import pluggy
import pytest

from kmscore import audit, hookspecs
from kmscore.audit import emit
from kmscore.hookspecs import hookimpl


@pytest.fixture
def manager():
    """A plugin manager that knows the hooks of kmscore."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


class Listener:
    """A plugin that keeps what it hears."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def kmscore_audit_event(self, event):
        self.heard.append(event)


class Broken:
    """A plugin that fails."""

    def __init__(self, error):
        self.error = error

    @hookimpl
    def kmscore_audit_event(self):
        raise self.error


def test_subscribers_get_the_event(manager, event):
    """Each of them, the event itself."""
    first, second = Listener(), Listener()
    manager.register(first)
    manager.register(second)
    happened = event()
    emit(manager.hook, happened)
    assert first.heard == second.heard == [happened]
    assert first.heard[0] is happened


def test_a_broken_subscriber_does_not_reach_the_caller(manager, event, caplog):
    """Its error is logged, with where it came from."""
    manager.register(Broken(ValueError("defect")))
    emit(manager.hook, event())
    assert [record.name for record in caplog.records] == ["kmscore.audit"]
    assert "ValueError: defect" in caplog.text


def test_an_interrupt_in_a_subscriber_is_no_defect(manager, event):
    """Ctrl-C reaches the program."""
    manager.register(Broken(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        emit(manager.hook, event())


def test_the_package_has_what_it_promises():
    """Every name of `__all__` is there, and no other is made up."""
    for name in audit.__all__:
        assert getattr(audit, name).__name__ == name
    with pytest.raises(AttributeError, match="AuditBook"):
        audit.AuditBook  # noqa: B018 - looking it up is what is tried
