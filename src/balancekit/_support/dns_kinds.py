"""Types of records by name and by number.

A type without a name is written ``TYPE`` and its number, and one with a name may be (RFC 3597, section 5): ``TYPE65`` is
``HTTPS``. Queries carry numbers.

Source: the registry "Resource Record (RR) TYPEs" of IANA; RFC 6895 section 3.1 for what is no type of records.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_meta", "kind_name", "kind_number", "kind_of"]

NUMBERS: Final = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "RP": 17, "AFSDB": 18, "SIG": 24,
    "KEY": 25, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "KX": 36, "CERT": 37, "DNAME": 39, "OPT": 41, "APL": 42,
    "DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50,
    "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "HIP": 55, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62,
    "ZONEMD": 63, "SVCB": 64, "HTTPS": 65, "SPF": 99, "EUI48": 108, "EUI64": 109, "NXNAME": 128, "TKEY": 249, "TSIG": 250,
    "IXFR": 251, "AXFR": 252, "MAILB": 253, "MAILA": 254, "ANY": 255, "URI": 256, "CAA": 257,
}  # fmt: skip
NAMES: Final = {number: name for name, number in NUMBERS.items()}
NUMBERED: Final = re.compile("(?:TYPE)?([0-9]{1,5})")
META_CODES: Final = range(128, 255)
"""Of types of queries and of meta types other than ANY: transfers of zones, mailboxes, keys."""


def kind_name(number: int) -> str:
    """Return the name of a type, ``TYPE`` and the number if it has none."""
    return NAMES.get(number) or f"TYPE{number}"


def kind_of(text: str) -> str:
    """Return a type in one spelling: upper case, by name if it has one, else ``TYPE`` and the number."""
    name = text.upper()
    numbered = NUMBERED.fullmatch(name)
    return name if numbered is None else kind_name(int(numbered[1]))


def kind_number(kind: str) -> int | None:
    """Return the number of a type in that spelling; ``None`` for a name that is not known."""
    numbered = NUMBERED.fullmatch(kind)
    return NUMBERS.get(kind) if numbered is None else int(numbered[1])


def is_meta(kind: str) -> bool:
    """Whether a type in that spelling is no type of records."""
    return kind_number(kind) in META_CODES
