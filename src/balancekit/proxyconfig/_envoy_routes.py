"""Routes of an Envoy configuration: matches for the machine, and what each route does with a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final

from balancekit.compat import envoy
from balancekit.compat.envoy._routes import whole_64
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._envoy_decide import ClientAddress, Cookie, SentPath, header_name, header_of, seen
from balancekit.proxyconfig._envoy_match import needed, read_match, shown
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._envoy_redirect import Redirect, read_redirect
from balancekit.proxyconfig._envoy_words import (
    ROUTE,
    ROUTE_ACTION,
    ROUTE_ACTION_IGNORED,
    ROUTE_IGNORED,
    VIRTUAL_HOST,
    VIRTUAL_HOST_IGNORED,
)
from balancekit.proxyconfig._model import Pool, ProxyRequest, Routing

__all__ = ["MAX_ROUTES", "Routes"]

MAX_ROUTES: Final = 20_000
"""The largest number of routes of a file."""
PATH_REWRITES: Final = ("regex_rewrite", "path_rewrite_policy", "path_rewrite")
HOST_REWRITES: Final = (
    "host_rewrite_literal",
    "auto_host_rewrite",
    "host_rewrite_header",
    "host_rewrite_path_regex",
    "host_rewrite",
)
SPECIFIERS: Final = (
    "cluster",
    "cluster_header",
    "weighted_clusters",
    "cluster_specifier_plugin",
    "inline_cluster_specifier_plugin",
)
HASHED: Final = ("header", "cookie", "connection_properties", "query_parameter", "filter_state")
MAX_WEIGHT: Final = 2**32 - 1
"""The largest sum of the weights of weighted clusters."""
SLASHES: Final[Mapping[str, str]] = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT": "keep",
    "KEEP_UNCHANGED": "keep",
    "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_FORWARD": "unescape",
    "UNESCAPE_AND_REDIRECT": "unescape",
}


class Weighted(NamedTuple):
    """One of weighted clusters."""

    cluster: str
    """Empty if a header of the request names it."""
    header: str
    weight: int
    metadata: Mapping[str, Any]

    def name(self, request: ProxyRequest) -> str:
        """Return the cluster of a request."""
        return self.cluster if not self.header else header_of(request, self.header) or ""


@final
class Action:
    """What one route does."""

    def __init__(self, rule: str) -> None:
        self.rule: str = rule
        self.cluster: str | None = None
        self.cluster_header: str | None = None
        self.weighted: list[Weighted] = []
        self.by_header: str = ""
        self.by_hash: bool = False
        self.status: int | None = None
        self.redirect: Redirect | None = None
        self.metadata: Mapping[str, Any] = {}
        self.hash_policy: tuple[envoy.HashPolicy, ...] = ()

    @property
    def clusters(self) -> list[str]:
        """The clusters that it names."""
        return [
            *([self.cluster] if self.cluster is not None else []),
            *(one.cluster for one in self.weighted if not one.header),
        ]

    def routing(self, request: ProxyRequest, pools: Mapping[str, Pool]) -> Routing:
        """Return where it leads."""
        if self.redirect is not None:
            return Routing(
                None, f"{self.rule}: redirect", self.redirect.status, self.redirect.location(request)
            )
        if self.status is not None:
            return Routing(None, f"{self.rule}: direct response", self.status)
        if self.weighted:
            return self._drawn(request, pools)
        name = self.cluster
        if self.cluster_header is not None:
            name = header_of(request, self.cluster_header) or ""
        if name is None:
            return Routing(None, f"{self.rule}: its action is not modelled")
        return self._to(name, pools, self.metadata)

    def _to(self, name: str, pools: Mapping[str, Pool], metadata: Mapping[str, Any]) -> Routing:
        if name not in pools:
            return Routing(None, f"{self.rule}: there is no cluster {name!r}", 503)
        return Routing(name, f"{self.rule}: cluster {name}", metadata=metadata, hash_policy=self.hash_policy)

    def _drawn(self, request: ProxyRequest, pools: Mapping[str, Pool]) -> Routing:
        total = sum(one.weight for one in self.weighted)
        value: int | None = None
        if self.by_hash:
            value = envoy.request_hash(self.hash_policy, seen(request))
        elif self.by_header:
            text = header_of(request, self.by_header)
            value = None if text is None else whole_64(text)
        if value is None:
            shares: dict[str, float] = {}
            for one in self.weighted:
                name = one.name(request)
                shares[name] = shares.get(name, 0.0) + one.weight / total
            if len(self.weighted) > 1:
                return Routing(None, f"{self.rule}: weighted clusters", shares=shares)
            value = 0
        place = value % total
        for one in self.weighted:
            place -= one.weight
            if place < 0:
                return self._to(one.name(request), pools, {**self.metadata, **one.metadata})
        raise AssertionError(place)


@final
class Routes:
    """One route configuration.

    Parameters
    ----------
    message
        As written.
    manager
        Options of the connection manager for paths and hosts.
    forwarded
        Whether ``X-Forwarded-For`` names the client.

    Raises
    ------
    ProxyConfigError
        For anything that Envoy would refuse, as far as it is followed.
    """

    def __init__(self, message: Message, manager: Mapping[str, Any], *, forwarded: bool) -> None:
        self.actions: list[Action] = []
        self.named: list[tuple[str, int]] = []
        """Clusters that routes name, with the line."""
        self._forwarded = forwarded
        self._manager = manager
        hosts: list[dict[str, Any]] = []
        domains: set[str] = set()
        options = {"ignore_port_in_host_matching": message.flag("ignore_port_in_host_matching")}
        for host in message.messages("virtual_hosts", neutral=VIRTUAL_HOST, ignored=VIRTUAL_HOST_IGNORED):
            names = host.texts("domains")
            if not names:
                raise host.fail("domains", "at least one is expected")
            for name in map(str.lower, names):
                if name in domains:
                    raise host.fail("domains", f"{name!r} twice")
                domains.add(name)
            if host.choice("require_tls", ("NONE", "EXTERNAL_ONLY", "ALL"), "NONE") != "NONE":
                host.note("require_tls", "requests without TLS are redirected")
            hosts.append({"domains": names, "routes": self._routes(host)})
        try:
            self.machine: envoy.RouteConfig = envoy.RouteConfig(
                hosts, connection_manager=manager, options=options
            )
        except ConfigurationError as error:
            raise message.notes.error(message.line, str(error)) from None

    def _routes(self, host: Message) -> list[dict[str, Any]]:
        found = []
        for route in host.messages("routes", neutral=ROUTE, ignored=ROUTE_IGNORED):
            match = route.message("match")
            if match is None:
                raise route.notes.error(route.line, "a match is expected")
            words, known = read_match(match)
            action = self._action(route, words)
            if action.hash_policy:
                chosen = route.message("route")
                action.hash_policy = tuple([self._sent(one, words, chosen) for one in action.hash_policy])
            if len(self.actions) >= MAX_ROUTES:
                raise route.notes.error(route.line, f"more than {MAX_ROUTES} routes")
            rule = {"match": words, "action": {"pool": str(len(self.actions))}}
            self.actions.append(action)
            if known:
                try:
                    envoy.RouteConfig([{"domains": ["*"], "routes": [rule]}])
                except ConfigurationError as error:
                    raise match.notes.error(match.line, str(error)) from None
                found.append(rule)
        return found

    def _action(self, route: Message, words: Mapping[str, Any]) -> Action:
        action = Action(f"route {shown(words)} ({route.origin})")
        chosen = route.message("route", neutral=ROUTE_ACTION, ignored=ROUTE_ACTION_IGNORED)
        route.one_of("route", "redirect", "direct_response", "filter_action", "non_forwarding_action")
        redirect = route.message("redirect")
        direct = route.message("direct_response", neutral=["body", "body_format"])
        if redirect is not None:
            action.redirect = read_redirect(redirect, words)
        elif direct is not None:
            if "status" not in direct:
                raise direct.notes.error(direct.line, "status is expected")
            action.status = direct.whole("status", 0, minimum=200, maximum=599)
        elif chosen is not None:
            self._cluster(action, chosen)
        elif "non_forwarding_action" in route:
            route.note("non_forwarding_action", "")
        else:
            raise route.notes.error(route.line, "route, redirect or direct_response is expected")
        return action

    def _cluster(self, action: Action, chosen: Message) -> None:
        action.metadata = chosen.lb_metadata("metadata_match")
        action.hash_policy = self._hash_policies(chosen)
        chosen.one_of(*SPECIFIERS)
        chosen.one_of(*HOST_REWRITES)
        weighted = chosen.message(
            "weighted_clusters",
            neutral=["total_weight", "runtime_key_prefix"],
            ignored={"random_value_specifier": ""},
        )
        if weighted is not None:
            weighted.one_of("header_name", "use_hash_policy")
            action.by_header = weighted.text("header_name")
            action.by_hash = weighted.flag("use_hash_policy")
            for one in weighted.messages(
                "clusters",
                neutral=["response_headers_to_add", "response_headers_to_remove", "host_rewrite_literal"],
                ignored={
                    "request_headers_to_add": "",
                    "request_headers_to_remove": "",
                    "typed_per_filter_config": "",
                },
            ):
                name, header = one.text("name"), one.text("cluster_header")
                if bool(name) == bool(header):
                    raise one.notes.error(one.line, "one of name and cluster_header is expected")
                if name:
                    self.named.append((name, one.line_of("name")))
                action.weighted.append(
                    Weighted(name, header, one.whole("weight", 0), one.lb_metadata("metadata_match"))
                )
            if not 0 < sum(one.weight for one in action.weighted) <= MAX_WEIGHT:
                raise weighted.notes.error(
                    weighted.line, f"weights with a sum from 1 to {MAX_WEIGHT} are expected"
                )
        elif "cluster_header" in chosen:
            action.cluster_header = needed(chosen, "cluster_header")
        elif "cluster" in chosen:
            action.cluster = chosen.text("cluster")
            self.named.append((action.cluster, chosen.line_of("cluster")))
        else:
            for name in ("cluster_specifier_plugin", "inline_cluster_specifier_plugin"):
                if name in chosen:
                    chosen.note(name, "the cluster is not known")
                    return
            raise chosen.notes.error(chosen.line, "cluster, weighted_clusters or cluster_header is expected")

    def _hash_policies(self, where: Message) -> tuple[envoy.HashPolicy, ...]:
        found: list[envoy.HashPolicy] = []
        for one in where.messages("hash_policy"):
            terminal = one.flag("terminal")
            one.one_of(*HASHED)
            header, cookie, query, source = (
                one.message(name) for name in ("header", "cookie", "query_parameter", "connection_properties")
            )
            if header is not None:
                header.note("regex_rewrite", "the header is hashed as it is")
                found.append(envoy.Header(name=header_name(needed(header, "header_name")), terminal=terminal))
            elif cookie is not None:
                cookie.text("path")
                cookie.list("attributes")
                if cookie.seconds("ttl") is not None:
                    cookie.note("ttl", "clients without the cookie get one")
                found.append(Cookie(name=needed(cookie, "name"), terminal=terminal))
            elif query is not None:
                found.append(envoy.QueryParameter(name=needed(query, "name"), terminal=terminal))
            elif source is not None:
                if source.flag("source_ip"):
                    found.append(ClientAddress(forwarded=self._forwarded, terminal=terminal))
            elif "filter_state" in one:
                one.note("filter_state", "values that filters set are not hashed")
            else:
                raise one.notes.error(
                    one.line, "header, cookie, query_parameter or connection_properties is expected"
                )
        return tuple(found)

    def _sent(
        self, policy: envoy.HashPolicy, words: Mapping[str, Any], chosen: Message | None
    ) -> envoy.HashPolicy:
        """Return a policy over what the host is sent."""
        name = policy.name.lower() if isinstance(policy, envoy.Header) else ""
        if chosen is None or name not in {":path", ":authority"}:
            return policy
        rewrites = PATH_REWRITES if name == ":path" else HOST_REWRITES
        for field in rewrites:
            chosen.note(field, f"{name} is hashed without it")
        if name != ":path":
            return policy
        matched = next((words[name] for name in ("prefix", "path_separated_prefix") if name in words), None)
        return SentPath(
            normalize=bool(self._manager.get("normalize_path")),
            merge_slashes=bool(self._manager.get("merge_slashes")),
            escaped_slashes=SLASHES[self._manager.get("path_with_escaped_slashes_action", "KEEP_UNCHANGED")],
            matched=matched,
            rewrite=chosen.text("prefix_rewrite"),
            terminal=policy.terminal,
        )
