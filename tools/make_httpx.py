"""Generator of the modules for httpx from those for httpx2: it replaces the names of the client and its core.

httpx2 is a fork with its own classes, so one module cannot serve both clients. ``python tools/make_httpx.py`` writes the
modules. ``tests/adapters/test_twin.py`` fails if they are not up to date.
"""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).parents[1] / "src" / "balancekit" / "adapters"
ORIGINALS = (
    "httpx2.py",
    "_httpx2_bodies.py",
    "_httpx2_network.py",
    "_httpx2_requests.py",
    "_httpx2_transport.py",
    "routed_httpx2.py",
)


def generated() -> dict[Path, str]:
    """Return the texts of the modules for httpx, by path."""
    modules = {}
    for name in ORIGINALS:
        notice = f"# Generated from {name} by tools/make_httpx.py. Change {name} instead.\n"
        text = (ADAPTERS / name).read_text(encoding="utf-8")
        for new, old in (("httpx2", "httpx"), ("httpcore2", "httpcore")):
            text = text.replace(new, old)
        modules[ADAPTERS / name.replace("httpx2", "httpx")] = notice + text
    return modules


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
