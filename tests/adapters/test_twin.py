"""The generated httpx adapter."""

from __future__ import annotations

from tools.make_httpx import generated


def test_the_httpx_adapter_is_generated_from_the_httpx2_adapter() -> None:
    """The modules for httpx are what ``python tools/make_httpx.py`` writes."""
    assert {path: path.read_text(encoding="utf-8") for path in generated()} == generated()
