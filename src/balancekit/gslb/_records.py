"""Records of a zone that are always the same, and its start of authority.

Source: RFC 1035 for their forms, RFC 2181 for sets of records: the same record is in a set once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, NamedTuple

from balancekit._support import validation as valid
from balancekit._support.dns_kinds import is_meta, kind_of
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.gslb._ttl import MAX_TTL

__all__ = ["ADDRESS_KINDS", "ResourceRecord", "Soa", "StaticRecords", "absolute"]

ADDRESS_KINDS: Final = {"A": 4, "AAAA": 6}
"""Types whose data are addresses, and the version of IP of each."""
MAX_LABEL: Final = 63
UNESCAPED_DOT: Final = re.compile(r"(?<!\\)\.")


class ResourceRecord(NamedTuple):
    """One record, its data in presentation form."""

    name: str
    kind: str
    ttl: int
    data: str


class Soa(Record):
    """The start of a zone of authority.

    Parameters
    ----------
    primary, contact
        The primary name server, and the mailbox of the responsible person, as domain names:
        ``admin.example.com`` for ``admin@example.com``.
    serial, refresh, retry, expire
        As of RFC 1035; for secondaries that copy the zone, which answers by health cannot have.
    negative_ttl
        Seconds that "there is no such name" may be cached.

    Raises
    ------
    ConfigurationError
        If a name is no domain name, or a number is outside 0 to 2**32 - 1; ``negative_ttl``, as any TTL, 2**31 - 1.

    Example
    -------
    >>> from balancekit.gslb import Soa
    >>> Soa(primary="ns1.example.com", contact="admin.example.com").data
    'ns1.example.com. admin.example.com. 1 3600 600 86400 60'
    """

    primary: str
    contact: str
    serial: int = 1
    refresh: int = 3600
    retry: int = 600
    expire: int = 86400
    negative_ttl: int = 60

    def _check(self) -> None:
        for name in ("primary", "contact"):
            _domain(name, getattr(self, name))
        for name in ("serial", "refresh", "retry", "expire"):
            valid.integer(name, getattr(self, name), minimum=0, maximum=0xFFFF_FFFF)
        valid.integer("negative_ttl", self.negative_ttl, minimum=0, maximum=MAX_TTL)

    @property
    def data(self) -> str:
        """The record's data in presentation form."""
        numbers = f"{self.serial} {self.refresh} {self.retry} {self.expire} {self.negative_ttl}"
        return f"{absolute(self.primary)} {absolute(self.contact)} {numbers}"


class StaticRecords(Record):
    """Records that are always the same.

    Parameters
    ----------
    data
        Texts in presentation form by type: ``{"NS": ["ns1.example.com."], "TXT": ['"v=spf1 -all"']}``. A
        CNAME excludes any other type. A text that stands twice counts once. ``TYPE65`` is ``HTTPS`` (RFC 3597).
        Names in them are absolute, with the final dot or without.
    ttl
        Seconds.

    Raises
    ------
    ConfigurationError
        For data or a TTL that no zone may have.

    Example
    -------
    >>> from balancekit.gslb import StaticRecords
    >>> StaticRecords(data={"MX": ["10 mail.example.com."]}).data["MX"]
    ('10 mail.example.com.',)
    """

    data: Mapping[str, Sequence[str]]
    ttl: int = 300

    def _check(self) -> None:
        if not isinstance(self.data, Mapping) or not self.data:
            raise ConfigurationError("data", self.data, "texts by record type")
        found: dict[str, tuple[str, ...]] = {}
        for kind, texts in self.data.items():
            if isinstance(texts, str) or not all(isinstance(text, str) and text for text in texts):
                raise ConfigurationError("data", texts, f"a list of non-empty texts for {kind}")
            name = kind_of(valid.text("data", kind))
            if is_meta(name) or name in {"ANY", "OPT"}:
                raise ConfigurationError("data", kind, "a type of records")
            if name in found:
                raise ConfigurationError("data", kind, "each type once, in one spelling")
            found[name] = tuple(dict.fromkeys(texts))
            for text in found[name] if name in ADDRESS_KINDS else ():
                _refuse_address(text, ADDRESS_KINDS[name])
        if "CNAME" in found and (len(found) > 1 or len(found["CNAME"]) != 1):
            raise ConfigurationError("data", dict(found), "one CNAME and nothing else at its name")
        valid.integer("ttl", self.ttl, minimum=0, maximum=MAX_TTL)
        self.__dict__["data"] = MappingProxyType(found)

    def __hash__(self) -> int:
        return hash((tuple(self.data.items()), self.ttl))


def absolute(name: str) -> str:
    """Return a name with the final dot."""
    return name if name.endswith(".") else name + "."


def _refuse_address(text: str, version: int) -> None:
    """Refuse a text that is no address of an IP version."""
    try:
        known = ip_address(text).version == version
    except ValueError:
        known = False
    if not known or "%" in text:
        raise ConfigurationError("data", text, f"an IPv{version} address")


def _domain(parameter: str, name: object) -> None:
    """Refuse what is no domain name. A dot in a label has a backslash before it."""
    text = valid.text(parameter, name)
    if "@" in text:
        raise ConfigurationError(parameter, name, f"a domain name: {text.replace('@', '.', 1)}")
    labels = UNESCAPED_DOT.split(text.removesuffix("."))
    if (
        not all(0 < len(label) <= MAX_LABEL and not re.search(r"\s", label) for label in labels)
        and text != "."
    ):
        raise ConfigurationError(parameter, name, "a domain name")
