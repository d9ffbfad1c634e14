"""DNS answers with ``dnspython``: wire in, wire out, for a server of your own. Needs the extra ``dns``.

There is no socket here. An asyncio datagram protocol, a Twisted protocol or a test passes in what it received and
sends the reply::

    def datagram_received(self, data, address):
        reply = responder.answer_wire(data, address[0])
        if reply is not None:
            self.transport.sendto(reply, address)

Cost: some 200 us a query, nearly all of it in ``dnspython``'s renderer.
"""

from __future__ import annotations

from typing import final

from balancekit._support.extras import extra

with extra("dns"):
    import dns.edns
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.rrset

from balancekit.adapters._dns_wire import WireQuery, read_query
from balancekit.adapters._gslb import (
    MAX_SIZE,
    UDP_SIZE,
    BalancerStandings,
    WireReply,
    ZoneResponder,
    max_udp_size,
)
from balancekit.gslb import ResourceRecord

__all__ = ["BalancerStandings", "DnsResponder"]


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
    >>> from balancekit.adapters.dnspython import DnsResponder
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
        query = read_query(wire)
        if query is None:
            return None
        response = _response(query, self.respond(query, source))
        return response.to_wire(max_size=MAX_SIZE if tcp else max_udp_size(query), prefer_truncation=True)

    def _write(self, record: ResourceRecord) -> object:
        response = dns.message.QueryMessage()
        response.answer = _rrsets((record,))
        return response.to_wire()


def _response(query: WireQuery, reply: WireReply) -> dns.message.QueryMessage:
    response = dns.message.QueryMessage(id=query.id)
    response.flags = dns.flags.QR | query.opcode << 11
    if query.recursion:
        response.flags |= dns.flags.RD
    if reply.authoritative:
        response.flags |= dns.flags.AA
    if query.question is not None:
        labels, kind, class_ = query.question
        name, rdclass = dns.name.Name((*labels, b"")), dns.rdataclass.RdataClass.make(class_)
        response.question = [dns.rrset.RRset(name, rdclass, dns.rdatatype.RdataType.make(kind))]
    if query.edns is not None:  # RFC 6891, 6.1.1: in every reply to a query that has one
        data = reply.subnet
        carried: list[dns.edns.Option] = []
        if data is not None:
            carried.append(dns.edns.GenericOption(dns.edns.OptionType.ECS, data))
        secured = dns.flags.DO if query.edns.secured else 0
        response.use_edns(0, ednsflags=secured, payload=UDP_SIZE, options=carried)
    response.set_rcode(dns.rcode.Rcode.make(reply.rcode))
    response.answer = _rrsets(reply.records, response.question[0].name if response.question else None)
    response.authority = _rrsets(reply.authority)
    return response


def _rrsets(records: tuple[ResourceRecord, ...], owner: dns.name.Name | None = None) -> list[dns.rrset.RRset]:
    """Return records of an owner, which is that of the first record if left out."""
    if not records:
        return []
    first = records[0]
    texts = [record.data for record in records]
    return [
        dns.rrset.from_text_list(
            owner or first.name, first.ttl, "IN", first.kind, texts, origin=dns.name.root, relativize=False
        )
    ]
