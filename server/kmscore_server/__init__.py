"""A server that speaks the Tencent KMS API (2019-01-18) over any key store that kmscore opens."""
