"""Maps from addresses to sites: which source wins, nested locations, distance, embedded IPv4, plans of changes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import GeoMap, Location, Locations, nearest, read_csv

ROWS = [
    (ip_network("192.0.2.0/24"), Location("EU", "DE", ("HE",), "Frankfurt", 50.1, 8.7)),
    (ip_network("198.51.100.0/25"), Location("NA", "US", ("TX",), "Dallas", 32.8, -96.8)),
    (ip_network("198.51.100.128/25"), Location("NA", "US", ("CA",), "San Jose", 37.3, -121.9)),
    (ip_network("203.0.113.0/25"), Location("OC", "NZ", ("SI", "OTA"), "Dunedin", -45.9, 170.5)),
    (ip_network("203.0.113.128/25"), Location("AF", "ZA", (), "", None, None)),
    (ip_network("2001:db8:1::/48"), Location("EU", "DE", ("HE",), "Frankfurt", 50.1, 8.7)),
]
WORLD = Locations(ROWS)


def at(geo_map, text):
    """Return the order for an address."""
    return geo_map.order(ip_address(text))


def test_the_longest_network_wins_and_networks_win_over_the_database():
    """The longest network wins, and networks win over the database, whatever the length of the database's row."""
    geo_map = GeoMap.build(
        networks={
            "192.0.0.0/16": ["b"],
            "192.0.0.0/22": ["a"],
            "192.0.2.0/24": ["c"],
            "198.51.100.0/24": ["n"],
        },
        locations={"EU": ["eu"], "NA": ["na"]},
        database=WORLD,
        default=["d"],
    )
    assert [at(geo_map, f"192.0.{net}.1") for net in (2, 3, 4)] == [("c",), ("a",), ("b",)]
    assert at(geo_map, "198.51.100.200") == ("n",)
    assert at(geo_map, "192.1.3.1") == ("d",)
    assert at(geo_map, "2001:db8:1::1") == ("eu",)


def test_locations_are_walked_from_the_continent_down():
    """Unknown continents and countries stop the walk; below, unnamed levels are skipped; defaults are inherited."""
    geo_map = GeoMap.build(
        locations={
            "EU": {"default": ["eu"], "CH": ["ch"]},
            "NA": {"US": {"TX": ["tx"], "default": ["us"]}, "default": ["na"]},
            "OC": {"NZ": {"OTA": ["ota"]}},
            "AF": [],
        },
        database=WORLD,
        default=["any"],
    )
    found = [
        at(geo_map, text)
        for text in ("192.0.2.1", "198.51.100.1", "198.51.100.200", "203.0.113.1", "8.8.8.8")
    ]
    assert found == [("eu",), ("tx",), ("us",), ("ota",), ("any",)]
    assert at(geo_map, "203.0.113.200") == ()


def test_a_level_without_a_default_inherits_the_one_above():
    """San Jose is in a country that names Texas only: the continent's default counts, or else the map's."""
    for above, expected in (({"default": ["na"]}, ("na",)), ({}, ("top",))):
        tree = {"default": ["top"], "NA": {**above, "US": {"TX": ["tx"]}}}
        geo_map = GeoMap.build(locations=tree, database=WORLD, default=["any"])
        assert at(geo_map, "198.51.100.200") == expected
        assert at(geo_map, "198.51.100.1") == ("tx",)


def test_cities_are_below_the_subdivisions():
    """A city is named in its country, with or without the subdivision between."""
    geo_map = GeoMap.build(locations={"EU": {"DE": {"Frankfurt": ["fra"]}}}, database=WORLD, default=["any"])
    assert at(geo_map, "192.0.2.1") == ("fra",)


def test_the_nearest_sites_serve_what_has_a_position_and_no_named_location():
    """Sites are ordered by great circle, at most ``limit``, for a network with a position.

    One without gets the default, not (0, 0).
    """
    geo_map = GeoMap.build(
        locations={"OC": ["nz"]},
        coordinates={"fra": (50.1, 8.7), "dfw": (32.9, -97.0), "accra": (5.6, -0.2)},
        database=WORLD,
        default=["any"],
        limit=2,
    )
    assert at(geo_map, "192.0.2.1") == ("fra", "accra")
    assert at(geo_map, "203.0.113.1") == ("nz",)
    assert at(geo_map, "203.0.113.200") == ("any",)


def test_distances_go_the_short_way_round_and_over_the_poles():
    """Longitudes 179 and -179 are neighbours; equal distances keep the order given."""
    assert nearest(0.0, 179.0, {"west": (0.0, 100.0), "over": (0.0, -179.0)}) == ("over", "west")
    assert nearest(89.0, 0.0, {"same": (60.0, 0.0), "other": (89.0, 180.0)}) == ("other", "same")
    assert nearest(0.0, 0.0, {"b": (1.0, 0.0), "a": (-1.0, 0.0)}) == ("b", "a")


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("::ffff:198.51.100.7", 96),
        ("64:ff9b::198.51.100.7", 96),
        ("::ffff:0:198.51.100.7", 96),
        ("::198.51.100.7", 96),
        ("2001:0:1:2:3:4:39cc:9bf8", 96),
        ("2002:c633:6407::1", 16),
    ],
)
def test_an_embedded_ipv4_address_is_looked_up_as_that(text, offset):
    """An embedded IPv4 address is looked up as that: mapped, NAT64, SIIT, compatible, Teredo and 6to4.

    The scope is that of the IPv4 map, moved.
    """
    geo_map = GeoMap.build(networks={"198.51.100.0/24": ["a"], "2000::/3": ["c"]}, default=["b"])
    assert geo_map.look_up(ip_address(text)) == (("a",), offset + 24)
    assert geo_map.look_up(ip_address("2001:db8::1"))[0] == ("c",)


def test_no_scope_reaches_over_embedded_addresses_that_may_differ():
    """Outside 2002::/16 a scope never includes it, unless the whole IPv4 map has one list."""
    mixed = GeoMap.build(networks={"198.51.100.0/24": ["a"]}, default=["b"])
    assert mixed.scope(ip_address("2003::1")) == 16
    even = GeoMap.build(default=["b"])
    assert even.scope(ip_address("2003::1")) == 0
    assert even.look_up(ip_address("2002:c633:6407::1")) == (("b",), 0)


def test_a_network_inside_an_embedding_is_refused():
    """A network inside an embedding is refused, and the error says to write the IPv4 network."""
    with pytest.raises(ConfigurationError, match="IPv4"):
        GeoMap.build(networks={"2002:c000::/24": ["a"]}, default=["b"])


def test_a_network_that_resolvers_never_send_is_warned_of():
    """A network longer than /24 or /56, which resolvers never send, causes a warning."""
    with pytest.warns(UserWarning, match=r"198\.51\.100\.0/25"):
        GeoMap.build(networks={"198.51.100.0/25": ["a"], "10.0.0.0/24": ["a"]}, default=["b"])
    with pytest.warns(UserWarning, match="2001:db8::/57"):
        GeoMap.build(networks={"2001:db8::/57": ["a"]}, default=["b"])


def test_a_plan_counts_the_addresses_that_get_another_first_site():
    """Per version and move, exactly; and the share of what was asked."""
    old = GeoMap.build(networks={"10.0.0.0/8": ["a", "b"], "2001:db8::/32": ["a"]}, default=["b", "a"])
    new = GeoMap.build(
        networks={"10.0.0.0/9": ["a"], "10.128.0.0/9": [], "2001:db8::/33": ["a"]}, default=["b"]
    )
    plan = old.change(new, observed={"10.200.0.0/24": 25, "10.1.1.1": 50, "2001:db8:ffff::/56": 25})
    assert plan.moves == {(4, "a", None): 2**23, (6, "a", "b"): 2**95}
    assert plan.addresses == {4: 2**23, 6: 2**95}
    assert plan.shares[4] == 2.0**-9
    assert plan.observed_share == 0.5
    assert plan
    assert not old.change(old)
    assert old.change(old).observed_share is None


def test_a_csv_of_networks_or_ranges_is_read():
    """A header names the columns; countries may bring their continents."""
    where = read_csv(
        ["start,end,country,latitude,longitude", "192.0.2.0,192.0.2.95,DE,50.1,8.7"], continents={"DE": "EU"}
    )
    assert where.at(ip_address("192.0.2.95")) == Location("EU", "DE", (), "", 50.1, 8.7)
    assert where.at(ip_address("192.0.2.96")) == Location()
    for lines in (["place"], ["network,country", "nonsense,DE"], ["network,latitude", "192.0.2.0/24,91"]):
        with pytest.raises(ConfigurationError):
            read_csv(lines)


def test_nested_rows_of_a_database_follow_the_longest_prefix():
    """Nested rows of a database follow the longest prefix."""
    where = Locations([ROWS[1], (ip_network("198.51.100.0/24"), Location("NA", "CA"))])
    assert where.at(ip_address("198.51.100.1")).country == "US"
    assert where.at(ip_address("198.51.100.200")).country == "CA"


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"default": "ab"}, "default"),
        ({"default": ["a"], "networks": {"10.0.0.1/8": ["a"]}}, "networks"),
        ({"default": ["a"], "networks": {"10.0.0.0/8": "ab"}}, "networks"),
        ({"default": ["a"], "locations": {"EU": ["a"]}}, "database"),
        ({"default": ["a"], "coordinates": {"a": (0, 0)}}, "database"),
        ({"default": ["a"], "database": WORLD, "coordinates": {"a": (91, 0)}}, "latitude"),
        ({"default": ["a"], "database": WORLD, "coordinates": {"a": 5}}, "coordinates"),
        ({"default": ["a"], "database": WORLD, "locations": ["EU"]}, "locations"),
        ({"default": ["a"], "limit": 0}, "limit"),
    ],
)
def test_a_wrong_argument_is_named(options, parameter):
    """A wrong argument is refused when the map is built, by an error that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        GeoMap.build(**options)
    assert caught.value.parameter == parameter
