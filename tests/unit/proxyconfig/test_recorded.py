"""What nginx 1.22.1 and HAProxy 2.6.12 served for 60 configurations, 200 requests each, without the servers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from balancekit.proxyconfig import ProxyRequest, read_config

ROOT = Path(__file__).parents[2] / "oracles" / "proxyconfig"
SPEC = importlib.util.spec_from_file_location("proxyconfig_generate", ROOT / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_the_configuration_says_what_was_served(tmp_path, kind, seed):
    """Every request of a pool that draws nothing goes to the recorded server; others to a server of their pool."""
    row = json.loads((ROOT / f"{kind}.json").read_text())[seed]
    assert row["seed"] == seed
    path = tmp_path / "proxy.conf"
    path.write_text("\n".join(row["text"]))
    config = read_config(str(path), kind=kind)
    requests = [
        ProxyRequest(
            one["target"], host=one["host"], headers=tuple(map(tuple, one["headers"])), client=one["client"]
        )
        for one in generate.requests_of(seed)
    ]
    compared = 0
    for (routing, name), letter in zip(config.follow(requests), row["served"], strict=True):
        answer = row["names"][letter]
        if routing.pool is None:
            assert answer == str(routing.status)
            compared += 1
            continue
        pool = config.pools[routing.pool]
        addresses = {server.name: server.address for server in pool.servers}
        if pool.deterministic:
            assert answer == addresses[name]
            compared += 1
        else:
            assert answer in addresses.values()
    assert compared > 0
