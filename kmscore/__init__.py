"""One crypto API over any key store."""
