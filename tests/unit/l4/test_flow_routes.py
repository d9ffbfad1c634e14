"""Routes for connections: what narrows first, and that nothing goes back.

Choices recorded from Envoy are compared in ``tests/oracles``.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.compat.envoy import filter_chains
from balancekit.errors import ConfigurationError
from balancekit.l4 import FlowMatch, FlowRoutes
from balancekit.l4.client_hello import ClientHello, NotTls

SRC, DST = ("192.0.2.1", 12345), ("10.1.2.3", 443)


def hello(sni=None, *alpn):
    """Return what a client said."""
    return ClientHello(sni=sni, alpn=alpn, versions=("TLSv1.3",))


def routes(**by_pool):
    """Return routes to pools named by their keywords."""
    return FlowRoutes([(FlowMatch(**conditions), pool) for pool, conditions in by_pool.items()])


def test_a_table_without_routes_takes_nothing():
    """A table without routes takes nothing, and a route without conditions takes everything."""
    assert FlowRoutes([]).match(SRC, DST) is None
    assert routes(all={}).match(SRC, DST, hello("a")) == "all"


def test_the_longest_destination_prefix_decides_before_all_else():
    """A route that matches in every other condition loses to a longer prefix, and there is no way back."""
    table = routes(
        net={"destinations": ["10.0.0.0/8"], "server_names": ["a.test"]},
        host={"destinations": ["10.1.2.3"], "server_names": ["b.test"]},
        rest={},
    )
    assert table.match(SRC, DST, hello("b.test")) == "host"
    assert table.match(SRC, DST, hello("a.test")) is None
    assert table.match(SRC, ("10.9.9.9", 443), hello("a.test")) == "net"
    assert table.match(SRC, ("192.0.2.9", 443), hello("a.test")) == "rest"


def test_a_destination_port_decides_before_the_address():
    """A destination port decides before the address, as in Envoy."""
    table = routes(port={"destination_port": 443}, net={"destinations": ["10.1.2.3"]})
    assert table.match(SRC, DST) == "port"
    assert table.match(SRC, ("10.1.2.3", 80)) == "net"


@pytest.mark.parametrize(
    ("sni", "pool"),
    [
        ("a.example.com", "exact"),
        ("A.EXAMPLE.com", "exact"),
        ("b.example.com", "wide"),
        ("c.b.example.com", "wide"),
        ("x.sub.example.com", "narrow"),
        ("example.com", "rest"),
        ("badexample.com", "rest"),
        ("a.example.com.evil.test", "rest"),
        (".example.com", "wide"),
        (None, "rest"),
    ],
)
def test_names_match_by_label_the_most_specific_first(sni, pool):
    """The exact name, then the longest suffix; a suffix needs a label before it; case does not matter."""
    table = routes(
        exact={"server_names": ["a.Example.com"]},
        wide={"server_names": ["*.example.com"]},
        narrow={"server_names": ["*.sub.example.com"]},
        rest={},
    )
    assert table.match(SRC, DST, hello(sni)) == pool


def test_the_clients_order_of_protocols_decides():
    """The first protocol of the client's list that a route names decides, whatever the order of routes."""
    table = routes(h1={"alpn": ["http/1.1"]}, h2={"alpn": ["h2", "h2c"]}, rest={})
    assert table.match(SRC, DST, hello(None, "h2", "http/1.1")) == "h2"
    assert table.match(SRC, DST, hello(None, "http/1.1", "h2")) == "h1"
    assert table.match(SRC, DST, hello(None, "dot")) == "rest"


def test_transport_is_tls_only_if_a_hello_was_read():
    """The transport is TLS only if a hello was read. Nothing, or bytes that are no hello, are raw."""
    table = routes(tls={"transport": "tls"}, raw={"transport": "raw"})
    assert table.match(SRC, DST, hello()) == "tls"
    assert table.match(SRC, DST) == table.match(SRC, DST, NotTls(reason="ssh")) == "raw"


def test_sources_come_last():
    """Sources come last: first the longest prefix, then the port."""
    table = routes(
        net={"sources": ["192.0.2.0/24"]}, host={"sources": ["192.0.2.1"], "source_ports": [1, 2]}, rest={}
    )
    assert table.match(("192.0.2.1", 2), DST) == "host"
    assert table.match(("192.0.2.1", 3), DST) is None
    assert table.match(("192.0.2.7", 3), DST) == "net"
    assert table.match(("198.51.100.1", 3), DST) == "rest"


def test_ip_versions_are_apart_but_a_mapped_address_is_ipv4():
    """::/0 does not contain an IPv4 address, 0.0.0.0/0 contains a mapped one."""
    table = routes(six={"destinations": ["::/0"]}, four={"destinations": ["0.0.0.0/0"]})
    assert table.match(SRC, ("2001:db8::1", 1)) == "six"
    assert table.match(SRC, ("::ffff:10.0.0.1", 1)) == table.match(SRC, ("10.0.0.1", 1)) == "four"


NETS = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"])
SOME_NAMES = st.sampled_from(["a.x.test", "*.x.test", "*.test"])
MATCHES = st.builds(
    FlowMatch,
    destinations=st.lists(NETS, max_size=2, unique=True),
    server_names=st.lists(SOME_NAMES, max_size=2, unique=True),
    transport=st.sampled_from([None, "tls", "raw"]),
    alpn=st.lists(st.sampled_from(["h2", "http/1.1"]), max_size=2, unique=True),
    sources=st.lists(st.sampled_from(["192.0.2.0/24", "192.0.2.1/32"]), max_size=2, unique=True),
)


def fits(match, dst, greeting):
    """Return whether every condition of a route holds, each by itself."""
    sni = greeting.sni if greeting else None
    name = sni is not None and any(
        sni.endswith(one[1:]) and len(sni) >= len(one) if one.startswith("*") else sni == one
        for one in match.server_names
    )
    nets = {"10.1.2.3": 3, "10.1.9.9": 2, "10.9.9.9": 1}[dst[0]]
    near = [{"10.0.0.0/8": 1, "10.1.0.0/16": 2, "10.1.2.3/32": 3}[net] <= nets for net in match.destinations]
    return (
        (not match.destinations or any(near))
        and (not match.server_names or name)
        and match.transport in {None, "tls" if greeting else "raw"}
        and (not match.alpn or bool(greeting and set(match.alpn) & set(greeting.alpn)))
    )


@given(
    matches=st.lists(MATCHES, max_size=6),
    dst=st.sampled_from(["10.1.2.3", "10.1.9.9", "10.9.9.9"]),
    sni=st.sampled_from([None, "a.x.test", "b.x.test", "test"]),
    alpn=st.lists(st.sampled_from(["h2", "http/1.1"]), unique=True),
    tls=st.booleans(),
    seed=st.randoms(use_true_random=False),
)
def test_any_order_of_routes_gives_the_same_answer_and_its_conditions_hold(
    matches, dst, sni, alpn, tls, seed
):
    """In any order of routes the answer is the same and matches in every condition.

    A table that is refused is refused in any order.
    """
    pairs = [(match, number) for number, match in enumerate(matches)]
    greeting = hello(sni, *alpn) if tls else None
    answers = []
    for _ in range(3):
        try:
            answers.append(FlowRoutes(pairs).match(SRC, (dst, 443), greeting))
        except ConfigurationError:
            answers.append("refused")
        seed.shuffle(pairs)
    assert len(set(answers)) == 1
    if isinstance(answers[0], int):
        assert fits(matches[answers[0]], (dst, 443), greeting)


@pytest.mark.parametrize(
    ("parameter", "conditions"),
    [
        ("destination_port", {"destination_port": 65536}),
        ("destinations", {"destinations": ["10.0.0.0/33"]}),
        ("destinations", {"destinations": "10.0.0.0/8"}),
        ("server_names", {"server_names": ["a.*.test"]}),
        ("server_names", {"server_names": ["*"]}),
        ("server_names", {"server_names": ["*."]}),
        ("server_names", {"server_names": [""]}),
        ("server_names", {"server_names": ["bücher.test"]}),
        ("server_names", {"server_names": ["shop.test:443"]}),
        ("server_names", {"server_names": ["https://shop.test"]}),
        ("server_names", {"server_names": ["shop test"]}),
        ("transport", {"transport": "raw_buffer"}),
        ("alpn", {"alpn": [b"h2"]}),
        ("sources", {"sources": [1]}),
        ("source_ports", {"source_ports": [-1]}),
    ],
)
def test_a_wrong_condition_is_refused_by_name(parameter, conditions):
    """Each wrong value raises ConfigurationError, which names the parameter and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        FlowMatch(**conditions)
    assert caught.value.parameter == parameter


def test_two_routes_with_the_same_conditions_are_refused():
    """Two routes with the same conditions are refused. One value in common is enough."""
    with pytest.raises(ConfigurationError, match="differ in some condition"):
        routes(a={"server_names": ["a.test", "b.test"]}, b={"server_names": ["B.test"]})
    with pytest.raises(ConfigurationError, match="pairs of FlowMatch"):
        FlowRoutes([("a", "b")])


@pytest.mark.parametrize("address", ["10.0.0.1", ("10.0.0.1",), ("x", 1), ("10.0.0.1", 70000), (None, 1)])
def test_a_connection_needs_two_addresses(address):
    """A connection needs pairs of IP address and port for both ends."""
    for ends in ((address, DST), (SRC, address)):
        with pytest.raises(ConfigurationError):
            routes(all={}).match(*ends)


@pytest.mark.parametrize(
    "fields",
    [
        {"source_type": "EXTERNAL"},
        {"transport_protocol": "quic"},
        {"prefix_ranges": [{"prefix_len": 8}]},
        {"prefix_ranges": ["10.0.0.0/8"]},
        [],
    ],
)
def test_what_of_envoy_is_not_supported_is_refused(fields):
    """Parts of Envoy's match that are not supported are refused rather than ignored."""
    with pytest.raises(ConfigurationError):
        filter_chains([("pool", fields)])


def test_numbers_of_envoy_may_be_wrapped():
    """Numbers of Envoy may be wrapped, as the JSON of protocol buffers has them."""
    chains = filter_chains(
        [
            (
                "pool",
                {
                    "destination_port": {"value": 443},
                    "prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}],
                },
            )
        ]
    )
    assert chains.match(SRC, DST) == "pool"
    assert (len(chains), repr(chains)) == (1, "<FlowRoutes of 1 routes>")
