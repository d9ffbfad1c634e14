"""Envoy's subsets: sets of hosts whose metadata match those of a request's route.

*Subsets.* For each selector, there is a subset for each combination of values that a host has for the selector's keys. A request uses a
subset only if its keys are exactly those of a selector. With one key more or less, its fallback is used.

*Fallback.* The fallback is that of the selector with exactly these keys, if it has one; otherwise it is the cluster's. It is no host, any
host, or the default subset; for a selector it can also be the subset of fewer keys. Envoy keeps selectors in a tree of their sorted
keys, and stores a fallback only when it adds a node. So if the keys of a selector are the first keys of an earlier selector
(``color`` after ``color, stage``), its subsets exist, but its fallback is ignored, and the cluster's is used.

*Health.* A subset whose hosts are unhealthy has no fallback. It has its own panic mode. With ``panic_mode_any``, a default subset
without hosts falls back to all hosts.

Cost: O(keys log keys) per request; O(hosts * selectors) to build.
Source: Envoy 1.40, ``SubsetLoadBalancer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal, TypeAlias, final, get_args

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.compat.envoy._host import NO_METADATA
from balancekit.errors import ConfigurationError

__all__ = ["Criteria", "SubsetIndex", "SubsetSelector", "Subsets"]

Fallback: TypeAlias = Literal["NOT_DEFINED", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET", "KEYS_SUBSET"]
Criteria: TypeAlias = frozenset[tuple[str, Any]]
"""Names and values of metadata that identify a subset. Values are in hashable form."""

ANY: Final[Criteria] = frozenset()
"""The subset of all hosts."""


class SubsetSelector(Record):
    """A set of metadata keys by which subsets are made.

    Parameters
    ----------
    keys
        Names of the keys, at least one.
    fallback_policy
        Fallback of requests with exactly these keys whose values no host has; ``"NOT_DEFINED"`` for the cluster's.
    fallback_keys_subset
        Keys that are kept with ``"KEYS_SUBSET"``, fewer than ``keys``.
    single_host_per_subset
        Whether a subset contains only the first host with its values.

    Raises
    ------
    ConfigurationError
        If ``keys`` is empty or no set of strings, ``fallback_policy`` is another word, ``fallback_keys_subset`` does not fit
        ``fallback_policy``, or ``single_host_per_subset`` is no bool.
    """

    keys: frozenset[str]
    fallback_policy: Fallback = "NOT_DEFINED"
    fallback_keys_subset: frozenset[str] = frozenset()
    single_host_per_subset: bool = False

    def _check(self) -> None:
        if (
            not isinstance(self.keys, AbstractSet)
            or not self.keys
            or not all(isinstance(key, str) for key in self.keys)
        ):
            raise ConfigurationError("keys", self.keys, "a set of at least one name")
        if self.fallback_policy not in get_args(Fallback):
            raise ConfigurationError("fallback_policy", self.fallback_policy, ", ".join(get_args(Fallback)))
        if not isinstance(self.fallback_keys_subset, AbstractSet):
            raise ConfigurationError("fallback_keys_subset", self.fallback_keys_subset, "a set of names")
        keeps = self.fallback_policy == "KEYS_SUBSET"
        if keeps != bool(self.fallback_keys_subset) or (keeps and not self.fallback_keys_subset < self.keys):
            raise ConfigurationError(
                "fallback_keys_subset",
                self.fallback_keys_subset,
                "with KEYS_SUBSET some of keys, but not all; otherwise none",
            )
        valid.flag("single_host_per_subset", self.single_host_per_subset)


class Subsets(Record):
    """Settings of the subsets of a cluster, with Envoy's names.

    Parameters
    ----------
    subset_selectors
        The selectors, in order. A selector's fallback is ignored if its sorted keys are the first keys of an earlier one.
    fallback_policy
        ``"NO_FALLBACK"``, ``"ANY_ENDPOINT"`` or ``"DEFAULT_SUBSET"``.
    default_subset
        Metadata of the hosts of the default subset.
    panic_mode_any
        Whether all hosts are used if the subset of the fallback has no host.
    list_as_any
        Whether a host with a list of values is in the subset of each of these values.

    Raises
    ------
    ConfigurationError
        If ``subset_selectors`` has an item that is no ``SubsetSelector``, ``fallback_policy`` is another word,
        ``default_subset`` is no mapping, or ``panic_mode_any`` or ``list_as_any`` is no bool.
    """

    subset_selectors: Sequence[SubsetSelector] = ()
    fallback_policy: Fallback = "NO_FALLBACK"
    default_subset: Mapping[str, Any] = NO_METADATA
    panic_mode_any: bool = False
    list_as_any: bool = False

    def _check(self) -> None:
        if not all(isinstance(one, SubsetSelector) for one in self.subset_selectors):
            raise ConfigurationError("subset_selectors", self.subset_selectors, "SubsetSelector instances")
        if self.fallback_policy not in {"NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"}:
            raise ConfigurationError(
                "fallback_policy", self.fallback_policy, "NO_FALLBACK, ANY_ENDPOINT or DEFAULT_SUBSET"
            )
        if not isinstance(self.default_subset, Mapping):
            raise ConfigurationError("default_subset", self.default_subset, "values by name")
        valid.flag("panic_mode_any", self.panic_mode_any)
        valid.flag("list_as_any", self.list_as_any)


@final
class SubsetIndex:
    """The hosts of each subset, and the subsets of a request.

    Parameters
    ----------
    settings
        Settings of the subsets.
    hosts
        Metadata by host, in the order of the configuration.

    Example
    -------
    >>> settings = Subsets(subset_selectors=[SubsetSelector(keys=frozenset({"v"}))])
    >>> index = SubsetIndex(settings, {"a": {"v": "1"}, "b": {"v": "2"}})
    >>> [index.hosts[one] for one in index.tried({"v": "2"})]
    [('b',)]
    >>> index.tried({"v": "3"})
    []
    """

    __slots__ = ("_default", "_fallbacks", "_keys", "_settings", "hosts")

    def __init__(self, settings: Subsets, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self._settings = settings
        self._fallbacks: dict[frozenset[str], SubsetSelector] = {}
        self._keys: set[frozenset[str]] = set()
        noted: set[tuple[str, ...]] = set()
        self.hosts: dict[Criteria, tuple[str, ...]] = {ANY: tuple(hosts)}
        """Hosts by subset."""
        found: dict[Criteria, list[str]] = {}
        for selector in settings.subset_selectors:
            made: dict[Criteria, list[str]] = {}
            for host, metadata in hosts.items():
                for criteria in _combinations(selector.keys, metadata, split=settings.list_as_any):
                    if not (selector.single_host_per_subset and criteria in made):
                        made.setdefault(criteria, []).append(host)
            path = tuple(sorted(selector.keys))
            if path not in noted:
                self._fallbacks[selector.keys] = selector
                noted.update(path[:end] for end in range(1, len(path) + 1))
            if selector.keys not in self._keys:
                self._keys.add(selector.keys)
                found.update(made)
        self._default = _criteria(settings.default_subset)
        found[self._default] = [
            host
            for host, metadata in hosts.items()
            if any(
                self._default == one
                for one in _combinations(settings.default_subset, metadata, split=settings.list_as_any)
            )
        ]
        self.hosts.update((criteria, tuple(names)) for criteria, names in found.items() if names)

    def tried(self, wanted: Mapping[str, Any]) -> list[Criteria]:
        """Return the subsets for the metadata of a request, in the order in which they are tried until one has a host."""
        settings = self._settings
        keys = frozenset(wanted)
        criteria = _criteria(wanted)
        if keys in self._keys and criteria in self.hosts:
            return [criteria]
        if keys in self._fallbacks:
            selector = self._fallbacks[keys]
            if selector.fallback_policy == "KEYS_SUBSET":
                return self.tried({key: wanted[key] for key in selector.fallback_keys_subset})
            if selector.fallback_policy != "NOT_DEFINED":
                return self._fallback(selector.fallback_policy)
        found = self._fallback(settings.fallback_policy)
        panics = settings.panic_mode_any and settings.fallback_policy != "NO_FALLBACK"
        return [*found, ANY] if panics else found

    def _fallback(self, policy: Fallback) -> list[Criteria]:
        wanted = {"ANY_ENDPOINT": ANY, "DEFAULT_SUBSET": self._default}.get(policy)
        return [wanted] if wanted is not None and wanted in self.hosts else []


def _criteria(wanted: Mapping[str, Any]) -> Criteria:
    return frozenset((key, _hashable(value)) for key, value in wanted.items())


def _combinations(keys: Iterable[str], metadata: Mapping[str, Any], *, split: bool) -> list[Criteria]:
    """Return the combinations of values that a host has for the keys; none if it lacks a key."""
    found: list[dict[str, Any]] = [{}]
    for key in keys:
        if key not in metadata:
            return []
        value = metadata[key]
        values = value if split and isinstance(value, list | tuple) else [value]
        found = [{**one, key: each} for one in found for each in values]
    return [_criteria(one) for one in found]


def _hashable(value: Any) -> Any:
    """Return a value of JSON in hashable form. Values of different types stay different, such as ``1`` and ``true``."""
    if isinstance(value, Mapping):
        return ("{}", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("[]", *map(_hashable, value))
    return (isinstance(value, bool), value)
