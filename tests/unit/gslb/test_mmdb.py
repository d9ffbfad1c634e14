"""A MaxMind DB file, written here, is read into locations."""

from __future__ import annotations

from ipaddress import ip_address

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from balancekit.gslb import GeoMap, Location, read_mmdb


def written(tmp_path, rows):
    """Return the path of a database of these rows."""
    writer = MMDBWriter(6, ipv4_compatible=True)
    for network, record in rows.items():
        writer.insert_network(IPSet([network]), record)
    path = tmp_path / "test.mmdb"
    writer.to_db_file(str(path))
    return path


def test_city_records_are_read(tmp_path):
    """Codes, the English name of the city, degrees; a row without a position has none."""
    path = written(
        tmp_path,
        {
            "192.0.2.0/24": {
                "continent": {"code": "EU"},
                "country": {"iso_code": "DE"},
                "subdivisions": [{"iso_code": "HE"}],
                "city": {"names": {"en": "Frankfurt", "de": "Frankfurt am Main"}},
                "location": {"latitude": 50.11, "longitude": 8.68},
            },
            "2001:db8:1::/48": {"continent": {"code": "NA"}, "country": {"iso_code": "US"}},
        },
    )
    where = read_mmdb(path)
    assert where.at(ip_address("192.0.2.200")) == Location("EU", "DE", ("HE",), "Frankfurt", 50.11, 8.68)
    assert where.at(ip_address("2001:db8:1::9")) == Location("NA", "US")
    assert where.at(ip_address("192.0.3.1")) == Location()
    world = GeoMap.build(locations={"EU": ["eu"], "NA": ["us"]}, database=where, default=["any"])
    assert world.look_up(ip_address("192.0.2.1")) == (("eu",), 24)
    assert world.order(ip_address("2001:db8:1::1")) == ("us",)


def test_flat_country_records_take_their_continent_from_a_table(tmp_path):
    """Flat country records take their continent from a table of country codes."""
    path = written(tmp_path, {"198.51.100.0/24": {"country_code": "NL"}})
    assert read_mmdb(path, continents={"NL": "EU"}).at(ip_address("198.51.100.1")) == Location("EU", "NL")
