"""The configuration of a proxy, as it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.proxyconfig._decide import decide, follow
from balancekit.proxyconfig._facts import Facts
from balancekit.proxyconfig._model import Decision, NotModelled, Origin, Pool, ProxyRequest, Routing

__all__ = ["ProxyConfig"]


@final
class ProxyConfig:
    """The configuration of a proxy. Created by :func:`read_config` and by the readers of one kind of proxy.

    Parameters
    ----------
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``.
    path
        The path of the file.
    pools
        The pools by name.
    router
        Returns the routing of a request.
    not_modelled
        The directives that were read but are not modelled.
    owners
        The name of the pool to which a line belongs. Lines outside of pools are missing.
    facts
        Further data for ``lint`` and ``simulate``; the type depends on the kind.

    A copy is the same object, for it does not change. It cannot be pickled: another process reads the file itself.
    """

    __slots__ = ("facts", "kind", "not_modelled", "owners", "path", "pools", "router")

    def __init__(
        self,
        kind: str,
        path: str,
        pools: Mapping[str, Pool],
        router: Callable[[ProxyRequest], Routing],
        not_modelled: tuple[NotModelled, ...],
        owners: Mapping[Origin, str],
        facts: Facts = None,
    ) -> None:
        self.kind: str = kind
        self.path: str = path
        self.pools: Mapping[str, Pool] = pools
        self.router: Callable[[ProxyRequest], Routing] = router
        self.not_modelled: tuple[NotModelled, ...] = not_modelled
        self.owners: Mapping[Origin, str] = owners
        self.facts: Facts = facts

    @checked_arguments
    def route(self, request: ProxyRequest) -> Routing:
        """Return the pool, or the answer of the proxy itself, that the rules choose for a request.

        Raises
        ------
        ConfigurationError
            If ``request`` is no :class:`ProxyRequest`.
        """
        return self.router(request)

    @checked_arguments
    def explain(self, request: ProxyRequest, *, seed: int = 0) -> Decision:
        """Return the server of a request that is the first after a start of the proxy, and the reasons.

        Parameters
        ----------
        request
            The request.
        seed
            The seed for methods that pick at random, an integer >= 0. The shares in the result are those of all seeds.

        Raises
        ------
        ConfigurationError
            If ``request`` is no :class:`ProxyRequest`, or ``seed`` is no integer >= 0.
        """
        return decide(self, request, seed=valid.integer("seed", seed, minimum=0))

    @checked_arguments
    def follow(self, requests: Iterable[ProxyRequest], *, seed: int = 0) -> list[tuple[Routing, str | None]]:
        """Return the servers of a sequence of requests after a start. Each request ends before the next one begins.

        Parameters
        ----------
        requests
            The requests, in order.
        seed
            The seed for methods that pick at random, an integer >= 0.

        Returns
        -------
        list
            For each request its routing, and the name of the server; ``None`` if no server gets it or the method is not
            modelled.

        Raises
        ------
        ConfigurationError
            If an item is no :class:`ProxyRequest`, or ``seed`` is no integer >= 0.
        """
        return follow(self, requests, seed=valid.integer("seed", seed, minimum=0))

    def __copy__(self) -> ProxyConfig:
        return self

    def __deepcopy__(self, memo: object) -> ProxyConfig:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a ProxyConfig cannot be pickled: read its file in each process, by read_config(path)"
        )

    def __repr__(self) -> str:
        return f"<ProxyConfig {self.kind} {self.path}: {len(self.pools)} pools, {len(self.not_modelled)} not modelled>"
