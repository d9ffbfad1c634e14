"""The rules by which Unbound keeps answers for client subnets, stated one by one."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from balancekit.compat._address_tree import AddressTree, Kept
from balancekit.compat.unbound import SubnetResolver
from balancekit.errors import ConfigurationError
from balancekit.gslb import Answer, Client, Query

OWN = "192.0.2.53"
NEVER = 10**9


def query(subnet=None, address="192.0.2.7", name="www"):
    """Return a query of a client."""
    return Query(name=name, client=Client(address=address, subnet=subnet))


def resolver(scope=20, ttl=30.0, **options):
    """Return a resolver whose authority numbers its answers."""
    count = 0

    def authority(asked):
        nonlocal count
        count += 1
        return Answer((f"answer-{count}",), ttl=ttl, scope=scope if asked.client.subnet is not None else 0)

    return SubnetResolver(authority, address=OWN, **options)


def asked(reply):
    """Return the subnets of the queries that a reply took, as texts."""
    return [str(subnet) for subnet in reply.queries]


def tree_of(*subnets, max_nodes=0):
    """Return a tree with an answer, named after its subnet, for each subnet and scope."""
    tree = AddressTree(max_depth=32, max_nodes=max_nodes)
    for subnet, scope in subnets:
        insert(tree, subnet, scope)
    return tree


def insert(tree, subnet, scope, expires=NEVER, now=0, **options):
    """Keep an answer that is named after its subnet."""
    network = ip_network(subnet)
    kept = Kept(Answer((subnet,)), expires, **options)
    tree.insert(network.network_address, network.prefixlen, scope, kept, now=now)


def find(tree, subnet, now=0):
    """Return the name of the answer and its scope, or nothing."""
    network = ip_network(subnet)
    found = tree.find(network.network_address, network.prefixlen, now=now)
    return found and (*found.chosen, found.scope)


def test_a_longer_answer_gives_its_scope_to_each_node_from_which_it_goes_on_to_another():
    """An answer for 10.0.0.0/8 with scope 8 is found by all below, until one is kept under a node under it."""
    tree = tree_of(("10.0.0.0/8", 8), ("10.2.0.0/16", 16))
    assert find(tree, "10.1.0.0/16") == ("10.0.0.0/8", 8)
    insert(tree, "10.2.3.0/24", 24)
    assert find(tree, "10.1.0.0/16") is None
    assert find(tree, "10.0.0.0/8") == ("10.0.0.0/8", 24)


@pytest.mark.parametrize(
    ("subnet", "found"),
    [
        ("10.16.0.0/12", None), ("10.0.0.0/7", None), ("10.0.0.0/8", ("10.0.0.0/8", 12)), ("10.0.0.0/12", None),
        ("172.16.1.0/24", ("172.16.0.0/16", 12)), ("172.0.0.0/11", None), ("172.16.0.0/12", ("172.16.0.0/16", 12)),
        ("172.32.0.0/12", None),
    ],
)  # fmt: skip
def test_an_answer_is_found_inside_its_scope_or_by_the_very_subnet_that_was_shorter(subnet, found):
    """Scope 12 for 10.0.0.0/8 is found by that subnet alone, scope 12 for 172.16.0.0/16 by all of 172.16.0.0/12."""
    assert find(tree_of(("10.0.0.0/8", 12), ("172.16.0.0/16", 12)), subnet) == found


def test_what_is_for_prefix_0_alone_is_found_by_no_other_subnet():
    """An answer to a client that asks for no subnet is kept at the root and for its like."""
    tree = AddressTree(max_depth=24, max_nodes=0)
    insert(tree, "0.0.0.0/0", 0, zero_only=True)
    assert (find(tree, "0.0.0.0/0"), find(tree, "10.0.0.0/8")) == (("0.0.0.0/0", 0), None)
    insert(tree, "10.0.0.0/8", 0)
    assert find(tree, "192.0.2.0/24") == ("10.0.0.0/8", 0)


def test_scopes_are_cut_to_the_depth_of_the_tree():
    """A scope of 28 in a tree of depth 24 is 24, and so is the place of the answer."""
    tree = AddressTree(max_depth=24, max_nodes=0)
    insert(tree, "10.0.0.64/26", 28)
    assert find(tree, "10.0.0.0/24") == ("10.0.0.64/26", 24)


def test_an_answer_serves_through_its_last_second():
    """An answer that expires at second 30 is found then, not at 31; a new one below drops it with its node."""
    tree = AddressTree(max_depth=32, max_nodes=0)
    insert(tree, "10.0.0.0/8", 8, expires=30)
    insert(tree, "10.1.0.0/16", 16, now=30)
    assert find(tree, "10.0.0.0/8", now=30) == ("10.0.0.0/8", 8)
    assert find(tree, "10.0.0.0/8", now=31) is None
    insert(tree, "10.2.0.0/16", 16, now=31)
    assert [find(tree, f"10.{k}.0.0/16", now=31) for k in (1, 2)] == [
        ("10.1.0.0/16", 16),
        ("10.2.0.0/16", 16),
    ]


def test_the_leaf_that_was_used_longest_ago_goes_first():
    """Of two leaves in a tree of three nodes, a third drops the one that was not looked up since."""
    tree = tree_of(("10.0.0.0/16", 16), ("10.128.0.0/16", 16), max_nodes=3)
    assert find(tree, "10.0.0.0/16")
    insert(tree, "192.0.2.0/24", 24)
    assert [bool(find(tree, text)) for text in ("10.0.0.0/16", "10.128.0.0/16", "192.0.2.0/24")] == [
        True,
        False,
        True,
    ]


def test_a_node_with_two_below_is_not_dropped():
    """The oldest node is kept while two hang on it, and its answer with it."""
    tree = tree_of(("10.0.0.0/8", 9), ("10.0.0.0/16", 16), ("10.128.0.0/16", 16), max_nodes=3)
    insert(tree, "192.0.2.0/24", 24)
    assert find(tree, "10.0.0.0/8") == ("10.0.0.0/8", 9)
    assert [bool(find(tree, text)) for text in ("10.0.0.0/16", "10.128.0.0/16", "192.0.2.0/24")] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_each_address_family_has_limits_and_a_tree_of_its_own(version):
    """Subnets are cut to the family's longest, and what is kept for one family answers none of the other."""
    texts = {4: ("10.1.2.3/32", "0.0.0.0/0"), 6: ("2001:db8:1:2::/64", "::/0")}
    unbound = resolver(scope=0, max_client_subnet_ipv4=8, max_client_subnet_ipv6=32)
    first = unbound.resolve(query(texts[version][0]), now=0.0)
    assert asked(first) == [{4: "10.0.0.0/8", 6: "2001:db8::/32"}[version]]
    other = texts[10 - version][0]
    assert len(unbound.resolve(query(other), now=0.0).queries) == 1


def test_an_answer_for_a_subnet_that_was_cut_within_a_byte_passes_for_forged():
    """The authority is asked again without a subnet, the reply has no option, and nothing is kept in the tree."""
    unbound = resolver(max_client_subnet_ipv4=20, client_subnet_always_forward=True)
    reply = unbound.resolve(query("198.51.100.7/32"), now=0.0)
    assert (asked(reply), reply.scope) == (["198.51.96.0/20", "None"], None)
    again = unbound.resolve(query("198.51.100.7/32"), now=1.0)
    assert (asked(again), again.answer.chosen) == (["198.51.96.0/20"], reply.answer.chosen)
    assert asked(unbound.resolve(query("198.51.96.7/32"), now=1.0)) == ["198.51.96.0/20"]
    assert unbound.resolve(query("198.51.100.7/32"), now=1.0).queries == ()


def test_a_client_without_a_subnet_is_answered_for_its_own_network_or_from_the_shared_cache():
    """Its network is sent, the reply has no option, and the answer serves its neighbours with a subnet."""
    unbound = resolver(scope=24)
    reply = unbound.resolve(query(address="192.0.2.7"), now=0.0)
    assert (asked(reply), reply.scope) == (["192.0.2.0/24"], None)
    assert unbound.resolve(query("192.0.2.0/25"), now=0.0)[1:] == (24, ())


def test_an_answer_for_prefix_0_is_not_shared():
    """A client that asks for no subnet is answered without one; others do not get its answer."""
    unbound = resolver()
    first = unbound.resolve(query("0.0.0.0/0"), now=0.0)
    assert (first.scope, asked(first)) == (0, ["None"])
    assert unbound.resolve(query("0.0.0.0/0"), now=0.0)[1:] == (0, ())
    assert asked(unbound.resolve(query(), now=0.0)) == ["192.0.2.0/24"]


@pytest.mark.parametrize(("always", "scope", "queries"), [(False, None, []), (True, 20, ["10.0.0.0/24"])])
def test_the_shared_cache_answers_subnets_unless_they_are_always_forwarded(always, scope, queries):
    """An authority that is not listed is asked without a subnet for clients without one; that answer serves all."""
    unbound = resolver(send_client_subnet=False, client_subnet_always_forward=always)
    assert asked(unbound.resolve(query(), now=0.0)) == ["None"]
    reply = unbound.resolve(query("10.0.0.0/24"), now=0.0)
    assert (reply.scope, asked(reply)) == (scope, queries)


def test_an_authority_that_is_not_listed_gets_no_subnet():
    """The first client with a subnet is told scope 0."""
    reply = resolver(send_client_subnet=False).resolve(query("10.0.0.0/24"), now=0.0)
    assert (reply.scope, asked(reply)) == (0, ["None"])


@pytest.mark.parametrize(
    ("subnet", "refused"),
    [("10.0.0.0/15", True), ("10.0.0.0/16", False), ("0.0.0.0/0", False), ("2001:db8::/47", True), ("2001:db8::/48", False)],
)  # fmt: skip
def test_subnets_that_are_too_short_are_refused(subnet, refused):
    """All but prefix 0, which says something else."""
    unbound = resolver(min_client_subnet_ipv4=16, min_client_subnet_ipv6=48)
    assert (unbound.resolve(query(subnet), now=0.0).answer is None) is refused


@pytest.mark.parametrize(("ttl", "kept"), [(1.0, 5.0), (7.9, 7.0), (60.0, 9.0), (float("inf"), 9.0)], ids=str)
def test_ttls_are_whole_seconds_within_the_limits(ttl, kept):
    """The first reply says how long the answer is kept, later ones what is left."""
    unbound = resolver(ttl=ttl, cache_min_ttl=5, cache_max_ttl=9)
    assert unbound.resolve(query("10.0.0.0/24"), now=0.5).answer.ttl == kept
    assert unbound.resolve(query("10.0.0.0/24"), now=2.4).answer.ttl == kept - 2.0
    assert unbound.resolve(query("10.0.0.0/24"), now=kept + 0.9).queries == ()
    assert len(unbound.resolve(query("10.0.0.0/24"), now=kept + 1.0).queries) == 1


def test_names_are_one_whatever_their_case_and_final_dot():
    """Another name and another type have caches of their own."""
    unbound = resolver()
    unbound.resolve(query("10.0.0.0/24", name="www.example"), now=0.0)
    assert unbound.resolve(query("10.0.0.0/24", name="WWW.example."), now=0.0).queries == ()
    assert unbound.resolve(query("10.0.0.0/24", name="www2.example"), now=0.0).queries


@pytest.mark.parametrize(
    "options",
    [
        {"max_client_subnet_ipv4": 33}, {"max_client_subnet_ipv6": 129}, {"min_client_subnet_ipv4": -1}, {"min_client_subnet_ipv6": 129},
        {"max_ecs_tree_size_ipv4": -1}, {"max_ecs_tree_size_ipv6": 1.5}, {"send_client_subnet": 1}, {"client_subnet_always_forward": "yes"},
        {"cache_min_ttl": 10, "cache_max_ttl": 9}, {"cache_max_ttl": -1}, {"address": "nowhere"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_named(options):
    """The error is about the parameter that was given."""
    with pytest.raises(ConfigurationError) as caught:
        SubnetResolver(lambda _: Answer(()), **{"address": OWN, **options})
    assert caught.value.parameter in options


@pytest.mark.parametrize("answer", [None, Answer((), ttl=-1.0), Answer((), scope=129)], ids=str)
def test_a_bad_answer_of_the_authority_is_named_and_not_kept(answer):
    """The next query asks again."""
    given = [answer, Answer(("us-1",), ttl=30.0)]
    unbound = SubnetResolver(lambda _: given.pop(0), address=OWN)
    with pytest.raises(ConfigurationError):
        unbound.resolve(query("10.0.0.0/24"), now=0.0)
    assert unbound.resolve(query("10.0.0.0/24"), now=0.0).answer.chosen == ("us-1",)


def test_an_authority_that_is_no_callable_is_named():
    """At construction."""
    with pytest.raises(ConfigurationError, match="authority"):
        SubnetResolver("gdnsd", address=OWN)


def test_the_tree_needs_an_address_of_its_family():
    """Addresses of both families have their own number of bits."""
    tree = AddressTree(max_depth=56, max_nodes=0)
    insert(tree, "2001:db8::/48", 48)
    assert tree.find(ip_address("2001:db8::5"), 128, now=0).chosen == ("2001:db8::/48",)


def test_a_node_without_an_answer_goes_with_the_last_but_one_below():
    """It makes room: an answer that is added then drops none of the two that are left."""
    tree = tree_of(("10.0.0.0/16", 16), ("10.128.0.0/16", 16), max_nodes=3)
    assert find(tree, "10.0.0.0/16")
    insert(tree, "192.0.2.0/24", 25)
    insert(tree, "192.0.2.0/25", 25)
    assert [bool(find(tree, text)) for text in ("10.0.0.0/16", "10.128.0.0/16", "192.0.2.0/24", "192.0.2.0/25")] == [
        True, False, True, True,
    ]  # fmt: skip


def test_a_shared_answer_serves_through_its_last_second():
    """As one in a tree does."""
    unbound = resolver(send_client_subnet=False)
    unbound.resolve(query(), now=0.0)
    assert unbound.resolve(query(), now=30.9).answer.ttl == 0.0
    assert asked(unbound.resolve(query(), now=31.0)) == ["None"]


def test_a_resolver_that_sends_no_bit_keeps_the_answer_for_its_like():
    """A client without a subnet is then one of prefix 0, and its answer serves no subnet."""
    unbound = resolver(max_client_subnet_ipv4=0)
    assert asked(unbound.resolve(query(), now=0.0)) == ["0.0.0.0/0"]
    assert unbound.resolve(query(), now=0.0).queries == ()
    assert asked(unbound.resolve(query("10.0.0.0/8"), now=0.0)) == ["0.0.0.0/0"]


def test_a_reply_names_the_scope_under_which_the_answer_is_kept():
    """Cut to what the resolver sends, in the option and in the answer."""
    reply = resolver(scope=28).resolve(query("10.0.0.0/24"), now=0.0)
    assert (reply.scope, reply.answer.scope) == (24, 24)
