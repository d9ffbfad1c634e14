"""A DNS server with ``dnslib``: a resolver for its ``DNSServer``, over UDP and TCP. Needs the extra ``dnslib``.

``dnslib`` provides the server, the threads and the wire format; this class provides the answers::

    server = DNSServer(GslbResolver(zone, balancer), port=5353, handler=GslbHandler)
    server.start_thread()

Cost: about 1 ms a query in ``dnslib``'s server, of which the policy takes some ten microseconds. For thousands of
queries a second put a caching name server in front, or answer wires with :mod:`balancekit.adapters.dnspython`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

from balancekit._support.display import StateRepr
from balancekit._support.extras import extra

with extra("dnslib"):
    from dnslib import (
        AAAA,
        EDNS0,
        OPCODE,
        QTYPE,
        RCODE,
        RD,
        RR,
        A,
        DNSError,
        DNSHeader,
        DNSRecord,
        EDNSOption,
    )

    if not TYPE_CHECKING:
        from dnslib.server import DNSHandler

from balancekit._support.interrupts import raise_interrupt
from balancekit.adapters._gslb import AUTHORITATIVE, BalancerStandings, ZoneResponder
from balancekit.gslb import (
    SUBNET_OPTION,
    Client,
    Reply,
    ResourceRecord,
    SubnetError,
    decode_subnet,
    encode_subnet,
)

if TYPE_CHECKING:
    from socketserver import BaseRequestHandler

    class DNSHandler(BaseRequestHandler):
        """That of ``dnslib``, which has no types."""

        def get_reply(self, data: bytes) -> bytes | bytearray:
            """Return the reply to a message."""
            ...


__all__ = ["BalancerStandings", "GslbHandler", "GslbResolver"]

UDP_SIZE: Final = 1232
"""Bytes of a UDP answer that pass without fragments (DNS flag day 2020)."""
MIN_UDP_SIZE: Final = 512
"""Bytes that every client takes (RFC 1035)."""
MAX_NAME: Final = 255
"""Bytes of a name on the wire (RFC 1035)."""
HEADER_SIZE: Final = 12
IN: Final = 1
ANY: Final = 255
"""The class of a query for any class, whose answer is not authoritative (RFC 1034, 6.2.2)."""
HINFO: Final = re.compile(r'(?:"([^"\\]*)"|([^\s"\\]+))\s+(?:"([^"\\]*)"|([^\s"\\]+))')
BADVERS_BITS: Final = 1
"""The upper bits of the extended code 16, which stand in the OPT record; the lower are those of NOERROR (RFC 6891, 6.1.3)."""


@final
class GslbResolver(ZoneResponder):
    """Answers of a zone, for ``dnslib.server.DNSServer``.

    Parameters
    ----------
    zone
        What to answer. Assign :attr:`zone` to replace it.
    standings
        Standings, or a balancer whose endpoints have the ids of the zone's.
    rng
        The generator for random choices; one of its own if left out.
    clock
        Seconds, the clock of ``Standing.until``.

    *Guarantee.* A malformed client subnet, more than one question, a name that is too long get FORMERR; anything that is no
    query, and transfers, NOTIMP; another version of EDNS BADVERS; other zones REFUSED. A reply is not answered, and what
    ``dnslib`` cannot parse only by a server with :class:`GslbHandler`. Bytes after the message are ignored. An answer to a
    query with a client subnet carries its scope, one without has none.

    *When not to use it:* on the Internet without a rate limit in front; a UDP server answers forged sources.

    Example
    -------
    >>> from dnslib import DNSRecord
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> soa = Soa(primary="ns1.example.com", contact="admin.example.com")
    >>> zone = Zone("example.com", soa, {"www": AllUp(["192.0.2.1"])})
    >>> resolver = GslbResolver(zone, fixed_standings({}))
    >>> reply = resolver.answer(DNSRecord.question("www.example.com"), "192.0.2.53")
    >>> str(reply.rr[0].rdata), reply.rr[0].ttl
    ('192.0.2.1', 60)
    """

    def resolve(self, request: Any, handler: Any) -> Any:
        """Return the reply to a request; called by ``DNSServer``, from a thread per request.

        Raises
        ------
        DNSError
            For a reply that came in its place, which ``DNSServer`` then drops: two servers would answer each other for ever.
        """
        if request.header.qr:
            raise DNSError("a reply, expected a query")
        udp = handler.protocol == "udp"
        reply = self.answer(request, handler.client_address[0], wire=handler.request[0] if udp else None)
        if udp:
            sizes = [rr.edns_len for rr in request.ar if rr.rtype == QTYPE.OPT]
            limit = min(UDP_SIZE, max(MIN_UDP_SIZE, *sizes)) if sizes else MIN_UDP_SIZE
            if len(reply.pack()) > limit:
                opt = reply.ar
                reply = reply.truncate()
                reply.ar = opt  # RFC 6891, 7: it stays in an answer that is cut
        return reply

    def answer(self, request: Any, source: str, *, wire: bytes | None = None) -> Any:
        """Return the reply to a request from an address, without a limit of size.

        Parameters
        ----------
        request
            The parsed request.
        source
            The address that it came from.
        wire
            The request as it came in, if at hand: ``dnslib`` drops an option without data at the end, which is
            a malformed client subnet. It does not keep what came over TCP.
        """
        header, options = request.header, [rr for rr in request.ar if rr.rtype == QTYPE.OPT]
        reply = DNSRecord(DNSHeader(id=header.id, opcode=header.opcode, rd=header.rd, qr=1, aa=1, ra=0))
        self._answer(reply, request, options, source, wire)
        if options and not reply.ar:  # RFC 6891, 6.1.1: in every reply to a query that has one
            reply.add_ar(EDNS0(udp_len=UDP_SIZE, flags=_flags(options)))
        return reply

    def _answer(
        self, reply: Any, request: Any, options: Sequence[Any], source: str, wire: bytes | None
    ) -> None:
        """Write the reply to a request, but for an OPT record that says nothing."""
        if any(
            sum(map(len, one.qname.label)) + len(one.qname.label) >= MAX_NAME for one in request.questions
        ):
            _failed(reply, RCODE.FORMERR)
            return
        for question in request.questions:
            reply.add_question(question)
        if request.header.opcode != OPCODE.QUERY:
            _failed(reply, RCODE.NOTIMP)
            return
        if request.header.qr or len(request.questions) != 1 or len(options) > 1:
            _failed(reply, RCODE.FORMERR)
            return
        if options and options[0].edns_ver > 0:
            reply.header.aa = 0
            reply.add_ar(EDNS0(udp_len=UDP_SIZE, ext_rcode=BADVERS_BITS, flags=_flags(options)))
            return
        if wire is not None and options and _ends_with_empty_option(request, wire):
            _failed(reply, RCODE.FORMERR)
            return
        try:
            subnets = [
                decode_subnet(bytes(one.data))
                for rr in options
                for one in rr.rdata
                if one.code == SUBNET_OPTION
            ]
        except SubnetError:
            _failed(reply, RCODE.FORMERR)
            return
        subnet = subnets[0] if subnets else None
        question = request.q
        if question.qclass not in {IN, ANY}:
            _failed(reply, RCODE.REFUSED)
            return
        client = Client(address=source, subnet=subnet)
        found = self.reply(_text(question.qname), str(QTYPE.get(question.qtype)), client)
        _fill(reply, found)
        if question.qclass == ANY:
            reply.header.aa = 0
        if subnet is not None:
            carried = [EDNSOption(SUBNET_OPTION, encode_subnet(subnet, found.scope))]
            reply.add_ar(EDNS0(udp_len=UDP_SIZE, opts=carried, flags=_flags(options)))

    def _write(self, record: ResourceRecord) -> object:
        reply = DNSRecord()
        for rr in _records(record):
            reply.add_answer(rr)
        if not reply.rr:
            raise ValueError(record.kind)
        return reply.pack()


@final
class GslbHandler(StateRepr, DNSHandler, prints=("client_address",)):
    """A handler for ``dnslib.server.DNSServer`` that answers what cannot be parsed with FORMERR, as gdnsd does.

    ``dnslib``'s own drops it, so that the client waits for its time-out and queries again.

    *Guarantee.* A reply, and what is shorter than a header, is dropped.

    *When not to use it:* with a resolver that answers by raising ``DNSError``; all else is as in ``DNSHandler``.

    Example
    -------
    >>> from dnslib.server import DNSServer
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> zone = Zone("example.com", Soa(primary="ns1.example.com", contact="admin.example.com"), {"www": AllUp(["192.0.2.1"])})
    >>> resolver = GslbResolver(zone, fixed_standings({}))
    >>> server = DNSServer(resolver, address="127.0.0.1", port=0, handler=GslbHandler)
    >>> server.server.server_close()
    """

    def get_reply(self, data: bytes) -> bytes:
        """Return the reply to a message; called by ``DNSServer``, from a thread per request.

        Raises
        ------
        DNSError
            For what gets no reply.
        """
        try:
            return bytes(super().get_reply(data))
        except Exception:
            if len(data) < HEADER_SIZE or data[2] & 0x80 or _parses(data):
                raise
        refused = DNSHeader(id=int.from_bytes(data[:2], "big"), bitmap=(data[2] & 0x79) << 8)
        refused.qr, refused.rcode = 1, RCODE.FORMERR
        return bytes(DNSRecord(refused).pack())


def _parses(data: bytes) -> bool:
    try:
        DNSRecord.parse(data)
    except Exception:
        raise_interrupt()
        return False
    return True


def _ends_with_empty_option(request: Any, wire: bytes) -> bool:
    """Whether the message ends with a client subnet option without data, which is not in the parsed request."""
    known = any(one.code == SUBNET_OPTION for rr in request.ar if rr.rtype == QTYPE.OPT for one in rr.rdata)
    return not known and wire.endswith(bytes((0, SUBNET_OPTION, 0, 0)))


def _text(name: Any) -> str:
    """Return a name in presentation form: dots inside labels are escaped, which ``dnslib`` does not do."""
    labels = [re.sub(rb"[.\\]", rb"\\\g<0>", label) for label in name.label]
    return b".".join([*labels, b""]).decode("latin-1") if labels else "."


def _flags(options: Sequence[Any]) -> str:
    """Return the flags of the OPT record of a reply: DO is copied (RFC 3225, 3)."""
    return "do" if options[0].edns_do else ""


def _failed(reply: Any, rcode: int) -> None:
    reply.header.rcode = rcode
    reply.header.aa = 0


def _fill(reply: Any, found: Reply) -> None:
    reply.header.rcode = getattr(RCODE, found.rcode)
    reply.header.aa = int(found.rcode in AUTHORITATIVE)
    for record in found.records:
        for rr in _records(record):
            reply.add_answer(rr)
    for record in found.authority:
        for rr in _records(record):
            reply.add_auth(rr)


def _hinfo(text: str) -> bytes:
    """Return the data of a HINFO record, two character strings, which ``dnslib`` does not know."""
    strings = HINFO.fullmatch(text)
    if strings is None:
        raise ValueError("expected two texts, in quotes or without blanks")
    return b"".join(bytes((len(one),)) + one.encode("latin-1") for one in strings.groups() if one is not None)


def _records(record: ResourceRecord) -> list[Any]:
    if record.kind == "A":
        return [RR(record.name, QTYPE.A, rdata=A(record.data), ttl=record.ttl)]
    if record.kind == "AAAA":
        return [RR(record.name, QTYPE.AAAA, rdata=AAAA(record.data), ttl=record.ttl)]
    if record.kind == "HINFO" and not record.data.startswith(r"\#"):
        return [RR(record.name, QTYPE.HINFO, rdata=RD(_hinfo(record.data)), ttl=record.ttl)]
    found = list(RR.fromZone(f"{record.name} {record.ttl} IN {record.kind} {record.data}"))
    if any(type(rr.rdata) is RD for rr in found) and not record.data.startswith(r"\#"):
        raise ValueError(rf"dnslib does not know {record.kind}, write it as \# LENGTH DATA (RFC 3597)")
    return found
