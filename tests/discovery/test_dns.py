"""DNS against a real server: records, TTLs, and the difference between no address and no answer."""

from __future__ import annotations

import socket
import subprocess
import sys

import dns.exception
import dns.resolver
import pytest
from dnslib import CNAME, NS, QTYPE, RR, SOA, TXT, A
from tests.discovery._dns_server import EMPTY, NXDOMAIN, SERVFAIL, SILENCE, dns_server

from balancekit import ConfigurationError
from balancekit.discovery import DnsResolver, InvalidTargetsError, SrvResolver, SystemResolver, source

MAX_WAIT_S = 10.0


@pytest.fixture(scope="module")
def served():
    """One server for the module."""
    with dns_server() as (zone, place):
        yield zone, place


def addresses(place, host="orders.example", **options):
    """Return a resolver that asks the server."""
    return DnsResolver(host, 8080, nameservers=[place], timeout=0.5, **options)


def ids(resolution):
    """Return the ids it names."""
    return [endpoint.id for endpoint in resolution.endpoints]


def test_every_address_is_an_endpoint(served):
    """A and AAAA records together are the endpoints, sorted, and the least TTL counts."""
    zone, place = served
    zone.a("orders.example", "10.0.0.2", "10.0.0.1", ttl=40)
    zone.aaaa("orders.example", "fd00::1", ttl=20)
    found = addresses(place).resolve()
    assert ids(found) == ["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:8080"]
    assert found.ttl == 20.0
    assert addresses(place, kinds=["A"]).resolve().ttl == 40.0


def test_a_change_of_the_ttl_is_seen_and_an_alias_counts(served):
    """The TTL of an answer is that of its shortest-lived record."""
    zone, place = served
    zone.a("real.example", "10.0.0.1", ttl=60)
    zone.says["real.example", "AAAA"] = EMPTY
    zone.alias("alias.example", "real.example", "A", ttl=9)
    zone.says["alias.example", "AAAA"] = EMPTY
    assert addresses(place, "real.example").resolve().ttl == 60.0
    assert addresses(place, "alias.example").resolve().ttl == 9.0
    zone.a("real.example", "10.0.0.1", ttl=0)
    assert addresses(place, "real.example").resolve().ttl == 0.0


@pytest.mark.parametrize("how", [NXDOMAIN, EMPTY], ids=["NXDOMAIN", "no data"])
@pytest.mark.parametrize("kind", ["addresses", "services"])
def test_no_such_name_and_no_data_mean_no_endpoint(served, how, kind):
    """NXDOMAIN and NODATA mean no endpoint, for as long as the zone's negative TTL says."""
    zone, place = served
    zone.fail(how, "gone.example")
    resolver = addresses(place, "gone.example") if kind == "addresses" else services(place, "gone.example")
    assert (resolver.resolve().endpoints, resolver.resolve().ttl) == ((), 17.0)


@pytest.mark.parametrize("before", [None, b"", b"search svc\n", b"nameserver none\n", b"# \xff\n"], ids=ascii)
@pytest.mark.parametrize("kind", ["addresses", "services"])
def test_the_system_is_asked_as_it_is_configured_then(served, monkeypatch, tmp_path, before, kind):
    """A system without a server to ask knows nothing; one that is named later, or anew, is asked from then on."""
    zone, place = served
    zone.a("later.example", "10.0.0.1")
    zone.srv("_http._tcp.later.example", (0, 1, 80, "a.example"))
    file, read = tmp_path / "resolv.conf", dns.resolver.Resolver.read_resolv_conf

    def configure(self, _):
        read(self, str(file))
        self.port = int(place.rpartition(":")[2])

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", configure)
    if before is not None:
        file.write_bytes(before)
    resolver = (
        DnsResolver("later.example", 80) if kind == "addresses" else SrvResolver("_http._tcp.later.example")
    )
    with pytest.raises(dns.exception.DNSException):
        resolver.resolve()
    file.write_text("nameserver 127.0.0.1\n")
    assert len(resolver.resolve().endpoints) == 1
    file.write_bytes(before or b"")
    with pytest.raises(dns.exception.DNSException):
        resolver.resolve()


@pytest.mark.parametrize("how", ["no such name", "no data", "an alias of no name"])
@pytest.mark.parametrize("kind", ["addresses", "services"])
def test_a_name_that_is_not_there_is_asked_for_as_usual_if_no_soa_says_when(served, how, kind):
    """Without a SOA record, an answer that there are no records says nothing of how long: there is no TTL (RFC 2308, 5)."""

    def say(reply):
        reply.header.rcode = EMPTY if how == "no data" else NXDOMAIN
        reply.header.aa = 1
        if how == "an alias of no name":
            reply.add_answer(RR("gone.example", QTYPE.CNAME, rdata=CNAME("nowhere.example"), ttl=86_400))

    zone, place = served
    zone.fail(say, "gone.example")
    resolver = addresses(place, "gone.example") if kind == "addresses" else services(place, "gone.example")
    found = resolver.resolve()
    assert (found.endpoints, found.ttl) == ((), None)


@pytest.mark.parametrize("how", [SERVFAIL, SILENCE], ids=["SERVFAIL", "no answer"])
@pytest.mark.parametrize("kind", ["addresses", "services"])
def test_a_server_that_fails_means_nothing_is_known(served, how, kind):
    """A DNS server that fails is an error, never an empty list."""
    zone, place = served
    zone.fail(how, "ill.example")
    resolver = addresses(place, "ill.example") if kind == "addresses" else services(place, "ill.example")
    with pytest.raises(dns.exception.DNSException):
        resolver.resolve()


def test_half_the_addresses_are_no_list(served):
    """If the AAAA query fails, the A records alone are no list."""
    zone, place = served
    zone.a("half.example", "10.0.0.1")
    zone.says["half.example", "AAAA"] = SERVFAIL
    with pytest.raises(dns.exception.DNSException):
        addresses(place, "half.example").resolve()
    assert len(addresses(place, "half.example", kinds=["A"]).resolve().endpoints) == 1


def services(place, name="_http._tcp.orders.example", **options):
    """Return a resolver of services that asks the server."""
    return SrvResolver(name, nameservers=[place], timeout=0.5, **options)


def test_services_have_port_priority_and_weight(served):
    """Each endpoint of a service has the port, the priority and the weight of its SRV record."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (10, 3, 81, "b.example"), (0, 7, 80, "a.example"), ttl=12)
    found = services(place).resolve()
    assert [(e.id, e.priority, e.weight) for e in found.endpoints] == [
        ("a.example:80", 0, 7.0),
        ("b.example:81", 10, 3.0),
    ]
    assert found.ttl == 12.0


def test_weights_that_are_all_zero_mean_equal_shares(served):
    """SRV weights that are all zero within a priority mean equal shares.

    Beside a positive weight, a zero is a zero.
    """
    zone, place = served
    equal = [(0, 0, 80, "a.example"), (0, 0, 80, "b.example")]
    zone.srv("_http._tcp.orders.example", *equal, (1, 0, 80, "c.example"), (1, 5, 80, "d.example"))
    weights = [endpoint.weight for endpoint in services(place).resolve().endpoints]
    assert weights == [1.0, 1.0, 0.0, 5.0]


def test_the_case_of_a_host_means_nothing(served):
    """A service whose host is written in another case is the same endpoint."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 1, 80, "A.Example"), (1, 1, 80, "a.example"))
    found = services(place).resolve()
    assert [(one.id, one.priority) for one in found.endpoints] == [("a.example:80", 0)]


def referral(reply):
    """Name the servers that would know."""
    reply.add_auth(RR("example", QTYPE.NS, rdata=NS("ns.example"), ttl=60))


def another_name(reply):
    """Answer what was not asked."""
    reply.add_answer(RR("other.example", QTYPE.A, rdata=A("10.0.0.1"), ttl=60))


def another_type(reply):
    """Answer with a record of another type."""
    reply.add_answer(RR("name.example", QTYPE.TXT, rdata=TXT("hello"), ttl=60))


def cut(reply):
    """Say that there is more, over TCP too."""
    reply.header.tc = 1


def alias(reply):
    """Say what the name stands for, and no more."""
    reply.add_answer(RR("name.example", QTYPE.CNAME, rdata=CNAME("elsewhere.example"), ttl=60))


def alias_of_a_zone(reply):
    """Say what the name stands for, and which servers know its own zone."""
    alias(reply)
    referral(reply)
    reply.header.aa = 1


@pytest.mark.parametrize("how", [referral, another_name, another_type, cut, alias, alias_of_a_zone])
@pytest.mark.parametrize("kind", [DnsResolver, SrvResolver])
def test_an_answer_that_is_none_means_nothing_is_known(how, kind):
    """A referral, a cut answer, one about something else and an alias alone do not say that there is no endpoint."""
    with dns_server(tcp=True) as (zone, place):
        for type in ("A", "AAAA", "SRV"):
            zone.says["name.example", type] = how
        resolver = (
            DnsResolver("name.example", 80, nameservers=[place], timeout=MAX_WAIT_S)
            if kind is DnsResolver
            else SrvResolver("name.example", nameservers=[place], timeout=MAX_WAIT_S)
        )
        with pytest.raises(dns.resolver.NoAnswer):
            resolver.resolve()
    assert len(zone.asked) == (2 if how is cut else 1)


def test_the_target_dot_means_no_endpoint(served):
    """The SRV target "." means no endpoint, as RFC 2782 says."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 0, 0, "."))
    assert services(place).resolve().endpoints == ()


def test_a_dot_beside_hosts_is_passed_over(served):
    """The target "." is no host, also where other records name hosts."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 5, 80, "."), (1, 0, 80, "a.example"))
    assert [(e.id, e.weight) for e in services(place).resolve().endpoints] == [("a.example:80", 1.0)]


def test_a_host_without_a_port_is_left_out(served):
    """A host with port 0 is left out, and weights are those of the others."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 9, 0, "a.example"), (0, 0, 80, "b.example"))
    assert [(e.id, e.weight) for e in services(place).resolve().endpoints] == [("b.example:80", 1.0)]


def test_hosts_without_a_port_are_no_list(served):
    """If each host has port 0, the answer is no list, so that the last good one stays."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 9, 0, "a.example"), (0, 0, 0, "."))
    with pytest.raises(InvalidTargetsError, match="have port 0"):
        services(place).resolve()


def test_an_alias_of_a_name_without_records_means_no_endpoint(served):
    """An alias with the SOA record of what it stands for says that there is no endpoint, and for how long."""
    zone, place = served

    def say(reply):
        alias(reply)
        reply.add_auth(
            RR("example", QTYPE.SOA, rdata=SOA("ns.example", "root.example", (1, 2, 3, 4, 9)), ttl=90)
        )

    zone.fail(say, "name.example")
    found = addresses(place, "name.example").resolve()
    assert (found.endpoints, found.ttl) == ((), 9.0)


@pytest.mark.parametrize("name", ["no host.example", "10.0.0.256"])
def test_a_name_that_is_no_host_name_is_left_out(served, name):
    """A name that no resolver takes is no endpoint; if each record has one, the answer is no list."""
    zone, place = served
    zone.srv("_http._tcp.orders.example", (0, 5, 80, name), (0, 0, 81, "b.example"))
    assert [(e.id, e.weight) for e in services(place).resolve().endpoints] == [("b.example:81", 1.0)]
    zone.srv("_http._tcp.orders.example", (0, 5, 80, name))
    with pytest.raises(InvalidTargetsError, match="no SRV record"):
        services(place).resolve()


@pytest.mark.parametrize(
    ("code", "empty"),
    [
        (socket.EAI_NONAME, True),
        (socket.EAI_NODATA, True),
        (socket.EAI_AGAIN, False),
        (socket.EAI_FAIL, False),
    ],
)
def test_the_systems_answers_are_told_apart_too(monkeypatch, code, empty):
    """From the system's resolver, no such name and no data mean no endpoint, and anything else is an error."""

    def refuse(*_, **__):
        raise socket.gaierror(code, "as it is")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    resolver = SystemResolver("orders.example", 80)
    if empty:
        assert resolver.resolve().endpoints == ()
    else:
        with pytest.raises(socket.gaierror):
            resolver.resolve()


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: SystemResolver("", 80), "host"),
        (lambda: SystemResolver("a", 0), "port"),
        (lambda: SystemResolver("a", True), "port"),
        (lambda: DnsResolver("a", 65536), "port"),
        (lambda: DnsResolver("a", 80, kinds=[]), "kinds"),
        (lambda: DnsResolver("a", 80, kinds="A"), "kinds"),
        (lambda: DnsResolver("a", 80, kinds=["MX"]), "kinds"),
        (lambda: DnsResolver("a", 80, timeout=0), "timeout"),
        (lambda: SrvResolver("a", nameservers="127.0.0.1"), "nameservers"),
        (lambda: SrvResolver("a", nameservers=["dns.example"]), "nameservers"),
        (lambda: SrvResolver("a", nameservers=["127.0.0.1:0"]), "nameservers"),
        (lambda: SrvResolver("a", nameservers=["127.0.0.1:65536"]), "nameservers"),
        (lambda: SrvResolver("a", nameservers=["[::1:53"]), "nameservers"),
        (lambda: DnsResolver("10.0.0.1", 80), "host"),
        (lambda: DnsResolver("::1", 80), "host"),
        (lambda: SrvResolver("10.0.0.1"), "name"),
        (lambda: SrvResolver(7), "name"),
    ],
)
def test_wrong_arguments_are_refused(make, parameter):
    """Each wrong argument is refused by the name of its parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()


@pytest.mark.parametrize(
    "name",
    ["a" * 64, "a..b", ".", "a b", "a\0b", "a\nb", "\uff48ost", "10.0.0.256", "host:80", "a/b", "u@a", "☃"],
    ids=ascii,
)
@pytest.mark.parametrize(
    "make", [lambda name: SystemResolver(name, 80), lambda name: DnsResolver(name, 80), SrvResolver]
)
def test_a_name_that_no_resolver_takes_is_refused(make, name):
    """A mistyped name is refused when it is given: asked for, it would be a name without endpoints."""
    with pytest.raises(ConfigurationError, match="expected a host name"):
        make(name)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("bücher.test", "xn--bcher-kva.test"),
        ("faß.test", "xn--fa-hia.test"),
        ("ORDERS.test.", "orders.test."),
    ],
)
def test_a_name_is_asked_for_in_its_one_spelling(name, asked, monkeypatch):
    """Each resolver asks for the A-labels of IDNA 2008; the dot of the root stays."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: [(2, 1, 6, "", (host, 80))])
    monkeypatch.setattr("balancekit.discovery._addresses.reachable", list)
    assert SystemResolver(name, 80).resolve().endpoints[0].id == f"{asked}:80"
    with dns_server() as (zone, place):
        for resolver in (DnsResolver(name, 80, nameservers=[place]), SrvResolver(name, nameservers=[place])):
            resolver.resolve()
        assert {one for one, _ in zone.asked} == {asked.rstrip(".")}


def test_without_dnspython_one_is_told_what_to_install():
    """Without dnspython, the error names the extra to install."""
    code = (
        "import sys; sys.modules['dns'] = None\n"
        "from balancekit.discovery import SrvResolver\n"
        "try: SrvResolver('a')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert "balancekit[dns]" in done.stdout


@pytest.mark.parametrize("kind", ["addresses", "services"])
def test_answers_over_tcp_are_whole(kind):
    """A server that leaves records out of answers over UDP, and does not say so, names all of them with ``tcp``."""
    with dns_server(tcp=True) as (zone, place):
        zone.most_by_udp = 3
        if kind == "addresses":
            zone.a("orders.example", *[f"10.0.0.{number}" for number in range(20)])
            text, made = f"dns_ttl:orders.example:80?nameserver={place}", addresses
        else:
            zone.srv("_http._tcp.orders.example", *[(0, 1, 80, f"s{number}.example") for number in range(20)])
            text, made = f"srv:_http._tcp.orders.example?nameserver={place}", services
        assert len(source(text).resolver.resolve().endpoints) == 3
        assert len(source(f"{text}&tcp=true").resolver.resolve().endpoints) == 20
        assert len(made(place, tcp=True).resolve().endpoints) == 20


def test_a_server_without_tcp_means_nothing_is_known(served):
    """With ``tcp``, a server that refuses connections has not answered, whatever it would say over UDP."""
    zone, place = served
    zone.a("orders.example", "10.0.0.1")
    with pytest.raises(dns.exception.DNSException):
        addresses(place, tcp=True).resolve()


@pytest.mark.parametrize("written", ["yes", "", "1", "True"])
@pytest.mark.parametrize("text", ["dns_ttl:orders.svc:80?tcp=", "srv:_http._tcp.orders?tcp="])
def test_an_option_that_is_neither_true_nor_false_is_refused(text, written):
    """The error names the option and what is allowed."""
    with pytest.raises(ConfigurationError, match=r'tcp=.*expected "true" or "false"'):
        source(text + written)
