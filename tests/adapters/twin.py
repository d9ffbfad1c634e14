"""The httpx adapter is the httpx2 adapter with another name in it.

httpx2 is a fork with classes of its own, so one module cannot serve both. ``python tests/adapters/twin.py`` writes the
modules for httpx from those for httpx2; ``test_twin.py`` fails when they are out of step.
"""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).parents[2] / "src" / "balancekit" / "adapters"
ORIGINALS = ("httpx2.py", "_httpx2_requests.py")


def twins() -> dict[Path, str]:
    """Return what the modules for httpx should be."""
    found = {}
    for name in ORIGINALS:
        notice = f"# Made from {name} by tests/adapters/twin.py: change that one.\n"
        text = (ADAPTERS / name).read_text(encoding="utf-8")
        found[ADAPTERS / name.replace("httpx2", "httpx")] = notice + text.replace("httpx2", "httpx")
    return found


if __name__ == "__main__":
    for path, text in twins().items():
        path.write_text(text, encoding="utf-8")
