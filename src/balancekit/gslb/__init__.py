"""Global server load balancing: which addresses a resolver gets, for how long, and for which clients.

=============================================  =========================================================
:class:`AllUp`, :class:`Rotation`              all endpoints that are up, shuffled or rotated
:class:`PrimaryBackup`                         the primary while it is up, else the backup
:class:`WeightedOne`, :class:`WeightedSubset`  by weight; also by group
:class:`HashedOne`                             one endpoint per client subnet
:class:`Failover`                              down a list of policies, back with a hold-down and a ramp
:class:`Geo`, :class:`GeoMap`                  by client network, location or distance
:class:`Spill`                                 by capacity, the rest to the next site
:class:`Zone`                                  names to policies, records with TTLs and scopes
:class:`ResolverCache`                         what a caching resolver makes of the answers
:class:`Topology`, :class:`Site`               anycast catchments and announcements
:class:`RegionalHealth`, :class:`Regional`     health by several observers, for the world or a region
:class:`PolicySelector`                        the same tree inside an application
=============================================  =========================================================

Every policy is pure: it is given a query, the standings of the endpoints, the time and a generator. What
answers real queries is in ``balancekit.adapters.dnslib`` and ``balancekit.adapters.dnspython``.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.gslb._anycast import Site, SiteMachine, Topology, catchments, moved
    from balancekit.gslb._change import ChangePlan
    from balancekit.gslb._fail_back import FAIL_BACK, FailBack, FailBackMachine, SiteState, SiteTrigger
    from balancekit.gslb._failover import Failover
    from balancekit.gslb._geo import Geo, Regional
    from balancekit.gslb._geo_map import GeoMap, nearest
    from balancekit.gslb._hashed import HashedOne
    from balancekit.gslb._intervals import IntervalMap
    from balancekit.gslb._locations import Location, Locations, read_csv, read_mmdb
    from balancekit.gslb._observers import Detector, RegionalHealth
    from balancekit.gslb._query import Answer, Client, Exhausted, Policy, Query, Step
    from balancekit.gslb._records import ResourceRecord, Soa, StaticRecords
    from balancekit.gslb._resolver import ResolverCache, stale_share
    from balancekit.gslb._selector import PolicySelector
    from balancekit.gslb._sets import AllUp, PrimaryBackup, Rotation
    from balancekit.gslb._spill import Spill, waterfall
    from balancekit.gslb._standing import Standing, Standings, fixed_standings, standings_of
    from balancekit.gslb._subnet import SUBNET_OPTION, SubnetError, decode_subnet, encode_subnet
    from balancekit.gslb._ttl import Ttl
    from balancekit.gslb._weighted import GroupedOne, GroupedSubset, WeightedOne, WeightedSubset
    from balancekit.gslb._zone import Reply, Zone
    from balancekit.gslb._zone_file import ZoneFile, zone_file

__all__ = [
    "FAIL_BACK",
    "SUBNET_OPTION",
    "AllUp",
    "Answer",
    "ChangePlan",
    "Client",
    "Detector",
    "Exhausted",
    "FailBack",
    "FailBackMachine",
    "Failover",
    "Geo",
    "GeoMap",
    "GroupedOne",
    "GroupedSubset",
    "HashedOne",
    "IntervalMap",
    "Location",
    "Locations",
    "Policy",
    "PolicySelector",
    "PrimaryBackup",
    "Query",
    "Regional",
    "RegionalHealth",
    "Reply",
    "ResolverCache",
    "ResourceRecord",
    "Rotation",
    "Site",
    "SiteMachine",
    "SiteState",
    "SiteTrigger",
    "Soa",
    "Spill",
    "Standing",
    "Standings",
    "StaticRecords",
    "Step",
    "SubnetError",
    "Topology",
    "Ttl",
    "WeightedOne",
    "WeightedSubset",
    "Zone",
    "ZoneFile",
    "catchments",
    "decode_subnet",
    "encode_subnet",
    "fixed_standings",
    "moved",
    "nearest",
    "read_csv",
    "read_mmdb",
    "stale_share",
    "standings_of",
    "waterfall",
    "zone_file",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_anycast": ("Site", "SiteMachine", "Topology", "catchments", "moved"),
            "_change": ("ChangePlan",),
            "_fail_back": ("FAIL_BACK", "FailBack", "FailBackMachine", "SiteState", "SiteTrigger"),
            "_failover": ("Failover",),
            "_geo": ("Geo", "Regional"),
            "_geo_map": ("GeoMap", "nearest"),
            "_hashed": ("HashedOne",),
            "_intervals": ("IntervalMap",),
            "_locations": ("Location", "Locations", "read_csv", "read_mmdb"),
            "_observers": ("Detector", "RegionalHealth"),
            "_query": ("Answer", "Client", "Exhausted", "Policy", "Query", "Step"),
            "_resolver": ("ResolverCache", "stale_share"),
            "_selector": ("PolicySelector",),
            "_sets": ("AllUp", "PrimaryBackup", "Rotation"),
            "_spill": ("Spill", "waterfall"),
            "_standing": ("Standing", "Standings", "fixed_standings", "standings_of"),
            "_subnet": ("SUBNET_OPTION", "SubnetError", "decode_subnet", "encode_subnet"),
            "_ttl": ("Ttl",),
            "_weighted": ("GroupedOne", "GroupedSubset", "WeightedOne", "WeightedSubset"),
            "_zone_file": ("ZoneFile", "zone_file"),
            "_records": ("ResourceRecord", "Soa", "StaticRecords"),
            "_zone": ("Reply", "Zone"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
