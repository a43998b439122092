"""The conformance suite: laws that every provider keeps, and the report that shows it.

Every pytest run on a machine with kmscore imports this package: it stays empty.
"""
