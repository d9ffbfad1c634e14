"""Configurations: every word, every error with its place, the environment, the schema, and what runs after start()."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import jsonschema
import pytest

import balancekit.config
from balancekit import LoadBalancer
from balancekit.config import Configuration, load, read, schema
from balancekit.errors import ConfigurationError
from balancekit.sim import load_scenario
from balancekit.testing.server import ToyServers

WHOLE = {
    "title": "orders",
    "endpoints": {
        "a": {"target": "10.0.0.1:80", "weight": 2.0, "priority": 1, "zone": "z", "metadata": {"gpu": "yes"}},
        "b": {"headers": {"Authorization": "Bearer ${KEY}"}, "target": "https://b.example"},
        "c": 0.5,
    },
    "balancer": {
        "selector": "RingHash",
        "options": {"vnodes": 20},
        "load": {"kind": "FailureAware", "decay": 5.0},
        "exhaustion": {"kind": "FailOpen", "threshold": 0.4},
        "health": {"ejection": {"base": 2.0}, "success_rate": {"min_rate": 0.5}, "start": "healthy"},
        "routing": [
            {"kind": "MaxInFlight", "max_inflight": 2},
            {"kind": "Priority", "overprovisioning": 1.5},
        ],
    },
    "checks": {"kind": "http", "path": "/healthz", "statuses": [200, 204], "interval": 3.0, "timeout": 1.0},
    "retry": {"attempts": 3, "timeout": 2.0, "budget": {"ratio": 0.1}},
}


class TestLoad:
    """From tables to a balancer."""

    def test_every_word_arrives(self) -> None:
        """Endpoints, selector, routing, health and retries are those of the file."""
        found = load(WHOLE, environ={"KEY": "secret"})
        endpoints = {endpoint.id: endpoint for endpoint in found.balancer.endpoints}
        assert (endpoints["a"].target, endpoints["a"].weight, endpoints["a"].zone) == (
            "10.0.0.1:80",
            2.0,
            "z",
        )
        assert endpoints["a"].metadata == {"gpu": "yes"}
        assert endpoints["b"].target.headers["Authorization"] == "Bearer secret"
        assert endpoints["c"].weight == 0.5
        assert "MaxInFlight" in repr(found.balancer)
        assert (found.retry.attempts, found.retry.timeout, found.title) == (3, 2.0, "orders")
        assert found.retry.adapter_options() == {"attempts": 3, "budget": found.retry.budget}

    def test_the_routers_wrap_the_selector_in_order(self) -> None:
        """The first router is outermost: with a limit of 2 on each of two endpoints the fifth lease is refused."""
        table = {"selector": "RingHash", "routing": [{"kind": "MaxInFlight", "max_inflight": 2}]}
        balancer = load({"endpoints": ["a", "b"], "balancer": table}).balancer
        leases = [balancer.acquire(f"key {number}") for number in range(4)]
        with pytest.raises(balancekit.UnavailableError):
            balancer.acquire("key 4")
        for lease in leases:
            lease.release()

    def test_a_sticky_router_takes_its_secrets_from_the_environment(self) -> None:
        """The file names variables; a variable that is not set is an error that names it."""
        table = {"routing": [{"kind": "Sticky", "pool": "shop", "secrets": ["NEW", "OLD"]}]}
        facts = {"endpoints": ["a"], "balancer": table}
        assert picks(load(facts, environ={"NEW": "n" * 32, "OLD": "o" * 32}).balancer, 1) == ["a"]
        with pytest.raises(ConfigurationError, match=r"balancer\.routing\[0\]\.secrets='OLD'"):
            load(facts, environ={"NEW": "n" * 32})

    def test_toml_and_json_are_the_same(self, tmp_path: Path) -> None:
        """A TOML file and a JSON file of the same tables make the same endpoints."""
        (tmp_path / "a.toml").write_text('endpoints = ["a", "b"]\n[balancer]\nselector = "RoundRobin"\n')
        (tmp_path / "a.json").write_text('{"endpoints": ["a", "b"], "balancer": {"selector": "RoundRobin"}}')
        assert read(tmp_path / "a.toml") == read(tmp_path / "a.json")
        for name in ("a.toml", "a.json"):
            balancer = load(tmp_path / name).balancer
            assert picks(balancer, 3) in (["a", "b", "a"], ["b", "a", "b"])

    def test_the_environment_overrules_the_file(self) -> None:
        """Variables of the environment overrule the file.

        Two underscores separate tables, and values are TOML, or text where they are none.
        """
        environ = {
            "BALANCEKIT_ENDPOINTS": '["x", "y"]',
            "BALANCEKIT_BALANCER__SELECTOR": "RoundRobin",
            "BALANCEKIT_RETRY__ATTEMPTS": "5",
            "OTHER": "ignored",
        }
        found = load({"endpoints": ["a"], "retry": {"attempts": 1}}, environ=environ)
        assert [endpoint.id for endpoint in found.balancer.endpoints] == ["x", "y"]
        assert found.retry.attempts == 5
        assert load(environ=environ).retry.attempts == 5

    def test_each_balancer_of_a_recipe_has_its_own_selector(self) -> None:
        """Two balancers made from one table do not share a cursor: each goes round on its own."""
        recipe = balancekit.config.recipe("balancer", {"selector": "RoundRobin"})
        one, two = (recipe.make([balancekit.Endpoint("a"), balancekit.Endpoint("b")]) for _ in range(2))
        turns = [picks(balancer, 1)[0] for _ in range(4) for balancer in (one, two)]
        assert turns[::2] in (["a", "b"] * 2, ["b", "a"] * 2)
        assert turns[1::2] in (["a", "b"] * 2, ["b", "a"] * 2)

    def test_the_default_table_is_the_default_balancer(self) -> None:
        """Without a [balancer] table the balancer is LoadBalancer(endpoints)."""
        assert repr(load({"endpoints": ["a"]}).balancer) == repr(LoadBalancer(["a"]))

    def test_a_thing_without_options_is_given_by_its_name(self) -> None:
        """With exhaustion "FailOpen" a pool whose only endpoint is not yet checked serves requests, by default it refuses."""
        table = {"health": {"start": "unknown"}}
        with pytest.raises(balancekit.UnavailableError):
            load({"endpoints": ["a"], "balancer": table}).balancer.acquire()
        assert (
            load({"endpoints": ["a"], "balancer": {**table, "exhaustion": "FailOpen"}})
            .balancer.acquire()
            .target
            == "a"
        )


ERRORS = [
    ({"endpoint": ["a"]}, "configuration", "did you mean 'endpoints'"),
    ({}, "configuration", "endpoints or"),
    ({"endpoints": ["a"], "discovery": {"source": "static:a"}}, "configuration", "not both"),
    ({"endpoints": []}, "endpoints", "at least one"),
    ({"endpoints": "a"}, "endpoints", "a list of ids"),
    ({"endpoints": ["a", "a"]}, "endpoints", "each id once"),
    ({"endpoints": {"a": {"weight": -1}}}, "endpoints.a.weight", ">= 0"),
    ({"endpoints": {"a": {"wieght": 1}}}, "endpoints.a", "did you mean 'weight'"),
    ({"endpoints": [{"target": "x"}]}, "endpoints[0].id", "string"),
    ({"endpoints": {"a": {"headers": {"K": "${MISSING}"}}}}, "endpoints.a.headers", "variable"),
    (
        {"endpoints": ["a"], "balancer": {"selector": "RingHahs"}},
        "balancer.selector",
        "did you mean 'RingHash'",
    ),
    (
        {"endpoints": ["a"], "balancer": {"selector": "RingHash", "options": {"vnode": 1}}},
        "balancer.options",
        "vnodes",
    ),
    (
        {"endpoints": ["a"], "balancer": {"selector": "RingHash", "options": {"vnodes": 0}}},
        "balancer.options.vnodes",
        "",
    ),
    ({"endpoints": ["a"], "balancer": {"options": {"vnodes": 5}}}, "balancer.options", "an empty table"),
    ({"endpoints": ["a"], "balancer": {"load": "Inflight"}}, "balancer.load.kind", "did you mean 'InFlight'"),
    (
        {"endpoints": ["a"], "balancer": {"health": {"ejection": {"bas": 1}}}},
        "balancer.health.ejection",
        "base",
    ),
    ({"endpoints": ["a"], "balancer": {"health": {"start": "well"}}}, "balancer.health.start", "healthy"),
    ({"endpoints": ["a"], "balancer": {"routing": {"kind": "Priority"}}}, "balancer.routing", "outermost"),
    (
        {"endpoints": ["a"], "balancer": {"routing": [{"kind": "Prio"}]}},
        "balancer.routing[0].kind",
        "Priority",
    ),
    ({"endpoints": ["a"], "checks": {"pth": "/x"}}, "checks", "did you mean 'path'"),
    ({"endpoints": ["a"], "checks": {"path": "x"}}, "checks.path", "begins with /"),
    ({"endpoints": ["a"], "checks": {"kind": "icmp"}}, "checks.kind", "http"),
    (
        {"endpoints": ["a"], "checks": {"interval": 1.0, "timeout": 2.0}},
        "checks.timeout",
        "at most the interval",
    ),
    ({"endpoints": ["a"], "retry": {"attempts": 0}}, "retry.attempts", ">= 1"),
    ({"endpoints": ["a"], "retry": {"budget": {"ratio": -1}}}, "retry.budget.ratio", ""),
    ({"discovery": {"source": "foo:bar"}}, "discovery.source", "dns"),
    ({"discovery": {"source": "static:a", "interval": -1}}, "discovery.interval", "> 0"),
    ({"discovery": {"source": "static:a", "intervall": 1}}, "discovery", "did you mean 'interval'"),
    ({"endpoints": ["a"], "title": 5}, "title", "string"),
]


class TestErrors:
    """A wrong word names its place and what is allowed."""

    @pytest.mark.parametrize(("facts", "parameter", "text"), ERRORS, ids=lambda value: str(value)[:60])
    def test_an_error_names_its_place(self, facts, parameter, text) -> None:
        """The parameter of the error is the place in the file; the text lists what is allowed."""
        with pytest.raises(ConfigurationError) as error:
            load(facts)
        assert error.value.parameter == parameter
        assert text in str(error.value)

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("a.toml", b"endpoints = [", "TOML"),
            ("a.toml", b"\xff\xfe", "TOML"),
            ("a.json", b"{", "JSON"),
            ("a.json", b"[" * 100_000, "JSON"),
            ("a.json", b"[]", "a table"),
            ("missing.toml", None, "can be read"),
        ],
    )
    def test_an_unreadable_file(self, tmp_path: Path, name, content, text) -> None:
        """A file that is missing, is neither TOML nor JSON or is no table raises ConfigurationError."""
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=text):
            load(tmp_path / name)

    def test_a_source_of_another_type(self) -> None:
        """A source of another type, such as a number, is refused."""
        with pytest.raises(ConfigurationError, match="source=5"):
            load(5)

    def test_a_variable_below_a_word_that_is_no_table(self) -> None:
        """A variable that would put a word into a list names itself."""
        with pytest.raises(ConfigurationError, match="BALANCEKIT_ENDPOINTS__A"):
            load({"endpoints": ["a"]}, environ={"BALANCEKIT_ENDPOINTS__A": "1"})


class TestSchema:
    """The shipped JSON Schema."""

    def test_the_shipped_schema_is_the_generated_one(self) -> None:
        """schema.json is what python -m balancekit.config prints."""
        shipped = Path(balancekit.config.__file__).with_name("schema.json").read_text(encoding="utf-8")
        assert json.loads(shipped) == schema()

    def test_the_schema_is_a_schema_and_accepts_what_load_accepts(self) -> None:
        """The schema is a valid schema and accepts the whole configuration of this file."""
        jsonschema.Draft202012Validator.check_schema(schema())
        jsonschema.validate(WHOLE, schema())
        jsonschema.validate({"discovery": {"source": "dns:orders:80", "interval": 5}}, schema())

    @pytest.mark.parametrize(
        "facts",
        [facts for facts, parameter, _ in ERRORS if parameter.count(".") < 2 and "weight" not in parameter],
        ids=lambda value: str(value)[:60],
    )
    def test_the_schema_rejects_unknown_words(self, facts) -> None:
        """Where load() rejects a word because it is unknown, so does the schema."""
        with pytest.raises(ConfigurationError) as error:
            load(facts)
        if "one of" in str(error.value) and "source" not in error.value.parameter:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(facts, schema())


def picks(balancer: LoadBalancer, count: int) -> list[str]:
    """Return the targets of some requests."""
    found = []
    for _ in range(count):
        with balancer.acquire() as lease:
            found.append(lease.target)
    return found


@pytest.fixture
def servers(toy_servers):
    """Two servers, of which b fails its health check."""
    toy_servers["b"].behave(status=503)
    return toy_servers


def settled(configuration: Configuration, address: str) -> bool:
    """Return whether the checks have found the bad server out."""
    return configuration.balancer.stats()[address].state == "ejected"


class TestRunning:
    """Discovery and checks start and stop with the configuration."""

    def facts(self, servers: ToyServers) -> dict:
        """Return a configuration with discovery and quick checks."""
        return {
            "discovery": {"source": "static:" + ",".join(servers.addresses)},
            "checks": {"path": "/healthz", "interval": 0.05, "timeout": 0.04},
        }

    def test_on_threads(self, servers: ToyServers) -> None:
        """After start() the pool is there and checks eject the bad server; after stop() nothing runs."""
        with load(self.facts(servers)) as running:
            assert len(running.balancer.endpoints) == 2
            for _ in range(1000):
                if settled(running, servers.addresses[1]):
                    break
                time.sleep(0.02)
            else:
                pytest.fail("the checks did not find the bad server")
            assert set(picks(running.balancer, 10)) == {servers.addresses[0]}
        running.stop()

    def test_on_asyncio(self, servers: ToyServers) -> None:
        """A configuration runs as an asynchronous context manager as it does on threads."""

        async def main() -> set[str]:
            async with load(self.facts(servers)) as running:
                for _ in range(1000):
                    if settled(running, servers.addresses[1]):
                        break
                    await asyncio.sleep(0.01)
                return set(picks(running.balancer, 10))

        assert asyncio.run(main()) == {servers.addresses[0]}

    def test_a_failed_start_stops_what_was_started(self, servers: ToyServers, monkeypatch) -> None:
        """If checks cannot start, discovery does not run on."""
        configuration = load(self.facts(servers))
        stopped = []
        monkeypatch.setattr("balancekit.config._configuration.ThreadChecks", lambda *_, **__: 1 / 0)
        original = balancekit.config._configuration.ThreadDiscovery.stop
        monkeypatch.setattr(
            "balancekit.config._configuration.ThreadDiscovery.stop",
            lambda self: (stopped.append(1), original(self)),
        )
        with pytest.raises(ZeroDivisionError):
            configuration.start()
        assert stopped == [1]


class TestSimulation:
    """The same file as a scenario."""

    def test_a_configuration_is_a_scenario(self, tmp_path: Path) -> None:
        """The endpoints become servers and the balancer is compared with the others, with the retries of the file."""
        path = tmp_path / "service.toml"
        path.write_text(
            """
            title = "orders"
            endpoints = { a = 1.0, b = 1.0, c = 2.0 }
            [balancer]
            selector = "SmoothWeightedRoundRobin"
            [retry]
            attempts = 3
            [simulation]
            requests = 400
            warm_up = 0
            arrivals = { kind = "poisson", rate = 20.0 }
            server = { service = { kind = "exponential", mean = 0.05 } }
            [[simulation.balancers]]
            name = "default"
            """
        )
        scenario = load_scenario(path)
        assert list(scenario.balancers) == ["configured", "default"]
        assert scenario.attempts == 3
        assert scenario.run("configured").shares == {"a": 0.25, "b": 0.25, "c": 0.5}
        assert load(path).balancer.endpoints[2].weight == 2.0

    def test_what_is_missing_for_a_simulation_is_named(self, tmp_path: Path) -> None:
        """A configuration without a [simulation] table or without servers says what to add."""
        path = tmp_path / "service.toml"
        path.write_text('endpoints = ["a"]')
        with pytest.raises(ConfigurationError, match="simulation"):
            load_scenario(path)
        path.write_text('endpoints = ["a"]\n[simulation]\nrequests = 5\n')
        with pytest.raises(ConfigurationError, match="a server for the endpoints"):
            load_scenario(path)


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP_WEB",
        "PORT",
        "PORT_80_TCP",
        "PORT_53_UDP_PROTO",
        "PORT_80_TCP_PORT",
        "PORT_80_TCP_ADDR",
        "DEV_EU_PORT",
        "DEV_SERVICE_HOST",
    ],
)
def test_variables_of_a_kubernetes_service_are_passed_over(name):
    """Kubernetes sets variables in each container for a service called like our prefix; they are no words of ours."""
    for prefix in ("BALANCEKIT_", "ORDERS_"):
        found = load({"endpoints": ["a"]}, environ={prefix + name: "tcp://10.0.0.1:80"}, prefix=prefix)
        assert len(found.balancer) == 1


@pytest.mark.parametrize(
    "name", ["CHECKS__PORT", "PORT_80", "PORTS", "SERVICE", "_PORT", "RETRY__SERVICE_HOST"]
)
def test_other_variables_are_words(name):
    """A variable that is none of a Kubernetes service is a word, and refused if there is none of that name."""
    with pytest.raises(ConfigurationError):
        load({"endpoints": ["a"]}, environ={f"BALANCEKIT_{name}": "80"})


@pytest.mark.parametrize(
    "text", ['{"endpoints": ["a"], "endpoints": ["b"]}', '{"retry": {"attempts": 2, "attempts": 3}}']
)
@pytest.mark.parametrize("name", ["orders.json", "ORDERS.JSON"])
def test_a_word_that_stands_twice_in_json_is_refused(tmp_path, text, name):
    """A word that stands twice in an object of JSON is refused, as TOML refuses it; the end of the name may be in capitals."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"JSON: '(endpoints|attempts)' stands twice"):
        load(path)
