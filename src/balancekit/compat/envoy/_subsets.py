"""Envoy's subsets: the hosts whose metadata equal those of a request's route.

A subset exists for every selector and every combination of values that some host has for its keys. A request has
one only if its keys are *exactly* those of a selector: one key more or less, and its fallback decides.

The fallback is the selector's, if one with exactly these keys states any, and else the cluster's: no host, any
host, the default subset, or, for a selector, the subset of fewer keys. Envoy keeps the selectors in a tree of their
sorted keys and notes a fallback only where it adds a node. So a selector whose keys begin those of one before it
(``color`` after ``color, stage``) has its subsets, but *not its fallback*: the cluster's is used.

An unhealthy subset does not fall back: it panics by itself. With ``panic_mode_any`` a default subset without hosts falls back
to any host.

Cost: O(keys log keys) a request; O(hosts * selectors) once.
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
"""Names and values, each value in a form that can be hashed."""

ANY: Final[Criteria] = frozenset()
"""The subset of all hosts."""


class SubsetSelector(Record):
    """One set of keys that subsets are made by.

    Parameters
    ----------
    keys
        Names, at least one.
    fallback_policy
        For requests with exactly these keys whose values no host has; ``"NOT_DEFINED"`` for the cluster's.
    fallback_keys_subset
        With ``"KEYS_SUBSET"``, the keys to keep; fewer than ``keys``.
    single_host_per_subset
        Whether only the first host of each combination is in its subset.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
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
                "some, not all, of keys with KEYS_SUBSET; none otherwise",
            )
        valid.flag("single_host_per_subset", self.single_host_per_subset)


class Subsets(Record):
    """The settings of a cluster's subsets, named as Envoy's.

    Parameters
    ----------
    subset_selectors
        In order. A fallback counts only if no selector before it begins, in sorted order, with the same keys.
    fallback_policy
        ``"NO_FALLBACK"``, ``"ANY_ENDPOINT"`` or ``"DEFAULT_SUBSET"``.
    default_subset
        With ``"DEFAULT_SUBSET"``, what its hosts have.
    panic_mode_any
        Whether any host serves if the fallback's subset has none.
    list_as_any
        Whether a host that has a list of values is in the subset of each.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
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
    """Which hosts are in which subset, and which subsets a request tries.

    Parameters
    ----------
    settings
        Selectors and fallbacks.
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
        """The hosts of every subset there is."""
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
        """Return the subsets that serve a request, the next one if one before has no host to offer."""
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
    """Return the combinations of values that a host has for the keys: none if it lacks one of them."""
    found: list[dict[str, Any]] = [{}]
    for key in keys:
        if key not in metadata:
            return []
        value = metadata[key]
        values = value if split and isinstance(value, list | tuple) else [value]
        found = [{**one, key: each} for one in found for each in values]
    return [_criteria(one) for one in found]


def _hashable(value: Any) -> Any:
    """Return a value of JSON in a form that can be hashed; numbers, texts and truth values stay apart."""
    if isinstance(value, Mapping):
        return ("{}", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("[]", *map(_hashable, value))
    return (isinstance(value, bool), value)
