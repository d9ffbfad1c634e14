"""Policies of an Envoy cluster, by ``lb_policy`` or by ``load_balancing_policy``, and its subsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from balancekit.compat import envoy
from balancekit.errors import ConfigurationError
from balancekit.protocols import Selector
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._envoy_words import COMMON, COMMON_IGNORED

__all__ = ["TYPES", "Policy", "lb_policy_of", "read_policy", "read_subsets"]

NAMES: Final[Mapping[str, str]] = {
    "ROUND_ROBIN": "round_robin",
    "LEAST_REQUEST": "least_request",
    "RING_HASH": "ring_hash",
    "RANDOM": "random",
    "MAGLEV": "maglev",
    "CLUSTER_PROVIDED": "cluster_provided",
    "LOAD_BALANCING_POLICY_CONFIG": "load_balancing_policy",
}
NUMBERS: Final = (*tuple(NAMES)[:4], "", *tuple(NAMES)[4:])
"""The names by number. 4 was ``ORIGINAL_DST_LB``, which Envoy has no more."""
TYPED_HASHES: Final = ("DEFAULT_HASH", "XX_HASH", "MURMUR_HASH_2")
"""Hash functions by number in a typed policy. In ``ring_hash_lb_config`` of a cluster the default is not among them."""
TYPED: Final[Mapping[str, str]] = {
    "round_robin.v3.RoundRobin": "round_robin",
    "least_request.v3.LeastRequest": "least_request",
    "ring_hash.v3.RingHash": "ring_hash",
    "random.v3.Random": "random",
    "maglev.v3.Maglev": "maglev",
}
FIELDS: Final[Mapping[str, str]] = {
    "round_robin": "round_robin_lb_config",
    "least_request": "least_request_lb_config",
    "ring_hash": "ring_hash_lb_config",
    "maglev": "maglev_lb_config",
}
KEYED: Final = frozenset({"ring_hash", "maglev"})
WARM: Final = "every host is taken to have warmed up"
TYPES: Final = ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST")
MAX_RING: Final = 8_388_608
PLAIN_ONLY: Final = ("zone_aware_lb_config", "locality_weighted_lb_config", "consistent_hashing_lb_config")
"""Fields of ``common_lb_config`` that Envoy refuses beside ``load_balancing_policy``."""
Fallback: TypeAlias = Literal["NOT_DEFINED", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET", "KEYS_SUBSET"]
FALLBACKS: Final = ("NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET")
SELECTOR_FALLBACKS: Final = ("NOT_DEFINED", *FALLBACKS, "KEYS_SUBSET")


class Policy(NamedTuple):
    """How a cluster chooses among its hosts."""

    method: str
    make: Callable[[], Selector] | None
    """``None`` if it is not modelled."""
    keyed: bool
    by_locality: bool
    """Whether localities are chosen by weight."""
    panic: int
    """The threshold in percent."""
    options: Mapping[str, Any]
    """Of the policy, by Envoy's names."""


def lb_policy_of(cluster: Message) -> str:
    """Return the name of ``lb_policy`` in capitals."""
    return cluster.choice("lb_policy", NAMES, "ROUND_ROBIN", numbers=NUMBERS)


def read_policy(cluster: Message) -> Policy:
    """Return a cluster's policy.

    Raises
    ------
    ProxyConfigError
        For a value outside Envoy's bounds.
    """
    common = cluster.message("common_lb_config", neutral=COMMON, ignored=COMMON_IGNORED)
    panic, by_locality, hashing = 50, False, None
    typed = cluster.message("load_balancing_policy")
    if common is not None:
        common.one_of("locality_weighted_lb_config", "zone_aware_lb_config")
        threshold = common.message("healthy_panic_threshold")
        if threshold is not None:
            panic = int(threshold.number("value", 0, minimum=0, maximum=100))
        weighted = common.message("locality_weighted_lb_config")
        by_locality = weighted is not None
        hashing = common.message("consistent_hashing_lb_config")
        for name in PLAIN_ONLY if typed is not None else ():
            if name in common:
                raise common.fail(name, "with load_balancing_policy this is an option of its policies")
    if (
        hashing is not None
        and hashing.flag("use_hostname_for_hashing")
        and cluster.choice("type", TYPES, "STATIC") == "STATIC"
    ):
        raise hashing.fail("use_hostname_for_hashing", "this is not for STATIC hosts")
    if typed is not None:
        if "lb_subset_config" in cluster:
            raise cluster.fail("lb_subset_config", "this is not for a cluster with load_balancing_policy")
        return _typed(typed, panic)
    method = NAMES[lb_policy_of(cluster)]
    settings = None
    for name, field in FIELDS.items():
        if name == method:
            settings = cluster.message(field)
        elif field in cluster:
            cluster.note(field, f"lb_policy is {method.upper()}")
    if method not in TYPED.values():
        cluster.note("lb_policy", "this policy is not followed")
        return Policy(method, None, keyed=False, by_locality=by_locality, panic=panic, options={})
    options = _options(method, settings, hashing)
    make = _maker(method, cluster if settings is None else settings, options)
    return Policy(method, make, method in KEYED, by_locality, panic, options)


def _typed(policy: Message, panic: int) -> Policy:
    """Read the first policy of a list that is modelled. Envoy takes the first that it supports."""
    for entry in policy.messages("policies"):
        extension = entry.message("typed_extension_config", neutral=["name"])
        settings = None if extension is None else extension.message("typed_config")
        if settings is None:
            continue
        method = next((name for end, name in TYPED.items() if settings.type.endswith(end)), None)
        if method is None:
            settings.skip()
            policy.notes.note(
                settings.line, settings.type or "typed_config", "this policy is not followed", policy.owner
            )
            return Policy(settings.type, None, keyed=False, by_locality=False, panic=panic, options={})
        locality = settings.message("locality_lb_config")
        by_locality = locality is not None and locality.message("locality_weighted_lb_config") is not None
        if locality is not None:
            locality.one_of("locality_weighted_lb_config", "zone_aware_lb_config")
        if locality is not None and "zone_aware_lb_config" in locality:
            locality.note("zone_aware_lb_config", "where other proxies are is not known")
        if "locality_weighted_lb_config" in settings:
            by_locality = settings.message("locality_weighted_lb_config") is not None
        hashing = settings.message("consistent_hashing_lb_config")
        options = _options(method, settings, hashing)
        return Policy(method, _maker(method, settings, options), method in KEYED, by_locality, panic, options)
    raise policy.notes.error(policy.line, "load_balancing_policy: a policy with a typed_config is expected")


def _options(method: str, read: Message | None, hashing: Message | None) -> dict[str, Any]:
    """Return the options of a policy, by Envoy's names."""
    options: dict[str, Any] = {}
    if method in KEYED:
        for where in (read, hashing):
            if where is None:
                continue
            if "use_hostname_for_hashing" in where:
                options["use_hostname_for_hashing"] = where.flag("use_hostname_for_hashing")
            if "hash_balance_factor" in where:
                options["hash_balance_factor"] = where.whole("hash_balance_factor", 0, minimum=100)
    if read is None:
        return options
    if method == "ring_hash":
        options["minimum_ring_size"] = read.whole("minimum_ring_size", 1024, minimum=1, maximum=MAX_RING)
        options["maximum_ring_size"] = read.whole("maximum_ring_size", MAX_RING, minimum=1, maximum=MAX_RING)
        numbers = TYPED_HASHES if read.type else TYPED_HASHES[1:]
        function = read.choice("hash_function", numbers, "XX_HASH")
        options["hash_function"] = "XX_HASH" if function == "DEFAULT_HASH" else function
    elif method == "maglev":
        options["table_size"] = read.whole("table_size", 65537, minimum=2, maximum=5_000_011)
    elif method == "least_request":
        options["choice_count"] = read.whole("choice_count", 2, minimum=2)
        if read.type:  # a field of the typed policy only
            options["selection_method"] = read.choice(
                "selection_method", ("N_CHOICES", "FULL_SCAN"), "N_CHOICES"
            )
        bias = read.message("active_request_bias", neutral=["runtime_key"])
        if bias is not None:
            options["active_request_bias"] = bias.number("default_value", 1.0, minimum=0.0, maximum=1e6)
    if method in {"round_robin", "least_request"} and "slow_start_config" in read:
        read.note("slow_start_config", WARM)
    return options


def _maker(method: str, where: Message, options: Mapping[str, Any]) -> Callable[[], Selector]:
    kinds: Mapping[str, Callable[..., Selector]] = {
        "round_robin": envoy.RoundRobin,
        "least_request": envoy.LeastRequest,
        "ring_hash": envoy.RingHash,
        "random": envoy.Random,
        "maglev": envoy.Maglev,
    }
    try:
        kinds[method](**options)
    except ConfigurationError as error:
        raise where.notes.error(where.line, str(error)) from None
    return lambda: kinds[method](**options)


def read_subsets(cluster: Message) -> envoy.Subsets | None:
    """Return the subsets of a cluster, ``None`` if it has no selector.

    Raises
    ------
    ProxyConfigError
        For a value outside Envoy's bounds.
    """
    settings = cluster.message(
        "lb_subset_config",
        ignored={
            "locality_weight_aware": "localities within subsets are taken to weigh alike",
            "scale_locality_weight": "localities within subsets are taken to weigh alike",
            "metadata_fallback_policy": "",
        },
    )
    if settings is None:
        return None
    fallback = settings.choice("fallback_policy", FALLBACKS, "NO_FALLBACK")
    default = settings.struct("default_subset")
    selectors = []
    for one in settings.messages("subset_selectors"):
        try:
            selectors.append(
                envoy.SubsetSelector(
                    keys=frozenset(one.texts("keys")),
                    fallback_policy=cast(
                        "Fallback", one.choice("fallback_policy", SELECTOR_FALLBACKS, "NOT_DEFINED")
                    ),
                    fallback_keys_subset=frozenset(one.texts("fallback_keys_subset")),
                    single_host_per_subset=one.flag("single_host_per_subset"),
                )
            )
        except ConfigurationError as error:
            raise one.notes.error(one.line, str(error)) from None
    found = envoy.Subsets(
        subset_selectors=selectors,
        fallback_policy=cast("Fallback", fallback),
        default_subset=default,
        panic_mode_any=settings.flag("panic_mode_any"),
        list_as_any=settings.flag("list_as_any"),
    )
    return found if selectors else None
