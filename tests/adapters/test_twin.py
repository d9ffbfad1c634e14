"""Two clients, one adapter."""

from __future__ import annotations

from .twin import twins


def test_the_httpx_adapter_is_the_httpx2_adapter_by_another_name() -> None:
    """``python tests/adapters/twin.py`` puts them in step."""
    assert {path: path.read_text(encoding="utf-8") for path in twins()} == twins()
