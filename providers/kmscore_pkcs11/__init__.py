"""Keys on a PKCS#11 token, which never leave it: the provider for hardware security modules."""
