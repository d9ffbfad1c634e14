"""A class in the place of an object, which lacks its parentheses, is refused where it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from balancekit import ConfigurationError, LoadBalancer
from balancekit.adapters.routed_requests import RouteStatistics
from balancekit.compat import envoy, nginx
from balancekit.gslb import AllUp, Failover
from balancekit.hashing import BoundedPlacement, HashRing
from balancekit.inference import CacheUtilization, PrefixAffinity, Product
from balancekit.observability.prometheus import RouteCollector
from balancekit.reported import NodeAttributes
from balancekit.routing import Priority
from balancekit.selectors import BoundedLoad, RingHash
from balancekit.sharing import RedisStore, SharedEjections
from balancekit.sim import ClosedLoop, DnsSimulation, Exponential, Poisson, Server, Simulation

HOSTS = [envoy.Host(name="a", address="127.0.0.1:80")]
ENDPOINTS = ["a", "b"]
SERVERS = {"a": Server(service=Exponential(0.1))}

CASES: dict[str, tuple[str, Callable[[], Any]]] = {
    "a child of a router": ("child", lambda: Priority(lambda: RingHash)),
    "a selector with a bound": ("selector", lambda: BoundedLoad(RingHash)),
    "a structure of a placement": ("structure", lambda: BoundedPlacement(HashRing)),
    "a rule for prefixes": ("rule", lambda: PrefixAffinity(Product)),
    "a scorer": ("scorers", lambda: PrefixAffinity(scorers=[CacheUtilization])),
    "attributes of a scorer": ("attributes", lambda: CacheUtilization(attributes=NodeAttributes)),
    "arrivals": ("arrivals", lambda: Simulation(SERVERS, Poisson)),
    "service times": ("service", lambda: Server(service=Exponential)),
    "pauses": ("pause", lambda: ClosedLoop(3, pause=Exponential)),
    "a policy of a simulation": ("policy", lambda: DnsSimulation(AllUp)),
    "a child of a policy": ("children", lambda: Failover([("eu", AllUp)])),
    "a method of nginx": ("method", lambda: nginx.Upstream([nginx.Server("a")], nginx.LeastConn)),
    "a method of a selector as nginx": ("method", lambda: nginx.AsNginx(nginx.LeastConn)),
    "a policy of Envoy": ("policy", lambda: envoy.Cluster(HOSTS, lambda: envoy.RingHash)),
    "a hash policy": (
        "hash_policy",
        lambda: envoy.Cluster(HOSTS, envoy.RingHash, hash_policy=[envoy.SourceAddress]),
    ),
    "a source of statistics": ("source", lambda: RouteCollector("edge", RouteStatistics)),
    "a store": ("store", lambda: SharedEjections(LoadBalancer(ENDPOINTS), RedisStore)),
    "a client of a store": ("client", lambda: RedisStore(Redis, name="checkout")),
}


@pytest.mark.parametrize(("parameter", "make"), CASES.values(), ids=CASES)
def test_a_class_is_no_object(parameter, make):
    """What takes an object with certain methods refuses the class that has them, and names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter
