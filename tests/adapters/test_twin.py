"""Two clients, one adapter."""

from __future__ import annotations

from .twin import ADAPTERS, twin


def test_the_httpx_adapter_is_the_httpx2_adapter_by_another_name() -> None:
    """``python tests/adapters/twin.py`` puts them in step."""
    assert (ADAPTERS / "httpx.py").read_text(encoding="utf-8") == twin()
