"""Planned changes on the real servers: nginx, HAProxy and Envoy move the requests that the plan says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.live._proxies import ask, free_port, running, servers
from tests.oracles.proxyconfig import changes
from tests.oracles.proxyconfig.compare import asked

from balancekit.proxyconfig import plan_change, read_config

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


def served(kind, shape, addresses, folder):
    """Run a proxy with a shape; return its configuration, read, and who served each request."""
    port = free_port()
    path = folder / ("proxy.json" if kind == "envoy" else "proxy.conf")
    text = changes.text(kind, shape, addresses, port)
    if kind == "nginx":
        text = f"pid {folder}/pid;\nerror_log {folder}/error.log;\ndaemon off;\n" + text
    path.write_text(text)
    command = {
        "nginx": ["nginx", "-p", str(folder), "-c", str(path), "-g", "user root;"],
        "haproxy": ["haproxy", "-db", "-f", str(path)],
        "envoy": ["envoy", "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "off"],
    }[kind]
    with running(command, port):
        return read_config(str(path)), ask(port, changes.requests()), port


@pytest.mark.parametrize("kind", changes.KINDS)
def test_planned_changes_move_what_the_plan_says(tmp_path, addresses, kind):
    """12 changes, 300 requests before and after: exactly those of the plan have another server."""
    if shutil.which(kind) is None:
        pytest.skip(f"needs {kind}")
    before, owners, port = served(kind, changes.BASE, addresses, tmp_path)
    rows = {}
    for name, shape in changes.CHANGES.items():
        after, others, _ = served(kind, shape, addresses, tmp_path)
        plan = plan_change(before, after, requests=asked(changes.requests()))
        pairs = zip(owners, others, strict=True)
        assert list(plan.moved) == [place for place, (was, now) in enumerate(pairs) if was != now], name
        rows[name] = "".join("abcdef"[addresses.index(one)] for one in others)
    if RECORD:
        data = {"addresses": addresses, "port": port, "served": rows}
        (Path(RECORD) / f"plan-{kind}.json").write_text(json.dumps(data) + "\n")
