"""Files that HAProxy does not start with are refused, with the line and what is wrong; odd ones that it takes are read."""

from __future__ import annotations

import pytest
from tests.unit.proxyconfig._refused import REFUSED, TAKEN, config

from balancekit.proxyconfig import ProxyConfigError, read_haproxy


@pytest.mark.parametrize(
    ("place", "line", "said"), REFUSED, ids=[f"{row[0]} {row[1][:40]}" for row in REFUSED]
)
def test_what_haproxy_refuses_is_refused(tmp_path, place, line, said):
    """The error names the file and the line, and says what is wrong with it."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(config(place, line), encoding="utf-8")
    with pytest.raises(ProxyConfigError, match=said) as caught:
        read_haproxy(str(path))
    assert str(caught.value).startswith(f"{path}:")


@pytest.mark.parametrize(("place", "line"), TAKEN, ids=[f"{row[0]} {row[1][:40]}" for row in TAKEN])
def test_what_haproxy_takes_is_read(tmp_path, place, line):
    """Reading raises nothing."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(config(place, line), encoding="utf-8")
    assert "b" in read_haproxy(str(path)).pools


def test_values_from_variables_that_are_not_known_are_not_checked(tmp_path):
    """An unknown variable of the environment is empty here and may be anything there: its line is noted, not refused."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        config("frontend", 'bind ":${PORT}"\n    timeout client "${WAIT}"\n    bind 10.0.0.1:$PORT'),
        encoding="utf-8",
    )
    found = read_haproxy(str(path))
    assert sum("is not known here" in note.why for note in found.not_modelled) == 3
    with pytest.raises(ProxyConfigError, match="no port from 1"):
        read_haproxy(str(path), environment={"PORT": "http", "WAIT": "5s"})
    assert read_haproxy(str(path), environment={"PORT": "81", "WAIT": "5s"}).not_modelled == ()


def test_a_backend_of_log_format_is_noted(tmp_path):
    """``use_backend`` with a variable of the log format names a backend at run time: it is noted, and not looked for."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(config("frontend", "use_backend %ci"), encoding="utf-8")
    assert any("'%ci' is not modelled" in note.why for note in read_haproxy(str(path)).not_modelled)
