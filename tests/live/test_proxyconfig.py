"""nginx and HAProxy on loopback serve what their configuration, read, says they serve."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.live._proxies import ask, free_port, running, servers
from tests.oracles.proxyconfig import generate
from tests.oracles.proxyconfig.compare import compare

from balancekit.proxyconfig import read_config

RECORD = os.environ.get("BALANCEKIT_RECORD")
"""A folder to write what was served to."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not Path("/proc/net/tcp").exists(), reason="clients at addresses 127.a.b.c need Linux"
    ),
]


@pytest.fixture(scope="module")
def addresses():
    """Six servers."""
    with servers(6) as found:
        yield found


def record(kind, seed, text, requests, answers):
    """Keep what was served, if asked to."""
    if RECORD:
        letters = {answer: "abcdefghij"[place] for place, answer in enumerate(dict.fromkeys(answers))}
        data = {
            "seed": seed,
            "text": text.split("\n"),
            "names": {letter: answer for answer, letter in letters.items()},
            "served": "".join(letters[answer] for answer in answers),
        }
        (Path(RECORD) / f"{kind}-{seed:02}.json").write_text(json.dumps(data, indent=1) + "\n")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_nginx_serves_what_its_configuration_says(tmp_path, addresses, seed):
    """Of 200 requests, nginx serves each with the predicted server where nothing is drawn.

    Elsewhere shares are within 5 deviations.
    """
    port = free_port()
    text = generate.nginx_text(seed, addresses, port)
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\ndaemon off;\n" + text)
    requests = generate.requests_of(seed)
    with running(["nginx", "-p", str(tmp_path), "-c", str(path), "-g", "user root;"], port):
        answers = [answer.partition(" ")[0] for answer in ask(port, requests)]
    record("nginx", seed, text, requests, answers)
    compare(read_config(str(path)), requests, answers)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_haproxy_serves_what_its_configuration_says(tmp_path, addresses, seed):
    """Of 200 requests, HAProxy serves each with the predicted server where nothing is drawn.

    Elsewhere shares are within 5 deviations.
    """
    port = free_port()
    text = generate.haproxy_text(seed, addresses, port)
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    requests = generate.requests_of(seed)
    with running(["haproxy", "-db", "-f", str(path)], port):
        answers = [answer.partition(" ")[0] for answer in ask(port, requests)]
    record("haproxy", seed, text, requests, answers)
    compare(read_config(str(path)), requests, answers)
