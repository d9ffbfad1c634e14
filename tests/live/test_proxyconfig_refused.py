"""HAProxy itself refuses the lines that the reader refuses, and takes the odd ones that the reader takes."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.unit.proxyconfig._refused import REFUSED, TAKEN, config

ROWS = [*[(place, line, False) for place, line, _ in REFUSED], *[(*row, True) for row in TAKEN]]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
@pytest.mark.parametrize(("place", "line", "taken"), ROWS, ids=[f"{row[0]} {row[1][:40]}" for row in ROWS])
def test_haproxy_judges_as_the_table_says(tmp_path, place, line, taken):
    """``haproxy -c`` fails for each refused line, and succeeds for each other one."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(config(place, line), encoding="utf-8")
    done = subprocess.run(
        ["haproxy", "-c", "-f", path], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode == 0) is taken, done.stderr
