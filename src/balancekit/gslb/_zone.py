"""Zones: names to policies, and policies' answers to records.

A policy chooses endpoints; the zone turns them into A and AAAA records of one choice, so that both families of
a name lead to the same site whenever the choice follows from the client (``Geo``, ``Failover``, ``Spill``,
``HashedOne``).

Source: RFC 1034 section 4.3.2 for the algorithm, RFC 2308 for negative answers, RFC 8020 for what NXDOMAIN says
of names below, RFC 4592 for wildcard names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from random import Random
from types import MappingProxyType
from typing import Any, Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.dns_kinds import is_meta
from balancekit._support.text import ascii_host
from balancekit.errors import ConfigurationError
from balancekit.gslb._failover import continue_fail_backs
from balancekit.gslb._query import Answer, Policy, Query
from balancekit.gslb._records import ADDRESS_KINDS, ResourceRecord, Soa, StaticRecords, absolute
from balancekit.gslb._standing import Standings
from balancekit.gslb._tree import read_answer
from balancekit.gslb._ttl import Ttl

__all__ = ["Reply", "Zone"]

MAX_NAME: Final = 253
"""Characters of a name without the final dot (RFC 1035)."""
ANY_DATA: Final = '"RFC8482" ""'
ANY_TTL_S: Final = 3600
"""The answer to ANY: one HINFO record (RFC 8482, 4.2), as gdnsd gives it."""
LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
WILDCARD: Final = "*"
PARENT: Final = re.compile(r"(?:\\.|[^\\.])*\.(.*)", re.DOTALL)
"""The name above a name. A dot behind a backslash belongs to a label."""


class Reply(NamedTuple):
    """What a server says to one query."""

    rcode: str
    """``"NOERROR"``, ``"NXDOMAIN"``, ``"REFUSED"`` for other zones, or ``"NOTIMP"`` for what is no type of records."""
    records: tuple[ResourceRecord, ...] = ()
    """The answer section."""
    authority: tuple[ResourceRecord, ...] = ()
    """The authority section: the SOA record of a negative answer."""
    scope: int = 0
    """The scope prefix for the client subnet option, if the query carried one."""
    answer: Answer | None = None
    """What the policy answered; ``None`` for static records and names that are not there."""


@final
class Zone(ConstructorRepr):
    """Names below one origin, each with a policy or with static records. Immutable, but for the state of its policies.

    Parameters
    ----------
    origin
        The name of the zone, ``"example.com"``.
    soa
        Its start of authority.
    records
        By name relative to the origin (``"www"``; ``"@"`` for the origin itself): a policy, or static records. No CNAME
        at the origin, where the start of authority is; NS at the origin only. A first label ``"*"`` stands for all names
        below the rest of the name that are not there.
    addresses
        IP addresses by endpoint id, one or several. An id that is an address needs none.
    ttl
        Limits of the TTLs of answers by policies.
    ttls
        Other limits by name.
    beside
        Static records of other types at names that have a policy: ``{"@": StaticRecords(data={"NS": [...]})}``. A zone whose
        one name is delegated to it has its policy at the origin, and its NS records beside.

    Raises
    ------
    ConfigurationError
        For a name that is none, an endpoint without an address, and limits or records beside for a name without a policy.

    *Guarantee.* NXDOMAIN only for names that are not there and have none below; NODATA (NOERROR without records)
    for other types and when a policy answers nothing, for no longer than the policy's TTL. NOTIMP for transfers of zones; ANY
    gets one HINFO record, or the CNAME.

    *When not to use it:* for a whole domain. Delegate one name (``www.example.com``) to servers of this zone,
    and keep the rest where it is.

    Cost: one look-up, and the policy.

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Query, Soa, StaticRecords, Zone, fixed_standings
    >>> from random import Random
    >>> zone = Zone(
    ...     "example.com",
    ...     Soa(primary="ns1.example.com", contact="admin.example.com"),
    ...     {"www": AllUp(["eu-1"]), "@": StaticRecords(data={"NS": ["ns1.example.com."]})},
    ...     addresses={"eu-1": ["192.0.2.1", "2001:db8::1"]},
    ... )
    >>> client = Client(address="192.0.2.53")
    >>> standings = fixed_standings({})
    >>> for kind in ("A", "AAAA"):
    ...     print(zone.answer(Query(name="www.example.com", kind=kind, client=client), standings, now=0.0, rng=Random(1)).records[0])
    ResourceRecord(name='www.example.com.', kind='A', ttl=60, data='192.0.2.1')
    ResourceRecord(name='www.example.com.', kind='AAAA', ttl=60, data='2001:db8::1')
    >>> zone.answer(Query(name="nope.example.com", client=client), standings, now=0.0, rng=Random(1)).rcode
    'NXDOMAIN'
    """

    @checked_arguments
    def __init__(
        self,
        origin: str,
        soa: Soa,
        records: Mapping[str, Policy | StaticRecords],
        *,
        addresses: Mapping[str, str | Sequence[str]] | None = None,
        ttl: Ttl = Ttl(),  # noqa: B008 - immutable
        ttls: Mapping[str, Ttl] | None = None,
        beside: Mapping[str, StaticRecords] | None = None,
    ) -> None:
        self.origin: Final = _labels("origin", origin)
        self.soa: Final = soa
        self._names: Final[dict[str, Policy | StaticRecords]] = {}
        for name, value in records.items():
            below = self._below(name)
            if below in self._names:
                raise ConfigurationError("records", name, "each name once, in one spelling")
            if not below and _is_alias(value):
                raise ConfigurationError("records", name, "no CNAME: the start of authority is at that name")
            if isinstance(value, StaticRecords):
                _refuse_cuts(name, below, value)
            self._names[below] = value
        self._above: Final = {
            name[place + 1 :] for name in self._names for place, char in enumerate(name) if char == "."
        } | {""}
        self.policies: Final[Mapping[str, Policy]] = MappingProxyType(
            {
                name or "@": value
                for name, value in self._names.items()
                if not isinstance(value, StaticRecords)
            }
        )
        """The policies by relative name."""
        self._has_wildcards: Final = any(name.startswith(WILDCARD) for name in self._names)
        self.beside: Final[Mapping[str, StaticRecords]] = MappingProxyType(
            dict([self._beside(name, value) for name, value in (beside or {}).items()])
        )
        """Records beside the policies, by relative name."""
        self._addresses: Final = _addresses(self.policies.values(), addresses or {})
        own = {self._of_policy("ttls", name): limits for name, limits in (ttls or {}).items()}
        self._ttls: Final = {name: own.get(name, ttl) for name in self.policies}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "policies": dict(self.policies), "beside": dict(self.beside)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        proxies = {name: MappingProxyType(state[name]) for name in ("policies", "beside")}
        self.__dict__.update({**state, **proxies})

    def _below(self, name: str) -> str:
        """Return a name relative to the origin, which is ``""``."""
        return "" if name == "@" else _relative(name, self.origin)

    def _of_policy(self, parameter: str, name: str) -> str:
        """Return the name of a policy as ``policies`` has it, for another spelling."""
        below = self._below(name) or "@"
        if below not in self.policies:
            raise ConfigurationError(parameter, name, f"names with a policy: {', '.join(self.policies)}")
        return below

    def _beside(self, name: str, value: StaticRecords) -> tuple[str, StaticRecords]:
        """Check records that stand beside a policy."""
        place = self._of_policy("beside", name)
        for kind in (*ADDRESS_KINDS, "CNAME"):
            if kind in value.data:
                raise ConfigurationError(
                    "beside", f"{name} {kind}", "no addresses and no CNAME: the policy answers"
                )
        _refuse_cuts(name, "" if place == "@" else place, value)
        return place, value

    @checked_arguments
    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Reply:
        """Return the reply to one query."""
        full = query.name.lower().removesuffix(".")
        kind = query.kind
        if is_meta(kind):
            return Reply("NOTIMP")
        if full != self.origin and not _is_below(full, self.origin):
            return Reply("REFUSED")
        name = full[: -len(self.origin) - 1] if full != self.origin else ""
        if self._has_wildcards:
            name = self._covering(name)
        found = self._names.get(name)
        if kind == "ANY" and (found is not None or name in self._above) and not _is_alias(found):
            hinfo = ResourceRecord(absolute(query.name), "HINFO", ANY_TTL_S, ANY_DATA)
            return Reply("NOERROR", (hinfo,))
        if not name and kind == "SOA":
            return Reply("NOERROR", (self._soa(self.soa.negative_ttl),))
        if found is None:
            return self._negative("NOERROR" if name in self._above else "NXDOMAIN")
        if isinstance(found, StaticRecords):
            return self._static(query.name, kind, found)
        version = ADDRESS_KINDS.get(kind)
        if version is None:
            beside = self.beside.get(name or "@")
            return self._negative("NOERROR") if beside is None else self._static(query.name, kind, beside)
        answer = read_answer(found, query, standings, now=now, rng=rng, explain=explain)
        ttl = self._ttls[name or "@"].of(answer.ttl)
        texts = dict.fromkeys([text for id in answer.chosen for text in self._address(id).get(version, ())])
        if not texts:
            return self._negative("NOERROR", ttl, answer)
        owner = absolute(query.name)
        records = tuple([ResourceRecord(owner, kind, ttl, text) for text in texts])
        return Reply("NOERROR", records, (), answer.scope, answer)

    def _covering(self, name: str) -> str:
        """Return a name that is there, or the wildcard name that stands for it. Return any other name as it is."""
        above = name
        while above and above not in self._names and above not in self._above:
            parent = PARENT.fullmatch(above)
            above = "" if parent is None else parent[1]
        wildcard = f"{WILDCARD}.{above}" if above else WILDCARD
        return wildcard if above != name and wildcard in self._names else name

    def _address(self, id: str) -> Mapping[int, Sequence[str]]:
        """Return the addresses of an endpoint that a policy, which may be the user's, has chosen."""
        found = self._addresses.get(id)
        if found is None:
            raise ConfigurationError("answer", id, "ids of members() of the policy of a record")
        return found

    @checked_arguments
    def continue_from(self, previous: Zone, /) -> None:
        """Let sites go on with their fail-backs as in the zone that this one is to replace.

        Sites are the same if their names and those above them are. One that is held down, or gets a growing share, or is
        damped, stays so. One that has been observed in this zone already stays as it is.
        """
        continue_fail_backs(self.policies, previous.policies)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints in the zone."""
        return frozenset(self._addresses)

    @checked_arguments
    def ttl(self, name: str, /) -> Ttl:
        """Return the limits of TTLs at a relative name.

        Raises
        ------
        ConfigurationError
            If the name has no policy.
        """
        if name not in self._ttls:
            raise ConfigurationError("name", name, f"a name with a policy: {', '.join(self.policies)}")
        return self._ttls[name]

    def names(self) -> Mapping[str, Policy | StaticRecords]:
        """Return what stands at each relative name; ``""`` is the origin."""
        return MappingProxyType(self._names)

    def _static(self, full: str, kind: str, found: StaticRecords) -> Reply:
        texts = found.data.get(kind)
        if texts is None and "CNAME" in found.data:
            kind, texts = "CNAME", found.data["CNAME"]
        if texts is None:
            return self._negative("NOERROR")
        owner = absolute(full)
        return Reply("NOERROR", tuple([ResourceRecord(owner, kind, found.ttl, text) for text in texts]))

    def _negative(self, rcode: str, ttl: int | None = None, answer: Answer | None = None) -> Reply:
        limit = self.soa.negative_ttl
        soa = self._soa(limit if ttl is None else min(limit, ttl))
        return Reply(rcode, (), (soa,), 0 if answer is None else answer.scope, answer)

    def _soa(self, ttl: int) -> ResourceRecord:
        return ResourceRecord(absolute(self.origin), "SOA", ttl, self.soa.data)


def _is_below(name: str, origin: str) -> bool:
    """Whether a name is below an origin; a dot after an odd number of backslashes belongs to a label."""
    if not name.endswith(f".{origin}"):
        return False
    head = name[: -len(origin) - 1]
    return (len(head) - len(head.rstrip("\\"))) % 2 == 0


def _refuse_cuts(name: str, below: str, value: StaticRecords) -> None:
    """Refuse records that would begin another zone."""
    if "SOA" in value.data:
        raise ConfigurationError("records", name, "no SOA: there is one, at the origin, as soa=")
    if below and "NS" in value.data:
        raise ConfigurationError("records", name, "no NS but at '@': names are not delegated further")


def _is_alias(found: Policy | StaticRecords | None) -> bool:
    return isinstance(found, StaticRecords) and "CNAME" in found.data


def _relative(name: object, origin: str) -> str:
    """Return the name below the origin; one that ends with a dot is absolute."""
    labels = _labels("records", name, wildcard=True)
    below = labels.removesuffix(f".{origin}")
    absolute = str(name).endswith(".")
    if below == labels if absolute else below != labels or labels == origin:
        raise ConfigurationError("records", name, f"names below {origin} without it, such as 'www', or '@'")
    return below


def _labels(parameter: str, name: object, *, wildcard: bool = False) -> str:
    """Return a name as it is compared: A-labels in lower case, without the final dot."""
    text = valid.text(parameter, name).lower().removesuffix(".")
    if wildcard and text == WILDCARD:
        return text
    head = f"{WILDCARD}." if wildcard and text.startswith(f"{WILDCARD}.") else ""
    rest = text.removeprefix(head)
    if not rest.isascii():
        rest = ascii_host(rest) or ""
    if len(head + rest) > MAX_NAME or not all(map(LABEL.fullmatch, rest.split("."))):
        first = "; the first may be *" if wildcard else ""
        allowed = f"a domain name, each label 1 to 63 letters, digits, - or _{first}"
        raise ConfigurationError(parameter, name, allowed)
    return head + rest


def _addresses(
    policies: Iterable[Policy], given: Mapping[str, str | Sequence[str]]
) -> dict[str, dict[int, tuple[str, ...]]]:
    """Return addresses by IP version for each endpoint of the policies."""
    found: dict[str, dict[int, tuple[str, ...]]] = {}
    for policy in policies:
        for id in policy.members():
            texts = given.get(id, id)
            versions: dict[int, tuple[str, ...]] = {}
            for text in [texts] if isinstance(texts, str) else texts:
                try:
                    address = ip_address(text)
                except ValueError:
                    unknown = "" if id in given or not given else f", or one of {', '.join(given)}"
                    raise ConfigurationError(
                        "addresses", text, f"IP addresses for endpoint {id!r}{unknown}"
                    ) from None
                versions[address.version] = (*versions.get(address.version, ()), str(address))
            found[id] = versions
    return found
