"""Endpoints of a Kubernetes service, listed and watched through the API server.

DNS of a headless service shows new pods at the next lookup. A watch reports them at once, together with terminating pods
and the zone of each pod.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.log import log_change
from balancekit.discovery._addresses import host_and_port, is_address
from balancekit.discovery._families import reachable
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution
from balancekit.discovery._slices import EndpointSlices
from balancekit.discovery._targets import InvalidTargetsError
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, brief, brief_error

if TYPE_CHECKING:
    from lightkube import Client

__all__ = ["KubernetesResolver"]

SERVICE_LABEL: Final = "kubernetes.io/service-name"
WATCH_S: Final = 240
"""Seconds after which the server ends a watch; a new watch then continues from the last version."""
MAX_PORT: Final = 65_535
MIN_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0
MAX_DOUBLINGS: Final = 60
"""The failures in a row after which the wait no longer doubles. A float overflows at about a thousand."""


_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""The pattern of names of services and namespaces (RFC 1123)."""


@final
class KubernetesResolver(ConstructorRepr):
    """The endpoints of a service, from its EndpointSlices.

    Parameters
    ----------
    service
        ``"name"`` or ``"name.namespace"``; the client's namespace if left out.
    port
        Name or number of the port; the only one of the service if left out.
    client
        ``lightkube.Client``; one from the environment (pod or kubeconfig) if left out.

    Raises
    ------
    ConfigurationError
        If ``service`` is no name of a service, or ``port`` neither a name nor a number from 1 to 65535.

    Under a runner it watches the service: changes arrive at once, and a broken watch resumes with a new list. A
    terminating pod that still serves has weight 0. For a dual-stack service, a family without a route is left out. Zones
    are those of the nodes; zone hints are in ``metadata["hint_zones"]``. The account needs ``list`` and ``watch`` on
    ``endpointslices.discovery.k8s.io``.

    *When not to use it:* outside the cluster's network, where pod addresses are unreachable; or for a few pods that seldom
    change, where DNS of a headless service needs no permission.

    Cost: one connection to the API server and one thread. Applying 5,000 endpoints in 50 slices takes some 40 ms.

    Example
    -------
    >>> from balancekit.discovery import KubernetesResolver
    >>> KubernetesResolver.parse("orders.shop:http").service
    'orders'
    """

    refresh: ClassVar[Refresh] = Refresh(interval=300.0)
    """The list is fetched again every five minutes; a watch reports changes."""

    def __init__(self, service: str, *, port: str | int | None = None, client: Client | None = None) -> None:
        name, dot, namespace = valid.text("service", service).partition(".")
        if not all(map(_LABEL.fullmatch, (name, namespace) if dot else (name,))):
            raise ConfigurationError(
                "service", service, '"name" or "name.namespace", as Kubernetes spells them'
            )
        self.service: str = name
        self.namespace: str | None = namespace or None
        if port is not None and not _is_port(port):
            raise ConfigurationError(
                "port", port, "the name of a port of the service, or its number, 1 to 65535"
            )
        self.port: str | int | None = port
        self._client: Any = client
        self._is_given = client is not None
        self._lock = new_lock()
        self._followed: EndpointSlices | None = None
        call_in_child(self)

    def after_fork(self) -> None:
        """Stop watching in a forked child, and drop the parent's connection. A client passed by the caller is not replaced."""
        self._followed = None
        if not self._is_given:
            self._client = None

    @classmethod
    def parse(cls, address: str) -> Self:
        """Make one from ``"name.namespace:port"``; namespace and port may be left out."""
        service, _, port = address.partition(":")
        return cls(service, port=port or None)

    def resolve(self) -> Resolution:
        """Return the current endpoints: those of the watch, or a new list if there is no watch.

        Raises
        ------
        InvalidTargetsError
            If there are endpoints, but none with the port.
        """
        slices = self._followed
        return self._resolution(self._list(self._connected()) if slices is None else slices)

    def watch(self, push: Callable[[Resolution], None], /) -> Callable[[], None]:
        """Call ``push`` with each new list of endpoints; return a function that stops this.

        The thread ends with the next event, at the latest when the server ends the watch after four minutes. A client passed
        by the caller starts the next watch by itself, so close it to end the thread at that point. The thread is a daemon and
        does not keep the program running.
        """
        stopped = threading.Event()
        thread = threading.Thread(
            target=self._follow, args=(push, stopped), name="balancekit-kubernetes", daemon=True
        )
        thread.start()

        def stop() -> None:
            stopped.set()
            if not self._is_given:
                with self._lock:
                    client, self._client = self._client, None
                if client is not None:
                    client.close()

        return stop

    # ------------------------------------------------------------------ in the thread

    def _follow(self, push: Callable[[Resolution], None], stop: threading.Event) -> None:
        rng, failures = Random(), 0
        while not stop.is_set():
            try:
                client = self._connected()
                slices = self._list(client)
                self._publish(slices, push, stop)
                for event, piece in self._events(client, slices.version):
                    failures = 0
                    if stop.is_set():
                        break
                    with self._lock:
                        changed = slices.apply(event, piece)
                    if changed:
                        self._publish(slices, push, stop)
            except BaseException as error:  # SystemExit of a client, for one, would end the thread
                if failures == 1 and not stop.is_set():  # a single break is normal
                    log_change("watch of service %s: %s", self.service, brief_error(error), bad=True)
            finally:
                with self._lock:
                    self._followed = None
            failures += 1
            wait = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** (min(failures, MAX_DOUBLINGS) - 2))
            stop.wait(wait * rng.uniform(0.5, 1.0))

    def _publish(
        self, slices: EndpointSlices, push: Callable[[Resolution], None], stop: threading.Event
    ) -> None:
        with self._lock:
            self._followed = slices
        try:
            resolution = self._resolution(slices)
        except InvalidTargetsError as error:  # the last good list stays in use
            log_change("watch of service %s: %s", self.service, brief_error(error), bad=True)
            return
        if not stop.is_set():
            push(resolution)

    def _resolution(self, slices: EndpointSlices) -> Resolution:
        """Return the reachable endpoints of the slices."""
        with self._lock:
            found, instead = slices.endpoints(), slices.ports_instead()
        if instead:
            wanted = "several ports" if self.port is None else f"no port {self.port!r}"
            raise InvalidTargetsError(f"service {self.service} has {wanted}: {brief(', '.join(instead))}")
        return Resolution(endpoints=_reachable(found))

    def _connected(self) -> Any:
        client = self._client
        if client is None:
            from lightkube import Client  # noqa: PLC0415 - of the extra kubernetes

            client = self._client = Client()
        return client

    def _list(self, client: Any) -> EndpointSlices:
        slices = EndpointSlices(self.port)
        listed = client.list(_slice_kind(), namespace=self.namespace, labels={SERVICE_LABEL: self.service})
        found = list(listed)
        slices.replace(found, listed.resourceVersion)
        return slices

    def _events(self, client: Any, version: str) -> Any:
        return client.watch(
            _slice_kind(),
            namespace=self.namespace,
            labels={SERVICE_LABEL: self.service},
            resource_version=version,
            server_timeout=WATCH_S,
        )


def _reachable(found: list[Endpoint[str]]) -> list[Endpoint[str]]:
    """Return endpoints without those of a family that has no route; a dual-stack service has slices of both families."""
    if not any(endpoint.target.startswith("[") for endpoint in found):
        return found
    hosts = {endpoint.id: host_and_port(endpoint.target)[0] for endpoint in found}
    addresses = [host for host in hosts.values() if is_address(host)]
    lost = set(addresses).difference(reachable(addresses))
    return [endpoint for endpoint in found if hosts[endpoint.id] not in lost]


def _is_port(port: object) -> bool:
    """Return whether a service may have a port of this name or number; a name has a letter."""
    if isinstance(port, str):
        return bool(port) and (not port.isdecimal() or 0 < int(port[:6]) <= MAX_PORT)
    return isinstance(port, int) and not isinstance(port, bool) and 0 < port <= MAX_PORT


_KIND: list[Any] = []


def _slice_kind() -> Any:
    """Return the resource as plain dictionaries: no model of the API is needed."""
    if not _KIND:
        from lightkube.generic_resource import create_namespaced_resource  # noqa: PLC0415 - the same

        _KIND.append(create_namespaced_resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"))
    return cast("Any", _KIND[0])
