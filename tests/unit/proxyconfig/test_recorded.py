"""What nginx 1.22.1, HAProxy 2.6.12 and Envoy 1.40.0 served for 118 configurations, 200 requests each, without the servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.oracles.proxyconfig import generate, generate_envoy
from tests.oracles.proxyconfig.compare import compare

from balancekit.proxyconfig import read_config

ROOT = Path(__file__).parents[2] / "oracles" / "proxyconfig"


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_the_configuration_says_what_was_served(tmp_path, kind, seed):
    """Every request of a pool that draws nothing goes to the recorded server; others within 5 deviations of shares."""
    row = json.loads((ROOT / f"{kind}.json").read_text())[seed]
    assert row["seed"] == seed
    path = tmp_path / "proxy.conf"
    path.write_text("\n".join(row["text"]))
    answers = [row["names"][letter] for letter in row["served"]]
    compared = compare(read_config(str(path), kind=kind), generate.requests_of(seed), answers)
    assert compared > 0 or seed >= generate.DRAWN


@pytest.mark.parametrize("seed", range(generate_envoy.COUNT))
def test_the_bootstrap_says_what_envoy_served(tmp_path, seed):
    """Hashed requests exactly, rotations up to their start, what is drawn within 5 deviations of its shares."""
    row = json.loads((ROOT / "envoy.json").read_text())[seed]
    assert row["seed"] == seed
    path = tmp_path / f"envoy{generate_envoy.suffix(seed)}"
    path.write_text(generate_envoy.envoy_text(seed, row["addresses"], row["port"]))
    answers = [row["names"]["abcdefghijklmnop".index(letter)] for letter in row["served"]]
    config = read_config(str(path))
    assert config.kind == "envoy"
    assert not config.not_modelled
    compared = compare(config, generate_envoy.requests_of(seed), answers)
    assert compared > 0 or seed >= generate_envoy.DRAWN
