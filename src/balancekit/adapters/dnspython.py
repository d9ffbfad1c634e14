"""DNS answers with ``dnspython``: wire in, wire out, for a server of your own. Needs the extra ``dns``.

There is no socket here. An asyncio datagram protocol, a Twisted protocol or a test passes in what it received and
sends the reply::

    def datagram_received(self, data, address):
        reply = responder.answer_wire(data, address[0])
        if reply is not None:
            self.transport.sendto(reply, address)

Cost: some 300 us a query, nearly all of it in ``dnspython``'s parser and renderer.
"""

from __future__ import annotations

from typing import Final, final

from balancekit._support.extras import extra

with extra("dns"):
    import dns.edns
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.opcode
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.rrset
    import dns.wire

from balancekit.adapters._gslb import AUTHORITATIVE, BalancerStandings, ZoneResponder
from balancekit.gslb import SUBNET_OPTION, Client, ResourceRecord, SubnetError, decode_subnet, encode_subnet
from balancekit.gslb import Reply as ZoneReply

__all__ = ["BalancerStandings", "DnsResponder"]

UDP_SIZE: Final = 1232
"""Bytes of a UDP answer that pass without fragments (DNS flag day 2020)."""
MIN_UDP_SIZE: Final = 512
"""Bytes that every client takes (RFC 1035)."""
MAX_SIZE: Final = 65535
HEADER_SIZE: Final = 12
CLASSES: Final = frozenset({dns.rdataclass.IN, dns.rdataclass.ANY})
"""Classes of queries that are answered; an answer for any class is not authoritative (RFC 1034, 6.2.2)."""


@final
class DnsResponder(ZoneResponder):
    """Answers of a zone, from wire to wire.

    Parameters
    ----------
    zone, standings, rng, clock
        As of :class:`balancekit.adapters.dnslib.GslbResolver`.

    *Guarantee.* The same answers as ``GslbResolver``. Any bytes give an answer or ``None`` (nothing to be sent), never
    an exception, unless a policy or the standings raise one.

    *When not to use it:* where ``dnslib``'s threaded server is enough.

    Example
    -------
    >>> import dns.message
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> soa = Soa(primary="ns1.example.com", contact="admin.example.com")
    >>> responder = DnsResponder(Zone("example.com", soa, {"www": AllUp(["192.0.2.1"])}), fixed_standings({}))
    >>> wire = responder.answer_wire(dns.message.make_query("www.example.com", "A").to_wire(), "192.0.2.53")
    >>> dns.message.from_wire(wire).answer[0].to_text()
    'www.example.com. 60 IN A 192.0.2.1'
    """

    def answer_wire(self, wire: bytes, source: str, *, tcp: bool = False) -> bytes | None:
        """Return the bytes to send for bytes that came in; ``None`` for what is no query at all.

        Parameters
        ----------
        wire
            One message, without the length that TCP puts before it.
        source
            The address that it came from.
        tcp
            Whether it came over TCP, where answers are not cut.
        """
        if len(wire) < HEADER_SIZE or wire[2] & 0x80:
            return None
        try:
            data = _subnet_option(wire)
            subnet = None if data is None else decode_subnet(data)
            request = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, SubnetError, ValueError):
            return _refusal(wire, dns.rcode.FORMERR)
        if request.opcode() != dns.opcode.QUERY:
            return _refusal(wire, dns.rcode.NOTIMP, request)
        if len(request.question) != 1:
            return _refusal(wire, dns.rcode.FORMERR, request)
        question = request.question[0]
        response = dns.message.make_response(request, our_payload=UDP_SIZE)
        if request.edns > 0:  # RFC 6891, 6.1.3: only the version that is known
            response.use_edns(0, ednsflags=request.ednsflags & dns.flags.DO, payload=UDP_SIZE)
            response.set_rcode(dns.rcode.BADVERS)
            return response.to_wire()
        if question.rdclass not in CLASSES:
            response.set_rcode(dns.rcode.REFUSED)
            return response.to_wire()
        client = Client(address=source, subnet=subnet)
        found = self.reply(question.name.to_text(), dns.rdatatype.to_text(question.rdtype), client)
        _fill(response, found)
        if question.rdclass == dns.rdataclass.ANY:
            response.flags &= ~dns.flags.AA
        if request.edns >= 0:
            carried: list[dns.edns.Option] = []
            if subnet is not None:
                data = encode_subnet(subnet, found.scope)
                carried.append(dns.edns.GenericOption(dns.edns.OptionType.ECS, data))
            secured = request.ednsflags & dns.flags.DO  # RFC 3225, 3: copied
            response.use_edns(0, ednsflags=secured, payload=UDP_SIZE, options=carried)
        limit = MAX_SIZE if tcp else min(UDP_SIZE, max(MIN_UDP_SIZE, request.payload))
        return response.to_wire(max_size=limit, prefer_truncation=True)

    def _write(self, record: ResourceRecord) -> object:
        return _rrsets((record,))


def _subnet_option(wire: bytes) -> bytes | None:
    """Return the data of the client subnet option as it stands in the message; ``None`` without one.

    ``dnspython`` reads the option into an object of its own and forgives what RFC 7871 calls malformed.
    """
    parser = dns.wire.Parser(wire)
    _, _, questions, *sections = parser.get_struct("!HHHHHH")
    for _ in range(questions):
        dns.name.from_wire_parser(parser)
        parser.get_struct("!HH")
    found = None
    for _ in range(sum(sections)):
        dns.name.from_wire_parser(parser)
        kind, _, _, size = parser.get_struct("!HHIH")
        with parser.restrict_to(size):
            while kind == dns.rdatatype.OPT and parser.remaining():
                code, length = parser.get_struct("!HH")
                data = parser.get_bytes(length)
                found = data if code == SUBNET_OPTION and found is None else found
            parser.get_remaining()
    return found


def _refusal(wire: bytes, rcode: dns.rcode.Rcode, request: dns.message.Message | None = None) -> bytes:
    response = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
    response.flags = dns.flags.QR | (wire[2] & 0x79) << 8
    response.set_rcode(rcode)
    if (
        request is not None and request.edns >= 0
    ):  # RFC 6891, 6.1.1: in every reply to a query that has an OPT record
        response.use_edns(0, ednsflags=request.ednsflags & dns.flags.DO, payload=UDP_SIZE)
    return response.to_wire()


def _fill(response: dns.message.Message, found: ZoneReply) -> None:
    response.set_rcode(dns.rcode.from_text(found.rcode))
    if found.rcode in AUTHORITATIVE:
        response.flags |= dns.flags.AA
    response.answer = _rrsets(found.records)
    response.authority = _rrsets(found.authority)


def _rrsets(records: tuple[ResourceRecord, ...]) -> list[dns.rrset.RRset]:
    if not records:
        return []
    first = records[0]
    return [
        dns.rrset.from_text_list(first.name, first.ttl, "IN", first.kind, [record.data for record in records])
    ]
