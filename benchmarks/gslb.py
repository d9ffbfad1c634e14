"""The cost of DNS decisions over a table of 494,000 networks, in empty calls, and of building the map.

    uv run python -m benchmarks.gslb            the figures
    uv run python -m benchmarks.gslb --check    fail if one is over its bound

The table is generated from a fixed seed. It has disjoint networks of /20 to /24, and 200 countries on six continents, like a
free country database. The time to build the map is measured in CPU seconds, without reading the table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from random import Random

from benchmarks._harness import Group, add_save, machine, save

from balancekit.gslb import (
    Client,
    Geo,
    GeoMap,
    Location,
    Locations,
    Query,
    WeightedOne,
    fixed_standings,
)

NETWORKS = 494_000
BOUNDS = {"order and scope": 80.0, "Geo -> WeightedOne": 250.0, "build, s": 1.0, "bytes an interval": 60.0}
CONTINENTS = ("EU", "NA", "AS", "AF", "SA", "OC")
COUNTRIES = [Location(CONTINENTS[k % 6], f"C{k}") for k in range(200)]
SITES = {
    "EU": ["eu", "us"],
    "NA": ["us", "eu"],
    "AS": ["ap", "us"],
    "AF": ["eu"],
    "SA": ["us"],
    "OC": ["ap"],
}


def rows(rng: Random) -> Iterator[tuple[IPv4Network | IPv6Network, Location]]:
    """Yield disjoint networks, in order, with their locations; one in ten is an IPv6 /32."""
    start = 1 << 24
    for k in range(NETWORKS):
        if k % 10 == 0:
            yield IPv6Network(((0x2000 << 112) + ((k // 10 + (1 << 17)) << 96), 32)), rng.choice(COUNTRIES)
            continue
        length = rng.choice((24, 24, 24, 23, 22, 20))
        size = 1 << (32 - length)
        start = (start + size - 1) // size * size
        yield IPv4Network((start, length)), rng.choice(COUNTRIES)
        start += size


def size_of(geo_map: GeoMap) -> float:
    """Return the bytes of the map's tables per interval, without the fixed lists of sites."""
    total = 0
    for table in (geo_map._map4, geo_map._map6):
        total += sys.getsizeof(table._values) + sys.getsizeof(table._starts)
        if isinstance(table._starts, list):
            total += sum(map(sys.getsizeof, table._starts))
    return total / len(geo_map)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gslb", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--rounds", type=int, default=15)
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    rng = Random(5)
    database = Locations(rows(rng))
    builds = []
    for _ in range(3):
        began = time.process_time()
        geo_map = GeoMap.build(locations=SITES, database=database, default=["us", "eu"])
        builds.append(time.process_time() - began)
    policy = Geo(
        geo_map, {site: WeightedOne({f"{site}-1": 90, f"{site}-2": 10}) for site in ("eu", "us", "ap")}
    )
    client = Client(address="192.0.2.53", subnet="66.102.0.0/24")
    query, standings = Query(name="www", client=client), fixed_standings({})
    group = Group(rounds=options.rounds, milliseconds=30.0)
    group.add("order", "f(x)", f=geo_map.order, x=IPv4Address("66.102.0.0"))
    group.add("order and scope", "f(x)", f=geo_map.look_up, x=IPv4Address("66.102.0.0"))
    group.add(
        "Geo -> WeightedOne", "f(q, s, now=0.0, rng=g)", f=policy.answer, q=query, s=standings, g=Random(1)
    )
    figures = {label: timing.ratio for label, timing in group.run().items()}
    figures |= {
        "build, s": min(builds),
        "bytes an interval": size_of(geo_map),
        "intervals": float(len(geo_map)),
    }
    for label, figure in figures.items():
        bound = f"   at most {BOUNDS[label]:g}" if label in BOUNDS else ""
        print(f"{label:20}{figure:14.2f}{bound}")
    save("gslb", figures, options.save)
    over = [label for label, bound in BOUNDS.items() if figures[label] > bound]
    return 1 if options.check and over else 0


if __name__ == "__main__":
    raise SystemExit(main())
