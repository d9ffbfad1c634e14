"""Quirks of name servers that their recorded traces pin, stated one by one."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest

from balancekit.compat import gdnsd, knot, powerdns
from balancekit.compat.rotation import RrsetOrder, nsd_order
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, GeoMap, Location, Locations, Query, Standing, SubnetError, fixed_standings

CLIENT = Client(address="192.0.2.53")
QUERY = Query(name="www", client=CLIENT)


@pytest.mark.parametrize(
    ("threshold", "total", "needed"), [(0.55, 100, 56), (0.07, 100, 8), (0.5, 3, 2), (1.0, 4, 4)]
)
def test_gdnsd_multiplies_thresholds_in_binary(threshold, total, needed):
    """Thresholds of gdnsd are multiplied in binary: 0.55 of 100 needs 56, where a decimal threshold needs 55."""
    ids = [f"e{k}" for k in range(total)]
    policy = gdnsd.multifo(ids, up_thresh=threshold)
    for up, failed in ((needed, False), (needed - 1, True)):
        ask = fixed_standings({id: k < up for k, id in enumerate(ids)})
        assert policy.answer(QUERY, ask, now=0.0, rng=Random(1)).failed is failed


def test_gdnsd_reads_one_or_two_ttls():
    """Gdnsd reads MAX/MIN, or MAX alone with MIN half of it. Anything else is refused."""
    assert (gdnsd.ttl_limits("90").minimum, gdnsd.ttl_limits("90/7").minimum) == (45, 7)
    with pytest.raises(ConfigurationError):
        gdnsd.ttl_limits("soon")


@pytest.mark.parametrize(
    ("first", "second", "chosen", "ttl"),
    [
        ((True, 40.0), (False, 90.0), "a", 40.0), ((False, 40.0), (True, 90.0), "b", 40.0), ((False, 90.0), (True, 40.0), "b", 40.0),
        ((False, 40.0), (False, 90.0), "a", 90.0), ((False, 90.0), (False, 40.0), "a", 40.0),
    ],
)  # fmt: skip
def test_simplefo_reports_the_ttl_of_what_decides(first, second, chosen, ttl):
    """The primary's while it is up, the lesser while the secondary serves, the secondary's while both are down."""
    states = {"a": Standing(up=first[0], until=first[1]), "b": Standing(up=second[0], until=second[1])}
    answer = gdnsd.Simplefo("a", "b").answer(QUERY, fixed_standings(states), now=0.0, rng=Random(1))
    assert (answer.chosen, answer.ttl) == ((chosen,), ttl)


def test_lookup2_is_jenkins_hash():
    """lookup2 is Jenkins' hash of his own test program, against a word-by-word model."""

    def model(data, start):
        mask = 0xFFFFFFFF
        a = b = 0x9E3779B9
        c = start
        blocks, rest = divmod(len(data), 12)

        def mix(a, b, c):
            a = (a - b - c & mask) ^ c >> 13
            b = (b - c - a & mask) ^ a << 8 & mask
            c = (c - a - b & mask) ^ b >> 13
            a = (a - b - c & mask) ^ c >> 12
            b = (b - c - a & mask) ^ a << 16 & mask
            c = (c - a - b & mask) ^ b >> 5
            a = (a - b - c & mask) ^ c >> 3
            b = (b - c - a & mask) ^ a << 10 & mask
            c = (c - a - b & mask) ^ b >> 15
            return a, b, c

        for k in range(blocks):
            words = [int.from_bytes(data[12 * k + 4 * j : 12 * k + 4 * j + 4], "little") for j in range(3)]
            a, b, c = mix(a + words[0] & mask, b + words[1] & mask, c + words[2] & mask)
        tail = data[12 * blocks :]
        c = c + len(data) & mask
        for place, byte in enumerate(tail):
            if place < 4:
                a = a + (byte << 8 * place) & mask
            elif place < 8:
                b = b + (byte << 8 * (place - 4)) & mask
            else:
                c = c + (byte << 8 * (place - 7)) & mask
        assert rest == len(tail)
        return mix(a, b, c)[2]

    rng = Random(4)
    for length in range(40):
        data = rng.randbytes(length)
        assert powerdns.lookup2(data) == model(data, 0)


def test_powerdns_puts_what_it_cannot_find_at_zero_zero():
    """PowerDNS puts clients and candidates that it cannot find at 0, 0.

    The shorter way round the globe counts for western candidates alone.
    """
    rows = {"192.0.2.1": (0.0, 1.0), "192.0.2.2": (0.0, 179.0), "192.0.2.3": (0.0, -179.0)}

    def location_of(address):
        return (Location("", "", (), "", *rows[address]), 24) if address in rows else None

    assert powerdns.closest("192.0.2.2", ["192.0.2.1", "192.0.2.3"], location_of) == ["192.0.2.3"]
    assert powerdns.closest("192.0.2.3", ["192.0.2.1", "192.0.2.2"], location_of) == ["192.0.2.1"]
    assert powerdns.closest("203.0.113.1", ["192.0.2.1", "192.0.2.2"], location_of) == ["192.0.2.1"]
    assert powerdns.closest("203.0.113.1", ["203.0.113.9", "203.0.113.8"], location_of) == [
        "203.0.113.9",
        "203.0.113.8",
    ]


@pytest.mark.parametrize("count", [1, 2, 13, 14, 29, 30, 60])
def test_powerdns_walks_weights_in_the_order_of_its_hash_table(count):
    """New entries join in front, and the table is turned round when it grows beyond 13, 29 and 59 entries."""
    order = []
    for number in range(1, count + 1):
        order = [number, *(reversed(order) if number in {14, 30, 60} else order)]
    for address in range(500):
        client = Client(address=f"10.0.{address // 250}.{address % 250}")
        picked = powerdns.pickwhashed(client, [(1, str(number)) for number in range(1, count + 1)])
        assert picked == str(order[powerdns.lookup2(client.seen().packed) % count])


@pytest.mark.parametrize(
    ("templates", "row", "reply"),
    [
        (["default.www.example"], ("EU", "DE"), ("default.www.example", 0, "NOERROR", None)),
        (["%cn.www.example"], ("EU", "DE"), ("eu.www.example", 20, "NOERROR", None)),
        (["%co.www.example", "default.www.example"], ("EU", "DE"), ("default.www.example", 20, "NOERROR", None)),
        (["%re.www.example", "%cn.www.example"], ("EU", "DE"), ("eu.www.example", 32, "NOERROR", None)),
        (["%cn.www.example", "%co.%ip.%%af.www.example"], ("AF", "ZA"),
         (None, 32, "NXDOMAIN", "za.198.51.100.0.%%af.www.example")),
        (["%ip4.%ip6.%as.%af.%cc.www.example"], ("AF", "ZA"),
         (None, 32, "NXDOMAIN", "198.51.100.0..unknown.v4.za.www.example")),
        ({"198.51.100.0/24": ["%cn.www.example"], "203.0.113.0/26": []}, ("EU", "DE"),
         ("eu.www.example", 26, "NOERROR", None)),
        ({"198.51.100.0/28": ["%cn.www.example"], "default": ["default.www.example"]}, ("EU", "DE"),
         ("default.www.example", 28, "NOERROR", None)),
        ({"203.0.113.0/24": ["%cn.www.example"]}, ("EU", "DE"), (None, 0, "NXDOMAIN", None)),
    ],
)  # fmt: skip
def test_powerdns_takes_the_longest_prefix_that_it_used_as_scope(templates, row, reply):
    """The row's for a place that was found, the whole address for another, the longest network; a CNAME if no name exists."""
    backend = powerdns.GeoIpBackend(
        ["EU.www.example", "default.www.example"],
        {"www.example": templates},
        lambda _: (Location(*row), 20),
    )
    found = backend.look_up("www.example", Client(address="192.0.2.53", subnet="198.51.100.0/27"))
    assert (found.name and found.name.lower(), *found[1:]) == reply


def test_powerdns_stops_at_an_empty_name():
    """A name with something below it is NODATA, and the later names are not tried."""
    backend = powerdns.GeoIpBackend(
        ["us.na.www.example", "default.www.example"],
        {"www.example": ["%co.%cn.www.example", "%cn.www.example", "default.www.example"]},
        lambda _: (Location("NA", "CA"), 26),
    )
    assert backend.look_up("www.example", CLIENT) == (None, 0, "NOERROR", None)


def test_powerdns_answers_over_all_groups_when_none_is_up():
    """If no group is up, PowerDNS answers over all by the backup selector.

    Otherwise it answers by the selector, from the first group that has any.
    """
    pool = powerdns.IfUp([["a", "b"], ["c"]], selector="all", backup_selector="all")
    assert set(pool.pick(CLIENT, [], Random(1))) == {"a", "b", "c"}
    assert pool.pick(CLIENT, ["c"], Random(1)) == ("c",)
    assert set(pool.pick(CLIENT, ["c", "b"], Random(1))) == {"b"}
    with pytest.raises(ConfigurationError):
        powerdns.IfUp([["a"]], selector="best")


def test_knot_returns_the_matched_prefix_even_if_a_longer_one_lies_inside():
    """Knot returns the matched prefix even if a longer one lies inside, and a scope of 0 for the default network."""
    module = knot.Subnets({"198.51.100.0/24": ["x"], "198.51.100.128/25": ["y"], "0.0.0.0/0": ["z"]})
    for subnet, expected in (
        ("198.51.100.0/24", ("x", 24)),
        ("198.51.100.128/25", ("y", 25)),
        ("203.0.113.0/24", ("z", 0)),
    ):
        reply = module.look_up(Client(address="192.0.2.53", subnet=subnet))
        assert (reply.records[0], reply.scope) == expected


def test_knot_matches_stars_at_the_end_only():
    """An entry of a country holds with and without a star; one whose first name is a star never matches."""
    row = (Location("NA", "US", (), "Dallas"), 25)
    for entries, expected in (
        ({"*;Dallas": ["x"], "US": ["y"], "*": ["z"]}, "y"),
        ({"US;": ["y"], "US;Dallas": ["x"]}, "x"),
        ({"*;Dallas": ["x"], "*;*": ["z"]}, "z"),
    ):
        assert knot.GeoDb(entries, lambda _: row).look_up(CLIENT).records == (expected,)
    assert knot.GeoDb({"*;Dallas": ["x"]}, lambda _: row).look_up(CLIENT).rcode == "NXDOMAIN"


def test_knot_refuses_a_scope_longer_than_an_address():
    """Knot refuses a scope in a query that is longer than an address, and ignores any other."""
    assert str(knot.read_subnet(bytes.fromhex("00011820c63364"))[0]) == "198.51.100.0/24"
    assert str(knot.read_subnet(bytes.fromhex("0002108020010db8")[:6])[0]) == "2001::/16"
    for data in ("00011821c63364", "000210812001"):
        with pytest.raises(SubnetError):
            knot.read_subnet(bytes.fromhex(data))


def test_bind_and_knot_keep_records_in_the_order_of_their_data():
    """Addresses by their bytes, names by their labels, whatever the zone file says, which NSD keeps."""
    records = ["192.0.2.10", "192.0.2.9", "192.0.2.100"]
    kept = ("192.0.2.9", "192.0.2.10", "192.0.2.100")
    assert RrsetOrder("none").arrange(records, Random(1)) == kept
    assert RrsetOrder("cyclic", start=1).arrange(records, Random(1)) == (*kept[1:], kept[0])
    assert knot.rotated(records, Random(3)) in {kept[place:] + kept[:place] for place in range(3)}
    assert RrsetOrder("none").arrange(["b.example.", "A.example", "aa.example"], Random(1)) == (
        "A.example", "b.example.", "aa.example"
    )  # fmt: skip
    assert nsd_order(round_robin=False).arrange(records, Random(1)) == tuple(records)
    assert nsd_order(round_robin=True, start=1).arrange(records, Random(1)) == (*records[1:], records[0])


def test_gdnsd_bounds_scopes_by_addresses_that_carry_ipv4_addresses():
    """Gdnsd bounds scopes by addresses that carry IPv4 addresses, even where all of IPv4 has one list."""
    nets = {"2001:db8::/32": ["a"]}
    address = CLIENT.replace(address="2001:db8::1").seen()
    assert gdnsd.geo_map({"datacenters": ["a"], "nets": nets}).look_up(address) == (("a",), 21)
    assert GeoMap.build(default=["a"], networks=nets).look_up(address) == (("a",), 0)


def test_bind_rotates_one_counter_over_all_names():
    """Records of two names, asked in turn, each see every second rotation."""
    order = RrsetOrder("cyclic", start=1)
    seen = [order.arrange(["a", "b", "c"], Random(1))[0] for _ in range(4)]
    assert seen == ["b", "c", "a", "b"]
    with pytest.raises(ConfigurationError):
        RrsetOrder("fixed")


ZERO = Client(address="192.0.2.53", subnet="0.0.0.0/0")
LOW, OWN = ["low"], ["own"]
BY_NETWORK = {"0.0.0.0/1": LOW, "192.0.0.0/2": OWN}


@pytest.mark.parametrize(
    ("client", "chosen", "scope"), [(ZERO, "low", 1), (CLIENT, "own", 0)], ids=["prefix 0", "no subnet"]
)
def test_knot_looks_a_subnet_of_prefix_0_up_as_the_zero_address(client, chosen, scope):
    """A subnet of prefix 0 is 0.0.0.0 in both modes and has a scope; without a subnet the resolver counts, scope 0."""
    assert knot.Subnets(BY_NETWORK).look_up(client)[1:] == ((chosen,), scope)
    rows = {"0.0.0.0": (Location("", "L"), 1), "192.0.2.53": (Location("", "O"), 2)}
    assert knot.GeoDb({"L": LOW, "O": OWN}, rows.get).look_up(client)[1:] == ((chosen,), scope)


@pytest.mark.parametrize(
    ("client", "chosen"), [(ZERO, "low"), (CLIENT, "own")], ids=["prefix 0", "no subnet"]
)
def test_powerdns_looks_a_subnet_of_prefix_0_up_as_the_zero_address(client, chosen):
    """Functions of Lua records and the database take a subnet of prefix 0 for 0.0.0.0, not for the resolver."""
    same = Client(address="0.0.0.0" if chosen == "low" else "192.0.2.53")
    entries = [f"192.0.2.{k}" for k in range(1, 200)]
    weights = [(k, entry) for k, entry in enumerate(entries)]
    assert powerdns.pickhashed(client, entries) == powerdns.pickhashed(same, entries)
    assert powerdns.pickwhashed(client, weights) == powerdns.pickwhashed(same, weights)
    assert powerdns.view(client, [(["0.0.0.0/1"], LOW), (["192.0.0.0/2"], OWN)], Random(1)) == chosen
    rows = {"0.0.0.0": (Location(city="low"), 1), "192.0.2.53": (Location(city="own"), 2)}
    backend = powerdns.GeoIpBackend(["low.x", "own.x"], {"x": ["%ci.x"]}, rows.get)
    assert backend.look_up("x", client).name == f"{chosen}.x"
    pool = powerdns.IfUp([entries], selector="hashed")
    assert pool.pick(client, entries, Random(1)) == pool.pick(same, entries, Random(1))


def test_powerdns_finds_a_subnet_of_prefix_0_in_networks_of_prefix_0_alone():
    """A network of the GeoIP backend that is longer than the subnet does not hold it, even if it holds 0.0.0.0."""
    services = {"x": {"0.0.0.0/1": "low.x", "192.0.0.0/2": "low.x", "0.0.0.0/0": "all.x"}}
    backend = powerdns.GeoIpBackend(["low.x", "all.x"], services)
    assert backend.look_up("x", ZERO)[:2] == ("all.x", 2)


CITIES = Locations(
    [
        (ip_network("198.18.0.0/24"), Location("EU", "DE", (), "", 50.1, 8.7)),
        (ip_network("198.18.1.0/24"), Location("EU", "FR", (), "", 48.9, 2.3)),
        (ip_network("198.18.2.0/24"), Location("NA", "US", (), "", 32.9, -97.0)),
    ]
)
COORDINATES = {"fra": [50.1, 8.7], "par": [48.9, 2.3], "dfw": [32.9, -97.0]}


@pytest.mark.parametrize(
    ("nested", "orders"),
    [
        ({"default": ["dfw", "par", "fra"], "EU": "auto"}, ["fra par dfw", "par fra dfw", "dfw par fra", "dfw par fra"]),
        ({"EU": {"default": "auto", "FR": "dfw"}, "NA": "par"}, ["fra par dfw", "dfw", "par", "par fra dfw"]),
        ({"default": "auto", "EU": {"default": ["dfw"], "FR": {"default": "auto"}}}, ["dfw", "par fra dfw", "dfw par fra", "par fra dfw"]),
        ({"default": ["dfw", "par"], "EU": {"FR": "auto", "DE": "fra"}}, ["fra", "", "dfw par", "dfw par"]),
    ],
    ids=["continent", "below-auto", "top", "left-out"],
)  # fmt: skip
def test_gdnsd_mixes_lists_and_distances_in_one_map(nested, orders):
    """At any level "auto" stands for the nearest datacenters, for none if the default leaves one out; one needs no list."""
    entry = {"datacenters": ["par", "fra", "dfw"], "auto_dc_coords": COORDINATES, "map": nested}
    geo = gdnsd.geo_map(entry, CITIES)
    places = ["198.18.0.1", "198.18.1.1", "198.18.2.1", "203.0.113.1"]
    assert [" ".join(geo.order(ip_address(place))) for place in places] == orders


@pytest.mark.parametrize("nested", [{"EU": "auto"}, {"default": "auto"}], ids=["below", "top"])
def test_a_single_datacenter_of_gdnsd_needs_no_list(nested):
    """One datacenter written as a text is a list of one, and "auto" stands for it."""
    coordinates = {"par": COORDINATES["par"]}
    entry = {"datacenters": "par", "auto_dc_coords": coordinates, "auto_dc_limit": 0, "map": nested}
    assert gdnsd.geo_map(entry, CITIES).order(ip_address("198.18.0.1")) == ("par",)


def test_gdnsd_has_no_nearest_datacenters_without_coordinates():
    """Without coordinates "auto" is a name as any other, and needs a policy."""
    geo = gdnsd.geo_map({"datacenters": ["fra"], "map": {"EU": "auto"}}, CITIES)
    with pytest.raises(ConfigurationError, match="a policy for auto"):
        gdnsd.geoip(geo, {"fra": gdnsd.multifo(["a"])})


@pytest.mark.parametrize(
    ("address", "scope"),
    [("::", 81), ("::cb00:7101", 81), ("::ffff:cb00:7101", 96), ("2002:cb00:7101::", 16)],
)
def test_gdnsd_counts_compatible_addresses_as_their_neighbours(address, scope):
    """If all of IPv4 has one list, the scope of an IPv4-compatible address goes beyond its block; that of others does not."""
    assert gdnsd.geo_map({"datacenters": ["a"]}).look_up(ip_address(address)) == (("a",), scope)


def test_gdnsd_takes_compatible_networks_as_the_ipv4_networks_that_they_carry():
    """A network of IPv4-compatible addresses is the same as the IPv4 network in it."""
    geo = gdnsd.geo_map({"datacenters": ["a", "b"], "nets": {"::c000:200/120": "b"}})
    assert geo.look_up(ip_address("192.0.2.1")) == (("b",), 24)
    assert geo.look_up(ip_address("::192.0.2.1")) == (("b",), 120)


def test_gdnsd_drops_bits_after_the_prefix_of_a_network():
    """A network with bits after its prefix is the network around them."""
    geo = gdnsd.geo_map({"datacenters": ["a", "b"], "nets": {"192.0.2.9/24": "b"}})
    assert geo.look_up(ip_address("192.0.2.200")) == (("b",), 24)


@pytest.mark.parametrize(
    ("nets", "chosen"),
    [
        ({"::/8": "b"}, "bbb"),
        ({"::/8": "b", "::/64": "c"}, "ccb"),
        ({"::/0": "b", "192.0.2.0/24": "c"}, "cbb"),
        ({"0.0.0.0/0": "c", "::/8": "b"}, "ccb"),
        ({"2000::/3": "b"}, "aaa"),
    ],
    ids=["wide", "longest", "inside", "all-of-ipv4", "elsewhere"],
)
def test_gdnsd_counts_ipv4_inside_the_networks_around_compatible_addresses(nets, chosen):
    """A network that holds all IPv4-compatible addresses holds all of IPv4, where no longer one does."""
    geo = gdnsd.geo_map({"datacenters": ["a", "b", "c"], "nets": nets})
    places = ["192.0.2.1", "203.0.113.1", "0:0:1::"]
    assert "".join(geo.order(ip_address(place))[0] for place in places) == chosen


@pytest.mark.parametrize(
    ("city", "alias"),
    [
        ("Frankfurt am Main", r"frankfurt\032am\032main.geo.example"),
        ("S\u00e3o Paulo", r"s\195\163o\032paulo.geo.example"),
        ("Q(1)", r"q\0401\041.geo.example"),
        ("L'Aquila", "l'aquila.geo.example"),
    ],
    ids=["blanks", "accent", "brackets", "plain"],
)
def test_powerdns_names_a_missing_city_in_presentation_form(city, alias):
    """The target of the CNAME for a place without a name can be written to a zone file."""
    row = (Location("EU", "DE", (), city, 0.0, 0.0), 24)
    backend = powerdns.GeoIpBackend([], {"s": ["%ci.geo.example"]}, lambda _: row)
    assert backend.look_up("s", CLIENT).alias == alias


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nts": {}}, "configuration='nts' is not allowed: expected keys of datacenters, map"),
        ({"city_no_region": True}, "configuration='city_no_region'"),
        ({"datacenters": []}, "datacenters=.* expected one or more names"),
        ({"datacenters": None}, "datacenters=None"),
        ({"nets": "networks.txt"}, "nets='networks.txt' .* a file is not opened here"),
        ({"map": "auto"}, "map='auto' .* a table"),
        ({"auto_dc_coords": [1.0, 2.0]}, "auto_dc_coords=.* a table"),
        ({"nets": {"10.0.0.0/8": "c"}}, "nets='c' .* names of datacenters: a, b"),
        ({"nets": {"10.0.0.0/8": ["a", "c"]}}, "nets='c'"),
        ({"map": {"EU": {"DE": ["c"]}}}, "map='c'"),
        ({"auto_dc_coords": {"c": [1.0, 2.0]}}, "auto_dc_coords='c'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_map_that_gdnsd_refuses_is_refused(changes, said):
    """A ``maps`` entry with which gdnsd does not start is refused; the error names the key and what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        gdnsd.geo_map({"datacenters": ["a", "b"], **changes})


def test_the_file_of_the_database_is_not_opened():
    """``geoip2_db`` may stand in an entry: the parameter ``database`` has its content."""
    found = gdnsd.geo_map({"datacenters": ["a", "b"], "geoip2_db": "GeoLite2-City.mmdb"})
    assert found.sites == frozenset({"a", "b"})
