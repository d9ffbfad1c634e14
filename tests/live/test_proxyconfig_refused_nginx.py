"""nginx itself refuses the lines that the reader refuses, and takes the odd ones that the reader takes or notes."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.unit.proxyconfig._refused_nginx import NOTED, REFUSED, TAKEN, TYPICAL, config

ROWS = [
    *[(place, line, False) for place, line, _ in REFUSED],
    *[(*row, True) for row in TAKEN + TYPICAL],
    *[("server", line, True) for line in NOTED],
]


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.parametrize(("place", "line", "taken"), ROWS, ids=[row[1][:40] for row in ROWS])
def test_nginx_judges_as_the_table_says(tmp_path, place, line, taken):
    """``nginx -t`` fails for each refused line, and succeeds for each other one."""
    path = tmp_path / "nginx.conf"
    path.write_text(config(tmp_path, place, line), encoding="utf-8")
    command = ["nginx", "-t", "-c", path, "-p", f"{tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode == 0) is taken, done.stderr
