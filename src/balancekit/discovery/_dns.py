"""Resolvers of addresses and SRV records from DNS itself, with their TTL.

Needs the extra ``dns`` (dnspython). The TTL is the minimum over the records that led to the answer, aliases included. For
a name that does not exist it is the negative TTL of its zone, or unknown if the answer has none (RFC 2308, 5).

An answer is one of three kinds:

- *Records* are the endpoints.
- *No such name, or no records of this type*, is an empty list.
- *A server's failure, no answer in time, or an unusable answer* (truncated, about another name, a referral, or an alias
  without its target) is a failure, and the last good list stays in use.

An answer over UDP that says that it was truncated is queried again over TCP. Some servers leave records out and do not say so:
Consul answers with three random addresses of many (``udp_answer_limit``), and the list changes with each query. Set ``tcp``
for such a server.

Search domains are those of the system, tried in the order of the C library. The first name with records of any queried
type counts; a domain whose servers fail is skipped if a later name has records.

Source: RFC 1035, RFC 2308, RFC 2782.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra
from balancekit._support.text import ascii_host
from balancekit.discovery._addresses import host_and_port, host_name, is_address, joined
from balancekit.discovery._families import reachable
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution
from balancekit.discovery._targets import InvalidTargetsError
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, brief, brief_error

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name
    from dns.resolver import NoNameservers
    from dns.resolver import Resolver as Client

__all__ = ["DnsResolver", "SrvResolver"]

_KINDS: Final = ("A", "AAAA")
MAX_PORT: Final = 65_535


@final
class DnsResolver(ConstructorRepr):
    """Every address of a name, from its A and AAAA records.

    Parameters
    ----------
    host
        The name.
    port
        The port of every endpoint, 1 to 65535.
    kinds
        ``"A"``, ``"AAAA"`` or both. With both, a family without a route is left out. If the query of one type fails, the
        resolution fails: half the addresses are not a list.
    nameservers
        Servers to query, ``"address"`` or ``"address:port"``. If left out, those of the system and its search domains, as
        configured at the time of the query.
    timeout
        The longest time to wait for an answer, in seconds, > 0.
    tcp
        Whether to query over TCP at once, where answers are whole. Needs a round trip more.

    Raises
    ------
    ConfigurationError
        If ``host`` is no host name, for example an address; ``port`` is no integer from 1 to 65535; ``kinds`` is empty or
        has another item than ``"A"`` and ``"AAAA"``; an item of ``nameservers`` is no address; ``timeout`` is no number
        > 0; or ``tcp`` is no bool.

    *When not to use it:* for names in ``/etc/hosts`` or another source of the system, which DNS does not know; use
    :class:`SystemResolver`.

    Cost: one query per type and search domain, up to the first name with records. The import of dnspython takes half a second.

    Example
    -------
    >>> from balancekit.discovery import DnsResolver
    >>> DnsResolver("orders.svc.example", 8080, nameservers=["10.0.0.2"])
    DnsResolver('orders.svc.example', 8080, nameservers=['10.0.0.2'])
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        kinds: Iterable[str] = _KINDS,
        nameservers: Iterable[str] | None = None,
        timeout: float = 5.0,
        tcp: bool = False,
    ) -> None:
        self._host = _dns_name("host", host)
        self._port = valid.integer("port", port, minimum=1, maximum=65535)
        self._kinds = tuple(valid.items("kinds", kinds)) if isinstance(kinds, Iterable) else ()
        if not self._kinds or not set(self._kinds) <= set(_KINDS) or isinstance(kinds, str):
            raise ConfigurationError("kinds", kinds, '["A"], ["AAAA"] or both')
        timeout = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
        self._timeout = timeout
        self._client = _client(nameservers, timeout)
        self._tcp = valid.flag("tcp", tcp)
        self.refresh: Refresh = Refresh(timeout=2.0 * timeout)

    @classmethod
    def parse(cls, address: str, *, nameserver: str | None = None, tcp: str = "false") -> Self:
        """Make one from ``"host:port"``."""
        host, port = host_and_port(address)
        servers = None if nameserver is None else nameserver.split(",")
        return cls(host, port, nameservers=servers, tcp=_flag("tcp", tcp))

    def resolve(self) -> Resolution:
        """Query DNS.

        Raises
        ------
        dns.exception.DNSException
            If there is no answer.
        """
        client = self._client or _system_client(self._timeout)
        answers = _search(client, self._host, self._kinds, tcp=self._tcp)
        addresses = [str(record.address) for records, _ in answers for record in records]
        found = [Endpoint(joined(address, self._port)) for address in reachable(addresses)]
        return Resolution(endpoints=found, ttl=_least(answers))


@final
class SrvResolver(ConstructorRepr):
    """Every service in the SRV records of a name: host, port, priority and weight.

    Hosts are in lower case, because names in DNS ignore case. Weights that are all zero mean equal shares (RFC 2782). A single
    record with the target ``"."`` means that the service is not available: an empty list. A host with port 0 is left out,
    because no client can connect to it; so is a name that is not a host name. If no record is left, the resolution fails.

    Parameters
    ----------
    name
        For example ``"_http._tcp.orders.example"``.
    nameservers, timeout, tcp
        As for :class:`DnsResolver`.

    Raises
    ------
    ConfigurationError
        If ``name`` is no host name, ``timeout`` is not > 0, or a name server is no address.

    *When not to use it:* if all endpoints have one port and equal weights; :class:`DnsResolver` needs no SRV records.

    Cost: one query per search domain, up to the first name with records. Hosts are not resolved; clients resolve them.

    Example
    -------
    >>> from balancekit.discovery import SrvResolver
    >>> SrvResolver("_http._tcp.orders.example")
    SrvResolver('_http._tcp.orders.example')
    """

    def __init__(
        self,
        name: str,
        *,
        nameservers: Iterable[str] | None = None,
        timeout: float = 5.0,
        tcp: bool = False,
    ) -> None:
        self._name = _dns_name("name", name)
        self._timeout = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
        self._client = _client(nameservers, self._timeout)
        self._tcp = valid.flag("tcp", tcp)
        self.refresh: Refresh = Refresh(timeout=self._timeout)

    @classmethod
    def parse(cls, address: str, *, nameserver: str | None = None, tcp: str = "false") -> Self:
        """Make one from a name."""
        servers = None if nameserver is None else nameserver.split(",")
        return cls(address, nameservers=servers, tcp=_flag("tcp", tcp))

    def resolve(self) -> Resolution:
        """Query DNS.

        Raises
        ------
        dns.exception.DNSException
            If there is no answer.
        InvalidTargetsError
            If no record has a port, or none names a host.
        """
        client = self._client or _system_client(self._timeout)
        answers = _search(client, self._name, ("SRV",), tcp=self._tcp)
        hosts = [record for records, _ in answers for record in records if record.target.to_text() != "."]
        ported = [record for record in hosts if record.port]
        if hosts and not ported:
            raise InvalidTargetsError(f"all SRV records of {brief(self._name)} have port 0")
        found = [(host, record) for record in ported if (host := _host_of(record)) is not None]
        if ported and not found:
            shown = brief(ported[0].target.to_text())
            raise InvalidTargetsError(f"no SRV record of {brief(self._name)} names a host: {shown}")
        unweighted = {r.priority for _, r in found} - {r.priority for _, r in found if r.weight}
        return Resolution(
            endpoints=[
                Endpoint(
                    joined(host, record.port),
                    weight=1.0 if record.priority in unweighted else float(record.weight),
                    priority=record.priority,
                )
                for host, record in found
            ],
            ttl=_least(answers),
        )


def _host_of(record: Any) -> str | None:
    """Return the host of a service; ``None`` for a name that no resolver accepts."""
    return ascii_host(record.target.to_text(omit_final_dot=True))


Answer: TypeAlias = tuple[list[Any], float | None]
"""Records and their TTL; the TTL is ``None`` if there are neither records nor an SOA record."""


def _search(client: Client, name: str, kinds: Sequence[str], *, tcp: bool) -> list[Answer]:
    """Return the records of each type of the first name that has any; if none has, the answers of all names."""
    import dns.resolver  # noqa: PLC0415 - 0.5 s, only for resolvers that query DNS themselves

    deadline = time.monotonic() + client.lifetime * len(kinds)
    nothing: list[Answer] = []
    first_error: dns.resolver.NoNameservers | None = None
    for candidate in _candidates(client, name):
        answers, error = [], None
        for kind in kinds:
            left = min(client.lifetime, deadline - time.monotonic())
            try:
                answers.append(_query(client, candidate, kind, lifetime=left, tcp=tcp))
            except dns.resolver.NoNameservers as caught:
                if not _is_servfail(caught):
                    raise
                error = caught
        if any(records for records, _ in answers):
            if error is not None:  # half the addresses are not a list
                raise error
            return answers
        nothing += answers
        first_error = first_error or error
    if first_error is not None:
        raise first_error
    return nothing


def _candidates(client: Client, text: str) -> Iterator[Name]:
    """Return the names to query, in order; for a name with few dots, search domains come first.

    A domain that would make the name too long is left out.
    """
    import dns.name  # noqa: PLC0415 - see above

    name = dns.name.from_text(text, None)
    if name.is_absolute():
        yield name
        return
    is_whole = len(name) > (1 if client.ndots is None else client.ndots)
    if is_whole:
        yield name.concatenate(dns.name.root)
    for domain in client.search or ([] if client.domain == dns.name.root else [client.domain]):
        try:
            yield name.concatenate(domain)
        except dns.name.NameTooLong:
            continue
    if not is_whole:
        yield name.concatenate(dns.name.root)


def _is_servfail(error: NoNameservers) -> bool:
    """Return whether every queried server reported a failure."""
    from dns import rcode  # noqa: PLC0415 - see above

    responses = [response for *_, response in error.kwargs["errors"]]
    return all(response is not None and response.rcode() is rcode.SERVFAIL for response in responses)


def _query(client: Client, name: Name, kind: str, *, lifetime: float, tcp: bool) -> Answer:
    """Return the records of a name; none if there is no such name, or it has none of this type."""
    import dns.resolver  # noqa: PLC0415 - see above

    try:
        answer = client.resolve(name, kind, tcp=tcp, raise_on_no_answer=False, lifetime=lifetime)
    except dns.resolver.NXDOMAIN as error:
        raised: Any = error
        return [], _negative_ttl(raised.response(name))
    if answer.rrset is None and _is_inconclusive(
        answer.response, aliased=bool(answer.chaining_result.cnames)
    ):
        raise dns.resolver.NoAnswer(response=answer.response)  # type: ignore[no-untyped-call]  # of dnspython
    if answer.rrset is None:
        return [], _negative_ttl(answer.response)
    return list(answer.rrset), float(answer.chaining_result.minimum_ttl)


def _negative_ttl(response: Message) -> float | None:
    """Return the negative TTL of a response; ``None`` without an SOA record."""
    from dns import rdatatype  # noqa: PLC0415 - see above

    if all(rrset.rdtype is not rdatatype.SOA for rrset in response.authority):
        return None
    found: Any = response
    return float(found.resolve_chaining().minimum_ttl)


def _is_inconclusive(response: Message, *, aliased: bool) -> bool:
    """Return whether a response without the queried records leaves open whether there are any.

    Such a response was truncated over TCP, is about another name or type, or is a referral to other servers (RFC 2308, 2.2).
    An alias alone also leaves it open, unless an SOA record shows that its target has no records.
    """
    from dns import flags, rdatatype  # noqa: PLC0415 - see above

    if response.flags & flags.TC or (response.answer and not aliased):
        return True
    kinds = {rrset.rdtype for rrset in response.authority}
    if rdatatype.SOA in kinds:
        return False
    return aliased or (rdatatype.NS in kinds and not response.flags & flags.AA)


def _least(answers: Iterable[tuple[list[Any], float | None]]) -> float | None:
    """Return the smallest known TTL of the answers with records, or of all answers if none has records."""
    known = [(ttl, bool(records)) for records, ttl in answers if ttl is not None]
    return min([ttl for ttl, found in known if found] or [ttl for ttl, _ in known], default=None)


def _client(nameservers: Iterable[str] | None, timeout: float) -> Client | None:
    """Return a client that queries these servers; ``None`` for the servers of the system."""
    with extra("dns"):
        import dns.name  # noqa: PLC0415 - see above
        import dns.nameserver  # noqa: PLC0415 - the same
        import dns.resolver  # noqa: PLC0415 - the same

    if nameservers is None:
        return None
    if isinstance(nameservers, str) or not isinstance(nameservers, Iterable):
        raise ConfigurationError("nameservers", nameservers, "a list of addresses")
    nameservers = [valid.text("nameservers", place) for place in valid.items("nameservers", nameservers)]
    places = [_nameserver(place) for place in nameservers]
    client = dns.resolver.Resolver(configure=False)
    client.search, client.domain = [], dns.name.root
    client.lifetime = timeout
    client.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in places]
    return client


def _system_client(timeout: float) -> Client:
    """Return a client of the system's servers as configured now; the network may change while the program runs.

    Raises
    ------
    dns.exception.DNSException
        If the system's configuration cannot be read, or names no server.
    """
    import dns.resolver  # noqa: PLC0415 - see above

    try:
        client = dns.resolver.Resolver()
    except (OSError, ValueError) as error:
        raise dns.resolver.NoResolverConfiguration(brief_error(error)) from error  # type: ignore[no-untyped-call]  # of dnspython
    client.lifetime = timeout
    return client


def _dns_name(parameter: str, value: object) -> str:
    """Return a name that can be queried in DNS."""
    name = host_name(parameter, value)
    if is_address(name):
        raise ConfigurationError(parameter, name, "a name; an address needs no DNS: use static:")
    return name


def _flag(name: str, written: str) -> bool:
    """Return what an option of a text says."""
    if written not in ("true", "false"):
        raise ConfigurationError(name, written, '"true" or "false"')
    return written == "true"


def _nameserver(place: str) -> tuple[str, int]:
    host, port = host_and_port(place) if place.count(":") == 1 or "]:" in place else (place, 53)
    if not is_address(host) or not 0 < port <= MAX_PORT:
        raise ConfigurationError("nameservers", place, 'addresses such as "10.0.0.2", with a port or without')
    return host, port
