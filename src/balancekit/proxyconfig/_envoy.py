"""Envoy's bootstrap: static listeners, their routes, and static clusters, in YAML or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from balancekit._support.arguments import checked_arguments
from balancekit.compat._routing import RawRequest
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._envoy_cluster import address_of, read_cluster
from balancekit.proxyconfig._envoy_decide import shown
from balancekit.proxyconfig._envoy_message import Message, Notes
from balancekit.proxyconfig._envoy_routes import Routes
from balancekit.proxyconfig._envoy_words import (
    BOOTSTRAP,
    CLUSTER,
    CLUSTER_IGNORED,
    CONNECTION,
    CONNECTION_IGNORED,
    ELSEWHERE,
    LISTENER,
    LISTENER_IGNORED,
    ROUTES,
    ROUTES_IGNORED,
    TCP_PROXY,
    TCP_PROXY_IGNORED,
)
from balancekit.proxyconfig._envoy_yaml import read_values
from balancekit.proxyconfig._facts import EnvoyFacts
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._model import Origin, Pool, ProxyRequest, Routing
from balancekit.proxyconfig._re2 import MAX_PROGRAM_KEY

__all__ = ["read_envoy"]

PATHS: Final = (
    "IMPLEMENTATION_SPECIFIC_DEFAULT",
    "KEEP_UNCHANGED",
    "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT",
    "UNESCAPE_AND_FORWARD",
)


@checked_arguments
def read_envoy(path: str) -> ProxyConfig:
    """Read a bootstrap of Envoy.

    Parameters
    ----------
    path
        A file in YAML, or in JSON if its name ends with ``.json``.

    Raises
    ------
    ProxyConfigError
        If it cannot be read, with file and line.

    Source: Envoy 1.40, ``config.bootstrap.v3.Bootstrap``.
    """
    text = Files().read(path, Origin(path, 1))
    notes = Notes(path, json=path.endswith(".json"), limited=MAX_PROGRAM_KEY not in text)
    reader = _Reader(Message(read_values(text, path), notes, neutral=BOOTSTRAP))
    return ProxyConfig(
        "envoy", path, reader.pools, reader.route, notes.listed(), notes.owners, EnvoyFacts(reader.clusters)
    )


@final
class _Listener:
    """A listener: its ports, and what it does with a request."""

    def __init__(self, name: str, ports: Sequence[int], line: int) -> None:
        self.name = name
        self.ports = ports
        self.line = line
        self.routes: Routes | None = None
        self.cluster: str | None = None
        self.strip_port = False

    def route(self, request: ProxyRequest, pools: Mapping[str, Pool]) -> Routing:
        """Return where its rules lead a request."""
        if self.cluster is not None and self.cluster not in pools:
            return Routing(None, f"listener {self.name}: there is no cluster {self.cluster!r}")
        if self.cluster is not None:
            return Routing(self.cluster, f"listener {self.name}: connections go to cluster {self.cluster}")
        if self.routes is None:
            return Routing(None, f"listener {self.name}: its filters are not modelled")
        raw = request.raw
        port = request.port or next(iter(self.ports), None)
        if self.strip_port and port is not None and raw.host is not None:
            raw = RawRequest(
                target=raw.target,
                host=raw.host.removesuffix(f":{port}"),
                method=raw.method,
                headers=raw.headers,
            )
        found = self.routes.machine.route(raw)
        if found.pool is None:
            status = found.status
            words = "no route matches" if status == 404 else "refused"
            return Routing(None, f"listener {self.name}: {words}", status, found.location)
        return self.routes.actions[int(found.pool)].routing(request, pools)


def _additional(listener: Message) -> list[Message | None]:
    return [
        one.message("address")
        for one in listener.messages("additional_addresses", neutral=["socket_options"])
    ]


@final
class _Reader:
    """The pools and listeners of a bootstrap."""

    def __init__(self, bootstrap: Message) -> None:
        self._notes = bootstrap.notes
        self.pools: dict[str, Pool] = {}
        self.clusters: dict[str, Message] = {}
        self.listeners: list[_Listener] = []
        manager = bootstrap.message(
            "cluster_manager", neutral=["outlier_detection", "upstream_bind_config", "load_stats_config"]
        )
        if manager is not None and "local_cluster_name" in manager:
            manager.note("local_cluster_name", "zones are taken to be alike")
        if "dynamic_resources" in bootstrap:
            bootstrap.note("dynamic_resources", ELSEWHERE)
        resources = bootstrap.message("static_resources", neutral=["secrets"])
        if resources is None:
            if "dynamic_resources" in bootstrap:
                return
            raise self._notes.error(bootstrap.line, "static_resources is expected")
        for cluster in resources.messages("clusters", neutral=CLUSTER, ignored=CLUSTER_IGNORED):
            name = cluster.text("name")
            if not name:
                raise self._notes.error(cluster.line, "a name is expected")
            if name in self.pools:
                raise cluster.fail("name", f"a second cluster {name!r}")
            self.clusters[name] = cluster
            self.pools[name] = read_cluster(cluster, name)
        for listener in resources.messages("listeners", neutral=LISTENER, ignored=LISTENER_IGNORED):
            self.listeners.append(self._listener(listener))
        self._name_keys()

    def _name_keys(self) -> None:
        """Name in each pool the parts of requests that its routes hash."""
        found: dict[str, set[str]] = {}
        for listener in self.listeners:
            for action in () if listener.routes is None else listener.routes.actions:
                words = " and ".join(map(shown, action.hash_policy))
                for name in action.clusters:
                    found.setdefault(name, set()).add(words)
        for name, keys in found.items():
            pool = self.pools.get(name)
            if pool is not None and pool.keyed:
                known = sorted(keys - {""})
                self.pools[name] = pool.replace(
                    key=" or ".join(known),
                    deterministic=bool(known) or len(pool.servers) == 1,
                    key_of=pool.key_of if known else None,
                )

    def route(self, request: ProxyRequest) -> Routing:
        """Return where the rules lead a request."""
        if not self.listeners:
            return Routing(None, "there is no listener")
        for listener in self.listeners:
            if request.port is None or request.port in listener.ports:
                return listener.route(request, self.pools)
        return Routing(None, f"nothing listens on port {request.port}")

    def _listener(self, listener: Message) -> _Listener:
        address = listener.message("address")
        where = [address_of(one) for one in (address, *_additional(listener)) if one is not None]
        ports = [int(one.rpartition(":")[2]) for one in where if one.rpartition(":")[2].isdecimal()]
        if any(port and port in other.ports for other in self.listeners for port in ports):
            listener.note(
                "address", "addresses are not distinguished: the first listener of its port is taken"
            )
        found = _Listener(listener.text("name") or next(iter(where), ""), ports, listener.line)
        chains = listener.messages(
            "filter_chains",
            neutral=["name", "transport_socket", "metadata", "transport_socket_connect_timeout"],
        )
        default = listener.message("default_filter_chain", neutral=["name", "transport_socket"])
        for number, chain in enumerate(chains if default is None else [*chains, default]):
            match = chain.value("filter_chain_match")
            if match is not None and len(chains) + (default is not None) > 1:
                chain.note("filter_chain_match", "the first filter chain is taken")
            for one in chain.messages("filters", neutral=["name"]):
                self._filter(found, one, first=number == 0)
            actions = () if found.routes is None else found.routes.actions
            if any(one.redirect is not None and not one.redirect.scheme for one in actions):
                chain.note("transport_socket", "the scheme of requests is taken to be http")
        return found

    def _filter(self, found: _Listener, one: Message, *, first: bool) -> None:
        typed = one.message("typed_config")
        if typed is None:
            return
        if not first:
            typed.skip()
        elif ".v2." in typed.type:
            raise one.fail(
                "typed_config", f"{typed.type}: Envoy has left version 2, write the filter of version 3"
            )
        elif typed.type.endswith("HttpConnectionManager"):
            self._manager(found, typed)
        elif typed.type.endswith("TcpProxy"):
            typed.know(TCP_PROXY, TCP_PROXY_IGNORED)
            typed.one_of("cluster", "weighted_clusters")
            found.cluster = typed.text("cluster") or None
        else:
            typed.skip()
            one.note("typed_config", "this filter is not followed")

    def _manager(self, found: _Listener, manager: Message) -> None:
        manager.know(CONNECTION, CONNECTION_IGNORED)
        options: dict[str, Any] = {
            name: manager.flag(name)
            for name in ("normalize_path", "merge_slashes", "strip_any_host_port", "strip_trailing_host_dot")
        }
        options["path_with_escaped_slashes_action"] = manager.choice(
            "path_with_escaped_slashes_action", PATHS, PATHS[0]
        )
        found.strip_port = manager.flag("strip_matching_host_port")
        if found.strip_port and options["strip_any_host_port"]:
            raise manager.fail("strip_matching_host_port", "this is not for strip_any_host_port")
        manager.one_of("rds", "route_config", "scoped_routes")
        for one in manager.messages("http_filters", neutral=["name", "is_optional"]):
            typed = one.message("typed_config")
            if typed is not None:
                typed.skip()
                if not typed.type.endswith("router.v3.Router"):
                    one.note("typed_config", "it may change or answer requests")
        forwarded = not manager.flag("use_remote_address")
        routes = manager.message("route_config", neutral=ROUTES, ignored=ROUTES_IGNORED)
        if routes is None:
            return
        found.routes = Routes(routes, options, forwarded=forwarded)
        if not routes.flag("validate_clusters", default=True):
            return
        for name, line in found.routes.named:
            self._known(name, line)

    def _known(self, name: str, line: int) -> None:
        if name not in self.pools:
            raise self._notes.error(line, f"there is no cluster {name!r}")
