"""The zoo: providers that are wrong in one way each, to see that the suite finds it."""

from __future__ import annotations
