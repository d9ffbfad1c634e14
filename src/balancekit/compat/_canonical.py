"""Canonical order of the records of a name. Some servers use it instead of the order in the zone file.

Source: RFC 4034 section 6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

__all__ = ["canonical_order"]


def canonical_order(records: Sequence[str]) -> tuple[str, ...]:
    """Return records sorted by their data: addresses by their bytes, names by their labels in lower case.

    Example
    -------
    >>> canonical_order(["192.0.2.10", "192.0.2.9"])
    ('192.0.2.9', '192.0.2.10')
    """
    return tuple(sorted(records, key=_data))


def _data(record: str) -> bytes:
    try:
        return ip_address(record).packed
    except ValueError:
        labels = record.lower().rstrip(".").split(".")
        return b"".join([len(label).to_bytes(1, "big") + label.encode() for label in labels])
