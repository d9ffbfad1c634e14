"""``python -m balancekit`` is the command ``balancekit``."""

from __future__ import annotations

import sys

__all__ = ["main"]

EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command of this process; one that is interrupted while it loads ends without a traceback."""
    try:
        from balancekit.cli import main as run  # noqa: PLC0415 - takes time, in which Ctrl-C may come

        return run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
