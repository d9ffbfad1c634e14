"""The httpx adapter is the httpx2 adapter with another name in it.

httpx2 is a fork with classes of its own, so one module cannot serve both. ``python tests/adapters/twin.py`` writes
``httpx.py`` from ``httpx2.py``; ``test_twin.py`` fails when they are out of step.
"""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).parents[2] / "src" / "balancekit" / "adapters"
NOTICE = "# Made from httpx2.py by tests/adapters/twin.py: change that one.\n"


def twin() -> str:
    """Return what ``httpx.py`` should be."""
    return NOTICE + (ADAPTERS / "httpx2.py").read_text(encoding="utf-8").replace("httpx2", "httpx")


if __name__ == "__main__":
    (ADAPTERS / "httpx.py").write_text(twin(), encoding="utf-8")
