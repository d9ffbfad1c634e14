"""The table of how servers read the same request is the one that the traces give, and the library rejects what it must."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import disagreements  # noqa: E402 - a program beside this file

PAGE = HERE.parents[1] / "docs" / "explanation" / "routers-disagree.md"


def test_the_page_ends_with_the_table():
    """``docs/explanation/routers-disagree.md`` ends with what ``disagreements.py`` prints."""
    assert PAGE.read_text(encoding="utf-8").endswith(f"\n\n{disagreements.table()}\n")


def test_servers_disagree_on_most_odd_targets():
    """Of 67 recorded targets, 44 are not read alike by nginx, HAProxy and Envoy in its two configurations."""
    assert len(disagreements.rows()) == 44


def test_strict_rejects_whatever_servers_read_as_other_segments():
    """An accepted target differs between servers at most in the decoding of a character that is no separator, or in its host."""
    for sent, *reads, own in disagreements.rows():
        if own == "as sent" and not sent.startswith("`http:"):
            segments = {read.count("/") for read in reads if read != "as sent"}
            assert segments <= {sent.count("/")}, sent
