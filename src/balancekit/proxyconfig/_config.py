"""A configuration that was read, and the queries it answers."""

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
    """A configuration that was read. Made by :func:`read_config` and the readers of one kind.

    Parameters
    ----------
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``.
    path
        The file.
    pools
        By name.
    router
        Answers what the rules do with a request.
    not_modelled
        What was read and is not followed.
    owners
        The pool that a line belongs to, of lines that belong to one.
    facts
        What else ``lint`` and ``simulate`` look at, by kind.

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
        """Return where the rules lead a request."""
        return self.router(request)

    @checked_arguments
    def explain(self, request: ProxyRequest, *, seed: int = 0) -> Decision:
        """Return where a request goes if it is the first after a start, and why.

        Parameters
        ----------
        request
            The request.
        seed
            For methods that draw, >= 0; shares say what other seeds give.
        """
        return decide(self, request, seed=valid.integer("seed", seed, minimum=0))

    @checked_arguments
    def follow(self, requests: Iterable[ProxyRequest], *, seed: int = 0) -> list[tuple[Routing, str | None]]:
        """Return where requests go, one after the other from a start, each finished before the next.

        Parameters
        ----------
        requests
            In order.
        seed
            For methods that draw, >= 0.

        Returns
        -------
        For each request what the rules said, and the name of the server; ``None`` if none takes it or none can be named.
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
