"""No command prints the password of a URL, whether it is an id, a target or a word that is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from balancekit.cli import main
from balancekit.cli._top_command import Reading, rates
from balancekit.errors import without_passwords

IDS = [
    "http://user:hunter2@10.0.0.1:80",
    "redis://:hunter3@10.0.0.2:6379/0?password=hunter7",
    "plain:80",
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with configurations whose endpoints have passwords."""
    for name, ids in (("before", IDS), ("after", [*IDS[1:], "https://u:hunter4@10.0.0.3/"])):
        (tmp_path / f"{name}.toml").write_text(
            f'endpoints = {json.dumps(ids)}\n[balancer]\nselector = "RingHash"\n'
        )
    (tmp_path / "wrong.toml").write_text(
        f'endpoints = {json.dumps(IDS)}\n[checks]\npath = "http://user:hunter2@x/healthz"\n'
    )
    return tmp_path


COMMANDS = [
    ("explain", "before.toml", "--key", "k"),
    ("explain", "before.toml", "--key", "k", "--json"),
    ("explain", "before.toml", "--exclude", "http://user:hunter9@10.0.0.9:80"),
    ("explain", "wrong.toml"),
    ("plan", "before.toml", "after.toml"),
    ("plan", "before.toml", "after.toml", "--json"),
    ("plan", ",".join(IDS), "plain:80,other"),
    ("plan", ",".join(IDS), "plain:80,other", "--json"),
    ("plan", "http://u:hunter5@h=x", "a"),
    ("check", "before.toml", "--tcp", "--timeout", "0.01"),
    ("check", "before.toml", "--tcp", "--timeout", "0.01", "--json"),
    ("check", "static:http://u:hunter6@127.0.0.1:9", "--tcp", "--timeout", "0.01"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_password_is_not_printed(
    words: tuple[str, ...], files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command prints has ``***`` where a URL has a user and password, and the rest of each URL."""
    monkeypatch.chdir(files)
    main(words)
    printed = "".join(capsys.readouterr())
    assert not re.search("hunter", printed)
    assert "***@" in printed


def test_a_table_of_a_process_hides_passwords() -> None:
    """Endpoints in the metrics of a process are shown without passwords."""
    reading = Reading("healthy", 0.0, 0.0, 0.0, 0.0, 0.0)
    (row,) = rates({}, {("s", IDS[0]): reading}, 1.0)
    assert row.endpoint == "http://***@10.0.0.1:80"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a http://u:p@h/x, b", "a http://***@h/x, b"),
        ("http://u:p@w@h/", "http://***@h/"),
        ("file='http:/u:p@h/x'", "file='http:/***@h/x'"),
        ("C:/a@b", "C:/a@b"),
        ("http_sd:https://u@h", "http_sd:https://***@h"),
        ("key='http://u:p@h'", "key='http://***@h'"),
        ("http://h/?mail=a@b.c", "http://h/?mail=a@b.c"),
        ("http://h/a@b", "http://h/a@b"),
        ("mail a@b.c", "mail a@b.c"),
        ("user-7@10.0.0.1", "user-7@10.0.0.1"),
        ("http://h/v1?token=t-1&zone=eu, b", "http://h/v1?token=***&zone=eu, b"),
        ("h:80/?zone=eu&API-Key=k#top", "h:80/?zone=eu&API-Key=***#top"),
        ("'redis://h/0?password=hunter2'", "'redis://h/0?password=***'"),
        (
            "http://u:p@h/?X-Amz-Signature=a%2Fb&access_token=c",
            "http://***@h/?X-Amz-Signature=***&access_token=***",
        ),
        ("http://h/?client_secret=s&sig=1&pwd=2", "http://h/?client_secret=***&sig=***&pwd=***"),
        ("http://h/?key=user-7&tokens=", "http://h/?key=user-7&tokens="),
        ("/orders?sort=asc&passenger=3", "/orders?sort=asc&passenger=3"),
    ],
)
def test_only_passwords_are_hidden(text: str, shown: str) -> None:
    """Paths, parameters that are no secrets by their names, and texts with an @ that are no URLs stay as they are."""
    assert without_passwords(text) == shown
