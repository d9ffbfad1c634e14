"""pytest fixtures: toy servers, a manual clock, and balancers.

pytest finds them if balancekit is installed. ``toy_servers`` needs the extra ``testing`` (aiohttp). Until a test uses a
fixture, the plugin imports only pytest. ``pytest --fixtures`` lists the fixtures. ``pytest -p no:balancekit`` disables the
plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest

if TYPE_CHECKING:
    from balancekit import Endpoint, LoadBalancer
    from balancekit.testing import ManualClock
    from balancekit.testing.server import ToyServers

__all__ = ["MakeBalancer", "make_balancer", "manual_clock", "pytest_configure", "toy_servers"]


class MakeBalancer(Protocol):
    """The function that the fixture ``make_balancer`` returns."""

    def __call__(
        self, endpoints: Iterable[str | Endpoint[Any]] | Mapping[str, Any] = ("a", "b"), **options: Any
    ) -> LoadBalancer[Any]:
        """Return a balancer on the manual clock, with a fixed seed. ``options`` are those of ``LoadBalancer``."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of ``toy_servers``."""
    config.addinivalue_line("markers", "toy_servers(*names): names of the toy servers that the fixture runs")


@pytest.fixture
def toy_servers(request: pytest.FixtureRequest) -> Iterator[ToyServers]:
    """Run toy HTTP servers for one test: ``a`` and ``b``, or those named by ``@pytest.mark.toy_servers("x", "y")``."""
    from balancekit.testing.server import ToyServers  # noqa: PLC0415 - aiohttp is for tests that use it

    marker = request.node.get_closest_marker("toy_servers")
    with ToyServers(("a", "b") if marker is None else marker.args) as servers:
        yield servers


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock whose time passes only when the test calls ``advance(seconds)``."""
    from balancekit.testing import ManualClock  # noqa: PLC0415 - nothing is imported for tests without fixtures

    return ManualClock()


@pytest.fixture
def make_balancer(manual_clock: ManualClock) -> Callable[..., LoadBalancer[Any]]:
    """Return a function that makes balancers on ``manual_clock`` with a fixed seed, so each run has the same picks."""
    from random import Random  # noqa: PLC0415 - as above

    from balancekit import LoadBalancer  # noqa: PLC0415 - the same

    def make(
        endpoints: Iterable[str | Endpoint[Any]] | Mapping[str, Any] = ("a", "b"), **options: Any
    ) -> LoadBalancer[Any]:
        chosen: dict[str, Any] = {"clock": manual_clock, "rng": Random(0), **options}
        balancer: LoadBalancer[Any] = LoadBalancer(cast("Mapping[str, Any]", endpoints), **chosen)
        return balancer

    return make
