"""A real DNS server on loopback that says what a test wants, and counts what it was asked."""

from __future__ import annotations

import contextlib

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, SOA, SRV, A
from dnslib.server import DNSLogger, DNSServer

SERVFAIL = RCODE.SERVFAIL
NXDOMAIN = RCODE.NXDOMAIN
EMPTY = RCODE.NOERROR
SILENCE = "silence"


class Zone:
    """What the server knows: a list of ``(type, ttl, data)``, how it fails, or a function that makes an answer of a reply."""

    def __init__(self):
        self.says = {}
        self.asked = []
        self.most_by_udp = None
        """How many records an answer over UDP has, without saying that there are more."""
        self.negative_ttl = 17

    def a(self, name, *addresses, ttl=30):
        """Have A records."""
        self.says[name, "A"] = [RR(name, QTYPE.A, rdata=A(address), ttl=ttl) for address in addresses]
        self.says.setdefault((name, "AAAA"), EMPTY)

    def aaaa(self, name, *addresses, ttl=30):
        """Have AAAA records."""
        self.says[name, "AAAA"] = [
            RR(name, QTYPE.AAAA, rdata=AAAA(address), ttl=ttl) for address in addresses
        ]
        self.says.setdefault((name, "A"), EMPTY)

    def alias(self, name, other, kind, ttl):
        """Return with an alias and what it stands for."""
        link = RR(name, QTYPE.CNAME, rdata=CNAME(other), ttl=ttl)
        self.says[name, kind] = [link, *self.says[other, kind]]

    def srv(self, name, *services, ttl=30):
        """Have SRV records: ``(priority, weight, port, target)``."""
        self.says[name, "SRV"] = [RR(name, QTYPE.SRV, rdata=SRV(*service), ttl=ttl) for service in services]

    def fail(self, how, *names):
        """Fail for these names, whatever the type."""
        for name in names:
            for kind in ("A", "AAAA", "SRV"):
                self.says[name, kind] = how

    def resolve(self, request, handler):
        """Return one question; called by the server."""
        name, kind = str(request.q.qname).rstrip("."), QTYPE[request.q.qtype]
        self.asked.append((name, kind))
        said = self.says.get((name, kind), NXDOMAIN)
        reply = request.reply()
        if said == SILENCE:
            raise TimeoutError
        if callable(said):
            reply.header.aa = 0
            said(reply)
            return reply
        if isinstance(said, list):
            most = self.most_by_udp if handler.protocol == "udp" else None
            reply.add_answer(*said[:most])
            return reply
        reply.header.rcode = said
        if said in (NXDOMAIN, EMPTY):
            soa = SOA("ns.example", "root.example", (1, 2, 3, 4, self.negative_ttl))
            reply.add_auth(RR("example", QTYPE.SOA, rdata=soa, ttl=3600))
        return reply


class Quiet(DNSLogger):
    """Says nothing, not even about silence."""

    def __init__(self):
        super().__init__(log="-request,-reply,-truncated,-error", logf=lambda _: None)


@contextlib.contextmanager
def dns_server(*, tcp=False):
    """Run a server, over TCP too if wanted; yield its zone and its ``address:port``."""
    zone = Zone()
    servers = _servers(zone, tcp=tcp)
    for server in servers:
        server.server.handle_error = lambda *_: None
        server.start_thread()
    try:
        yield zone, f"127.0.0.1:{servers[0].server.server_address[1]}"
    finally:
        for server in servers:
            server.server.shutdown()
            server.server.server_close()
            server.thread.join()


def _servers(zone, *, tcp):
    """Return servers of one port, which another process may have taken for TCP."""
    while True:
        server = DNSServer(zone, address="127.0.0.1", port=0, logger=Quiet())
        if not tcp:
            return [server]
        try:
            port = server.server.server_address[1]
            return [server, DNSServer(zone, address="127.0.0.1", port=port, tcp=True, logger=Quiet())]
        except OSError:
            server.server.server_close()
