"""The suite as pytest collects it: ``pytest --pyargs kmscore_conformance.suite``."""
