"""What people install is what we test: the wheel holds every module and says that it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(make_once):
    """Return the wheel, built once from the sources, without a network."""

    def build(folder):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=20)

    (found,) = make_once("wheel", build).glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    """Every source file is in it, with the marker for type checkers and the licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert sources <= names
    assert "balancekit/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"balancekit", "balancekit-0.1.0.dist-info"}


def test_the_wheel_works_alone(wheel):
    """A balancer works when it is imported from the wheel itself, without the source tree."""
    code = "import balancekit; lb = balancekit.LoadBalancer(['a']); print(lb.acquire().target, balancekit.__file__)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    target, file = done.stdout.split()
    assert target == "a"
    assert file.startswith(str(wheel))


FOLDERS = ("src", "tests", "docs", "benchmarks", "tools")
MADE = {"__pycache__", "_build", ".pytest_cache", ".hypothesis"}
"""Folders of files that programs make."""


def test_the_source_distribution_holds_all_that_its_tests_need(make_once):
    """Every file of the sources, tests, documentation, benchmarks and tools is in it, with what configures them."""

    def build(folder):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)

    (found,) = make_once("sdist", build).glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not MADE & set(path.parts) and path.suffix != ".pyc"
    }
    assert wanted - names == set()
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names
