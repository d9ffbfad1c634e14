"""The page of the transition table."""

from __future__ import annotations

from pathlib import Path

from balancekit.ha import VRRP, vrrp_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "vrrp-table.md"


def test_the_page_in_the_reference_is_printed_from_the_code():
    """``docs/reference/vrrp-table.md`` is the output of ``python -m balancekit.ha``, a row per listed pair."""
    assert PAGE.read_text(encoding="utf-8") == vrrp_page()
    assert sum(line.startswith("| **") for line in vrrp_page().splitlines()) == len(VRRP)
