"""The public names: all there, all lazily, each from one home; and what importing them does not load."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import balancekit

PACKAGES = [
    found.name
    for found in pkgutil.walk_packages(balancekit.__path__, "balancekit.")
    if "._" not in found.name and not found.name.startswith(("balancekit.cli", "balancekit.engine"))
]
"""The public modules and packages."""
HEAVY = ["numpy", "hypothesis", "rich", "aiohttp", "httpx", "requests", "dataclasses", "logging", "asyncio"]


def run(code):
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["balancekit", *PACKAGES])
def test_every_public_name_is_there(package):
    """``__all__`` repeats nothing, and each name in it can be had and has a docstring."""
    module = importlib.import_module(package)
    names = getattr(module, "__all__", ())
    assert len(names) == len(set(names))
    for name in names:
        value = getattr(module, name)
        if isinstance(value, type | types.FunctionType):
            assert value.__doc__, f"{package}.{name} says nothing about itself"


def test_every_module_has_a_docstring():
    """Every module has a docstring and can be imported alone."""
    for found in pkgutil.walk_packages(balancekit.__path__, "balancekit."):
        module = importlib.import_module(found.name)
        assert module.__doc__, found.name
        assert len(module.__doc__) > 30, found.name


def test_an_unknown_name_is_refused_as_usual():
    """A lazy package misspelled is an AttributeError, and ``dir`` shows what there is."""
    with pytest.raises(AttributeError, match="has no attribute 'LoadBalancr'"):
        balancekit.LoadBalancr  # noqa: B018 - the access is what is tested
    assert set(balancekit.__all__) <= set(dir(balancekit))
    assert not hasattr(balancekit, "__wrapped__")


@pytest.mark.parametrize("package", [name for name in PACKAGES if name.count(".") == 1])
def test_a_name_that_the_top_level_has_not_is_pointed_to(package):
    """``from balancekit import RetryBudget`` says where it is, for every name of every package."""
    for name in getattr(importlib.import_module(package), "__all__", ()):
        if name not in balancekit.__all__:
            with pytest.raises(ImportError, match=rf"^{name} is in balancekit\."):
                getattr(balancekit, name)


def test_star_import_gives_exactly_the_public_names():
    """``from balancekit import *`` brings what ``__all__`` says."""
    got = run("from balancekit import *; print(*sorted(n for n in dir() if n[0] != '_'))").split()
    assert got == sorted(balancekit.__all__)


@pytest.mark.parametrize("line", ["import balancekit", "from balancekit import LoadBalancer as B; B(['a'])"])
def test_importing_loads_nothing_heavy(line):
    """Importing the library loads no client, no numpy, no hypothesis, and no slow module of the standard library."""
    loaded = set(run(f"import sys; {line}; print(*sys.modules)").split())
    assert loaded.isdisjoint(HEAVY)


def test_importing_the_package_alone_loads_next_to_nothing():
    """Importing the package alone loads next to nothing: names are found when they are used."""
    before = "import sys; b = set(sys.modules); import balancekit; print(*sorted(set(sys.modules) - b))"
    assert set(run(before).split()) <= {
        "balancekit",
        "balancekit._support",
        "balancekit._support.lazy",
        "__future__",
    }


@pytest.mark.parametrize("package", ["bench", "capacity", "checks", "config", "sim"])
def test_a_package_of_many_modules_loads_none_of_them(package):
    """Importing a package at the edge loads no module of it until one of its names is used."""
    found = run(f"import sys, balancekit.{package}; print(*sys.modules)").split()
    assert [name for name in found if name.startswith(f"balancekit.{package}.")] == []


def test_the_interpreter_ends_at_once_and_quietly():
    """No thread, no task and no noise is left behind by a balancer, even with an open lease."""
    code = """
import threading
from balancekit import LoadBalancer
lb = LoadBalancer(["a", "b"])
with lb.acquire(): pass
print(threading.active_count())
"""
    assert run(code) == "1"


LAZY = [
    path
    for path in sorted(Path(balancekit.__path__[0]).rglob("__init__.py"))
    if "__getattr__" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_type_checkers_know_each_lazy_name_and_no_other(path):
    """A package's ``__getattr__`` is hidden from type checkers, which would take any misspelt name for one it finds; all of ``__all__`` is imported for them."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {name for node in body if isinstance(node, ast.Assign) for name in _assigned(node)}
    known = set()
    for node in body:
        shown = not (isinstance(node, ast.If) and ast.unparse(node.test) == "not TYPE_CHECKING")
        for each in ast.walk(node) if shown else ():
            if isinstance(each, ast.Import | ast.ImportFrom):
                known |= {alias.asname or alias.name.partition(".")[0] for alias in each.names}
            elif isinstance(each, ast.FunctionDef | ast.ClassDef):
                known.add(each.name)
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                known.add(each.target.id)
    assert "__getattr__" not in known | names
    package = importlib.import_module(
        ".".join(("balancekit", *path.parent.relative_to(balancekit.__path__[0]).parts))
    )
    assert set(package.__all__) <= known | names


def _assigned(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]
