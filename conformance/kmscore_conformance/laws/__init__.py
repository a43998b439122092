"""The laws, a module for each part of them; `kmscore_conformance.law.all_laws` reads them all."""
