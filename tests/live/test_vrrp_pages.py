"""The shell blocks of the how-to pages about VRRP, run as a reader pastes them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live._lab import why_not

REASON = why_not()
pytestmark = [pytest.mark.skipif(REASON is not None, reason=str(REASON)), pytest.mark.timeout(90)]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "share-an-address.md"


def test_the_block_with_two_namespaces_runs_as_pasted(tmp_path):
    """Every command succeeds, and the address is seen on one machine after the other."""
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-ec", block],
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        out = process.communicate(timeout=60)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for space in ("vrrp-a", "vrrp-b"):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
    assert process.returncode == 0, out
    assert out.count("inet 192.0.2.100/24") == 2
