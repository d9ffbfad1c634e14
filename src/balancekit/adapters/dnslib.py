"""A DNS server with ``dnslib``: a resolver for its ``DNSServer``, over UDP and TCP. Needs the extra ``dnslib``.

``dnslib`` provides the server, the threads and the wire format; these classes provide the answers::

    DNSServer(resolver, port=5353, handler=GslbHandler, server=GslbUdpServer).start_thread()
    DNSServer(resolver, port=5353, handler=GslbHandler, server=GslbTcpServer, tcp=True).start_thread()

Cost: about 1 ms a query in ``dnslib``'s server, of which the policy takes some ten microseconds. For thousands of
queries a second put a caching name server in front, or answer wires with :mod:`balancekit.adapters.dnspython`.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, final

from balancekit._support.display import StateRepr
from balancekit._support.dns_kinds import kind_number
from balancekit._support.extras import extra

with extra("dnslib"):
    from dnslib import (
        AAAA,
        EDNS0,
        QTYPE,
        RD,
        RDMAP,
        RR,
        A,
        DNSError,
        DNSHeader,
        DNSLabel,
        DNSQuestion,
        DNSRecord,
        EDNSOption,
    )

    if not TYPE_CHECKING:
        from dnslib.server import DNSHandler

from balancekit._support.log import contain_error
from balancekit.adapters._dns_sockets import messages, send_datagram, send_message
from balancekit.adapters._dns_wire import SERVFAIL, Edns, Question, WireQuery, read_query
from balancekit.adapters._dnslib_servers import GslbTcpServer, GslbUdpServer
from balancekit.adapters._gslb import (
    MAX_SIZE,
    UDP_SIZE,
    BalancerStandings,
    WireReply,
    ZoneResponder,
    max_udp_size,
)
from balancekit.gslb import SUBNET_OPTION, ResourceRecord

if TYPE_CHECKING:
    from socketserver import BaseRequestHandler

    class DNSHandler(BaseRequestHandler):
        """That of ``dnslib``, which has no types."""


__all__ = ["BalancerStandings", "GslbHandler", "GslbResolver", "GslbTcpServer", "GslbUdpServer"]

HINFO: Final = re.compile(r'(?:"([^"\\]*)"|([^\s"\\]+))\s+(?:"([^"\\]*)"|([^\s"\\]+))')


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
    query with a client subnet carries its scope, one without has none. One that is too long is cut, with its question.

    *When not to use it:* on the Internet without a rate limit in front; a UDP server answers forged sources.

    Example
    -------
    >>> from balancekit.adapters.dnslib import GslbResolver
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> from dnslib import DNSRecord
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
        query = read_query(handler.request[0]) if udp else _query(request)
        if query is None:
            raise DNSError("no query")
        return self.reply(query, handler.client_address[0], udp=udp)

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
        query = None if wire is None else read_query(wire)
        query = _query(request) if query is None else query
        return _record(query, self.respond(query, source))

    def reply(self, query: WireQuery, source: str, *, udp: bool) -> Any:
        """Return the reply to a query from an address, cut to what may be sent."""
        found = self.respond(query, source)
        reply = _record(query, found)
        if len(reply.pack()) > (max_udp_size(query) if udp else MAX_SIZE):
            reply = _record(query, found._replace(records=(), authority=()))
            reply.header.tc = 1
        return reply

    def _write(self, record: ResourceRecord) -> object:
        reply = DNSRecord()
        reply.add_answer(*_records(record, record.name))
        if not reply.rr:
            raise ValueError(record.kind)
        return reply.pack()


@final
class GslbHandler(StateRepr, DNSHandler, prints=("client_address",)):
    """A handler for a ``dnslib.server.DNSServer`` whose resolver is a :class:`GslbResolver`.

    ``dnslib``'s own drops what it cannot parse, so that the client waits for its time-out and queries again, and answers one
    query a connection.

    *Guarantee.* What cannot be parsed gets FORMERR, as from gdnsd. A reply, and what is shorter than a header, is dropped. A
    connection takes any number of queries, in any pieces; it is closed when none is complete within 10 seconds (RFC 7766).
    If a policy raises, the reply is SERVFAIL, and the error is logged.

    *When not to use it:* with another resolver.

    Example
    -------
    >>> from balancekit.adapters.dnslib import GslbHandler, GslbResolver
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> from dnslib.server import DNSServer
    >>> zone = Zone("example.com", Soa(primary="ns1.example.com", contact="admin.example.com"), {"www": AllUp(["192.0.2.1"])})
    >>> resolver = GslbResolver(zone, fixed_standings({}))
    >>> server = DNSServer(resolver, address="127.0.0.1", port=0, handler=GslbHandler)
    >>> server.server.server_close()
    """

    protocol: str
    """``"udp"`` or ``"tcp"``, for the logger of ``dnslib``."""

    def handle(self) -> None:
        """Answer a datagram, or the messages of a connection; called by ``DNSServer``, from a thread per request."""
        server: Any = self.server
        with suppress(OSError):  # a client that went away, a network that cannot be reached
            if server.socket_type == socket.SOCK_STREAM:
                self.protocol = "tcp"
                for data in messages(self.request):
                    if isinstance(self.server, GslbTcpServer):
                        self.server.touch(self.request)
                    if (reply := self._answer(data)) is None:
                        break
                    send_message(self.request, reply)
            else:
                self.protocol = "udp"
                data, connection, *local = self.request
                if (reply := self._answer(data)) is not None:
                    send_datagram(connection, reply, self.client_address, local)

    def _answer(self, data: bytes) -> bytes | None:
        """Return the reply to a message, ``None`` for what gets none."""
        server: Any = self.server
        server.logger.log_recv(self, data)
        query = read_query(data)
        if query is None:
            server.logger.log_error(self, DNSError("no query"))
            return None
        if query.question is not None:
            server.logger.log_request(self, _record(query._replace(edns=None), WireReply(0), is_reply=0))
        try:
            reply = server.resolver.reply(query, self.client_address[0], udp=self.protocol == "udp")
            wire = bytes(reply.pack())
        except Exception:
            contain_error("DNS: a query for %s failed", query.question and query.question.name)
            reply = _record(query, WireReply(SERVFAIL))
            wire = bytes(reply.pack())
        server.logger.log_reply(self, reply)
        server.logger.log_send(self, wire)
        return wire


def _query(request: Any) -> WireQuery:
    """Return a request that ``dnslib`` has parsed."""
    header, options = request.header, [rr for rr in request.ar if rr.rtype == QTYPE.OPT]
    question, edns, malformed = None, None, len(request.questions) != 1 or len(options) > 1
    if request.questions:
        first = request.questions[0]
        question = Question(tuple(first.qname.label), first.qtype, first.qclass)
        if question.is_too_long:
            question, malformed = None, True
    if options:
        subnets = [bytes(one.data) for one in options[0].rdata if one.code == SUBNET_OPTION]
        opt = options[0]
        edns = Edns(opt.edns_len, opt.edns_ver, bool(opt.edns_do), subnets[0] if subnets else None)
    return WireQuery(header.id, header.opcode, bool(header.rd), question, edns, malformed)


def _record(query: WireQuery, found: WireReply, *, is_reply: int = 1) -> Any:
    """Return a reply as ``dnslib`` writes it."""
    header = DNSHeader(id=query.id, bitmap=query.opcode << 11)
    header.qr, header.rd, header.aa = is_reply, int(query.recursion), int(found.authoritative)
    header.rcode = found.rcode & 15
    reply = DNSRecord(header)
    if query.question is not None:
        labels, kind, class_ = query.question
        owner = DNSLabel(labels)
        reply.add_question(DNSQuestion(owner, kind, class_))
        for record in found.records:
            reply.add_answer(*_records(record, owner))
    for record in found.authority:
        reply.add_auth(*_records(record, record.name))
    if query.edns is not None:  # RFC 6891, 6.1.1: in every reply to a query that has one
        options = [] if found.subnet is None else [EDNSOption(SUBNET_OPTION, found.subnet)]
        flags = "do" if query.edns.secured else ""
        reply.add_ar(EDNS0(udp_len=UDP_SIZE, ext_rcode=found.rcode >> 4, opts=options, flags=flags))
    return reply


def _hinfo(text: str) -> bytes:
    """Return the data of a HINFO record, two character strings, which ``dnslib`` does not know."""
    strings = HINFO.fullmatch(text)
    if strings is None:
        raise ValueError("expected two texts, in quotes or without blanks")
    return b"".join(bytes((len(one),)) + one.encode("latin-1") for one in strings.groups() if one is not None)


def _generic(text: str) -> bytes:
    """Return the data of a record of any type: a length, and hexadecimal digits (RFC 3597, 5)."""
    _, length, *digits = text.split()
    data = bytes.fromhex("".join(digits))
    if len(data) != int(length):
        raise ValueError(f"{len(data)} bytes, not {length}")
    return data


def _records(record: ResourceRecord, owner: Any) -> list[Any]:
    """Return a record of an owner. That of an answer is the name of the question: ``dnslib`` reads no text of any label."""
    if record.kind == "A":
        return [RR(owner, QTYPE.A, rdata=A(record.data), ttl=record.ttl)]
    if record.kind == "AAAA":
        return [RR(owner, QTYPE.AAAA, rdata=AAAA(record.data), ttl=record.ttl)]
    number = kind_number(record.kind)
    if record.data.startswith(r"\#") and number is not None:
        return [RR(owner, number, rdata=RD(_generic(record.data)), ttl=record.ttl)]
    if record.kind == "HINFO":
        return [RR(owner, QTYPE.HINFO, rdata=RD(_hinfo(record.data)), ttl=record.ttl)]
    if record.kind not in RDMAP:
        raise ValueError(rf"dnslib does not know {record.kind}, write it as \# LENGTH DATA (RFC 3597)")
    read = RR.fromZone(f". {record.ttl} IN {record.kind} {record.data}")
    return [RR(owner, each.rtype, each.rclass, each.ttl, each.rdata) for each in read]
