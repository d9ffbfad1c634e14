"""``python -m balancekit`` is the command ``balancekit``."""

from __future__ import annotations

import sys

from balancekit.cli import main

if __name__ == "__main__":
    sys.exit(main())
