"""Words of HAProxy that are misspelt: an unknown keyword, option, section or word of a server that is one slip away from a known one.

Source: HAProxy 2.6, which does not start with them and names the known word, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from balancekit.proxyconfig._haproxy_lines import SECTIONS
from balancekit.proxyconfig._haproxy_words import KEYWORDS, OPTIONS, SERVER_FLAGS, SERVER_VALUES
from balancekit.proxyconfig._misspelling import one_slip_away

__all__ = ["meant_by"]

KNOWN: Final = tuple(sorted(KEYWORDS | SECTIONS | SERVER_FLAGS | SERVER_VALUES))


def meant_by(words: Sequence[str]) -> str | None:
    """Return the words that were probably meant by the first ones of a line.

    Example
    -------
    >>> meant_by(["sever", "a", "10.0.0.1:80"]), meant_by(["no", "option", "redispach"]), meant_by(["server", "a"])
    ('server', 'option redispatch', None)
    """
    first, *rest = words
    if first in {"no", "default"} and rest[:1] == ["option"]:
        first, *rest = rest
    if first == "option" and rest:
        meant = one_slip_away(rest[0], OPTIONS)
        return None if meant is None else f"option {meant}"
    return one_slip_away(first, KNOWN)
