"""The key registry: life cycle, versions, aliases and import jobs of keys that are kept here."""
