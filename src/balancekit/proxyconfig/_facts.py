"""Data of a configuration for ``lint`` and ``simulate``, in addition to pools and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._haproxy_decide import Frontend

__all__ = ["EnvoyFacts", "Facts", "HaproxyFacts"]


class HaproxyFacts(NamedTuple):
    """What is kept of a configuration of HAProxy."""

    environment: Mapping[str, str]
    """Variables that its text was read with."""
    frontends: Sequence[Frontend]
    """In order; those of ``listen`` among them."""


class EnvoyFacts(NamedTuple):
    """What is kept of a bootstrap of Envoy."""

    clusters: Mapping[str, Message]
    """As read, by name."""


Facts: TypeAlias = HaproxyFacts | EnvoyFacts | None
"""What is kept of a configuration; ``None`` for nginx."""
