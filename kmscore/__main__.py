"""``python -m kmscore``: the command line."""

from __future__ import annotations

import sys

from kmscore.cli import main

sys.exit(main())
