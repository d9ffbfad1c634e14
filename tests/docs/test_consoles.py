"""Commands that a page shows with their output print that output."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROMPT: Final = "$ "


def files(text: str) -> dict[str, str]:
    """Return the contents of the files of a page. The line before such a block ends with the name, as in "`orders.toml`:"."""
    blocks = re.findall(r"^[^\n]*`([\w.-]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {name: content for name, content in blocks if "." in name}


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a page that stand after a prompt, in order, with the output below each."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(rf"^{re.escape(PROMPT)}", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


SHOWN: Final = [page for page in PAGES if commands(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    """The commands of a page run in order in a folder with its files, and print what is below them.

    Commands of other programs run only where those are installed.
    """
    text = page.read_text(encoding="utf-8")
    for name, content in files(text).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "balancekit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m balancekit "$@"\n')
    script.chmod(0o755)
    environ = {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}
    for command, output in commands(text):
        if command.startswith("balancekit ") or shutil.which(command.split()[0]) is not None:
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.stdout == output, command


def test_pages_show_output_of_commands() -> None:
    """The pages about files of proxies are among those that show output."""
    assert {page.stem for page in SHOWN} >= {"read-nginx", "from-python-to-haproxy"}
