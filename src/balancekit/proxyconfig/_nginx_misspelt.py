"""Directives of nginx that are misspelt: an unknown name that is one slip away from a known one.

A module may add directives of any name, so unknown ones are not refused. nginx itself does not start with a misspelt one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from balancekit._support.extras import extra
from balancekit.proxyconfig._misspelling import one_slip_away
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_words import effect_of

with extra("proxyconfig"):
    from crossplane.analyzer import DIRECTIVES

__all__ = ["effect_or_meant", "meant_by", "misspelt"]

TABLES: Final = frozenset({"map", "split_clients", "geo", "types"})
"""Blocks whose lines are no directives."""


def meant_by(name: str) -> str | None:
    """Return the directive that was probably meant by one that nginx does not have.

    Example
    -------
    >>> meant_by("proxy_pas"), meant_by("hsah"), meant_by("proxy_pass"), meant_by("fancy")
    ('proxy_pass', 'hash', None, None)
    """
    return one_slip_away(name, DIRECTIVES) if effect_of(name) == "" else None


def effect_or_meant(name: str) -> str | None:
    """Return what a directive may change although it is not followed, as ``effect_of``, or what was probably meant by it."""
    meant = meant_by(name)
    if meant is None:
        return effect_of(name)
    return f"nginx has no such directive without a module; {meant} was probably meant"


def misspelt(directives: Iterable[Directive]) -> Iterator[tuple[Directive, str]]:
    """Yield the misspelt directives of blocks that nginx has, each with what was probably meant."""
    for one in directives:
        meant = meant_by(one.name)
        if meant is not None:
            yield one, meant
        if one.name in DIRECTIVES and one.name not in TABLES:
            yield from misspelt(one.block or ())
