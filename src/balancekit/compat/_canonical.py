"""Canonical order of the records of a name. Some servers use it instead of the order in the zone file.

Source: RFC 4034 section 6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["canonical_order"]

MAX_LABEL_BYTES: Final = 63
"""Bytes of a label of a name (RFC 1035 section 2.3.4)."""


def canonical_order(records: Sequence[str]) -> tuple[str, ...]:
    """Return records sorted by their data: addresses by their bytes, names by their labels in lower case.

    Raises
    ------
    ConfigurationError
        If a label of a name is too long.

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
        labels = [to_bytes(label) for label in record.lower().rstrip(".").split(".")]
        if max(map(len, labels)) > MAX_LABEL_BYTES:
            raise ConfigurationError(
                "records", record, f"an address, or a name with labels of at most {MAX_LABEL_BYTES} bytes"
            ) from None
        return b"".join([len(label).to_bytes(1, "big") + label for label in labels])
